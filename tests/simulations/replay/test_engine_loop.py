"""The shell around the engine: what its commands do to the world, in which order, and what it hears."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION, SetDeletionCost, SetReplicas
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import CommandFinished, Event, NoticeReceived, Observed
from autoscaler.core.contract.state import CapacityType, InterruptionKind
from autoscaler.core.engine import EngineSettings
from simulations.agenda import EPOCH_S, NS
from simulations.replay.conditions import Conditions
from simulations.replay.engine_loop import EngineLoop, model_spec
from simulations.replay.replay import run
from simulations.traces.trace import Trace
from simulations.world.cold_start import COLD_STARTS
from simulations.world.market.spot import MachineLife, SpotHistory
from simulations.world.world import SimulatedWorld
from tests.simulations.world.world_builder import PROFILE, deployment, machine, requests, world

STEADY = SpotHistory(
    name="steady",
    span_ns=10**15,
    lives=tuple(MachineLife(up_ns=0, down_ns=10**15) for _ in range(20)),
)


def looped(made: SimulatedWorld, *, end_s: float) -> list[tuple[Event, Outcome]]:
    """Put an engine over a world of the pools spot and on-demand; its story fills as time goes."""
    story: list[tuple[Event, Outcome]] = []
    spec = model_spec(Conditions(profile=PROFILE, spot=STEADY), made.fleet.requests)
    spec = replace(spec, targets=replace(spec.targets, in_flight_requests=4.0))
    loop = EngineLoop(
        spec,
        EngineSettings(),
        world=made,
        agenda=made.agenda,
        end_ns=int(end_s * NS),
        listeners=[lambda event, outcome: story.append((event, outcome))],
    )
    loop.start()
    return story


def two_pools(*lives: MachineLife, spot_replicas: int, arrivals: Sequence[float], lead_s: float):
    return world(
        deployment("spot", CapacityType.SPOT, replicas=spot_replicas),
        deployment("on-demand"),
        traffic=requests(arrivals, output_tokens=1200),
        spot=lives,
        spot_lead_s=lead_s,
        cold_start=COLD_STARTS["hot"],
    )


def first(story: list[tuple[Event, Outcome]], wanted: Callable[[Event], bool]) -> Event:
    return next(event for event, _ in story if wanted(event))


def test_it_ticks_every_five_seconds_and_tells_the_fleet_first():
    made = two_pools(spot_replicas=0, arrivals=(), lead_s=0)
    story = looped(made, end_s=20)
    made.agenda.run_until(60 * NS)
    names = [type(event).__name__ for event, _ in story]
    assert names[0] == "SpecChanged"
    moments = [event.at - EPOCH_S for event, _ in story if isinstance(event, Observed)]
    assert moments == [0, 5, 10, 15, 20]


def test_a_notice_overtakes_the_tick_and_is_answered_in_order():
    arrivals = np.linspace(0.5, 400, 700).tolist()
    made = two_pools(machine(0.0, 300.0), machine(), spot_replicas=2, arrivals=arrivals, lead_s=120)
    story = looped(made, end_s=400)
    made.agenda.run_until(200 * NS)
    notice = first(story, lambda event: isinstance(event, NoticeReceived))
    assert notice.at - EPOCH_S == 181.0  # 300 - 120, and a second until the mark is seen
    after = [(event, answer) for event, answer in story if event.at == notice.at]
    observed, answer = next((e, a) for e, a in after if isinstance(e, Observed))
    (mark,) = observed.interruptions
    assert mark.kind is InterruptionKind.TERMINATION
    assert mark.deadline_at == EPOCH_S + 300
    kinds = [type(command).__name__ for command in answer.commands]
    assert kinds[:3] == ["Annotate", "SetReplicas", "CordonNode"]
    promised = made.deployments[1].annotations[FALLBACK_ANNOTATION]
    assert mark.node in promised
    node = made.nodes[mark.node]
    assert node.unschedulable
    assert node.cordoned_by_us
    assert all(pod.deleting for pod in node.pods)  # once the cordon was observed
    made.agenda.run_until(290 * NS)
    assert node.exists
    assert node.pods == []
    assert node.marked_drained
    kinds = [type(each).__name__ for _, answer in story for each in answer.commands]
    assert kinds.index("EvictPod") < kinds.index("MarkNodeDrained")
    assert kinds.count("MarkNodeDrained") == 1


def test_every_command_is_told_to_have_ended():
    arrivals = np.linspace(0.5, 400, 700).tolist()
    made = two_pools(machine(0.0, 300.0), machine(), spot_replicas=2, arrivals=arrivals, lead_s=120)
    story = looped(made, end_s=400)
    made.agenda.run_until(400 * NS)
    asked = [command.id for _, answer in story for command in answer.commands]
    ended = {e.command: e for e, _ in story if isinstance(e, CommandFinished)}
    assert len(asked) > 5
    assert set(asked) <= set(ended)
    assert {event.reason for event in ended.values()} <= {"Accepted", "NotFound"}


def test_a_command_that_follows_another_is_performed_after_it():
    arrivals = np.linspace(0.5, 400, 700).tolist()
    made = two_pools(machine(0.0, 300.0), machine(), spot_replicas=2, arrivals=arrivals, lead_s=120)
    story = looped(made, end_s=400)
    made.agenda.run_until(400 * NS)
    ended_at = {e.command: e.at for e, _ in story if isinstance(e, CommandFinished)}
    chains = [
        (command, command.after)
        for _, answer in story
        for command in answer.commands
        if command.after is not None
    ]
    assert any(isinstance(command, SetReplicas) for command, _ in chains)
    assert all(ended_at[before] < ended_at[command.id] for command, before in chains)


def _falling_load() -> SimulatedWorld:
    """Many long requests at once, then a few: what was needed for the many is given up."""
    arrivals = [*np.linspace(0.5, 60, 400).tolist(), *np.linspace(61, 1500, 200).tolist()]
    return two_pools(machine(), spot_replicas=6, arrivals=arrivals, lead_s=0)


@pytest.mark.slow
def test_a_scale_down_takes_those_with_the_least_in_flight_and_leaves_no_cost():
    """Found: of equals the youngest went, whatever it had in flight."""
    made = _falling_load()
    story = looped(made, end_s=1500)
    made.agenda.run_until(1500 * NS)
    ended_at = {e.command: e.at for e, _ in story if isinstance(e, CommandFinished)}
    commands = [command for _, answer in story for command in answer.commands]
    costs = {each.id: each for each in commands if isinstance(each, SetDeletionCost)}
    scales = [each for each in commands if isinstance(each, SetReplicas) and each.once_ended]
    assert scales, "the story has no scale-down that needs a mark"
    for scale in scales:
        assert set(scale.once_ended) <= costs.keys()
        assert all(ended_at[cost] < ended_at[scale.id] for cost in scale.once_ended)
    departed = [
        gone for _, answer in story for decision in answer.decisions for gone in decision.departed
    ]
    assert departed
    assert {gone.cause for gone in departed} == {"ScaleDown"}
    assert not any(pod.deletion_cost for each in made.deployments for pod in each.active)


def test_a_lost_node_without_notice_is_told_once_it_is_not_ready():
    made = two_pools(
        machine(0.0, 100.0), spot_replicas=1, arrivals=np.linspace(1, 300, 300).tolist(), lead_s=0
    )
    story = looped(made, end_s=300)
    made.agenda.run_until(300 * NS)
    lost = first(story, lambda event: isinstance(event, Observed) and bool(event.interruptions))
    assert isinstance(lost, Observed)
    assert lost.interruptions[0].kind is InterruptionKind.LOST
    assert 150 <= lost.at - EPOCH_S <= 155


def test_the_policy_that_is_asked_for_decides():
    made = Trace(name="t", requests=requests(np.linspace(0, 300, 100).tolist()))
    for policy, expected in (("reactive", "reactive"), ("economic", "economic")):
        policies: set[str] = set()

        def listen(_: Event, answer: Outcome, policies: set[str] = policies) -> None:
            policies.update(decision.policy for decision in answer.decisions)

        conditions = Conditions(profile=PROFILE, cold_start=COLD_STARTS["hot"])
        run(made, policy, seed=0, conditions=conditions, listeners=[listen])
        assert expected in policies
