"""What holds of every decision, over odd stories.

Goal: no sequence of things seen, however odd, breaks a bound, shrinks on what cannot be seen, or raises.
Method: some hundred stories of `tests/fakes/odd_stories.py`; a failure names the number of its story.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.contract.commands import Annotate, MarkNodeDrained
from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.events import CommandFinished, Event, Observed, SpecChanged
from autoscaler.core.contract.schedules import DAY_S, FloorSchedule, TimeZone
from autoscaler.core.contract.spec import FleetSpec, ModelSpec, Pause
from autoscaler.core.contract.state import InterruptionKind, ReplicaColumns
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from autoscaler.core.tick.parts import Parts
from tests.builders import lost, observed, seen
from tests.expect import Mouthpiece, check_trail
from tests.fakes.odd_stories import Dice, OddStory

STORIES = 150
EACH = [
    pytest.param(range(first, first + 50), id=f"from {first}") for first in range(0, STORIES, 50)
]

pytestmark = pytest.mark.slow


def engine_of(*, settled: bool) -> tuple[Engine, Mouthpiece]:
    parts = Parts()
    mouth = Mouthpiece(parts.policies["economic"])
    parts = replace(parts, policies=dict.fromkeys(parts.policies, mouth))
    return build_engine(EngineSettings(start_without_windows=settled), parts=parts), mouth


def play(
    told: OddStory, *, settled: bool = True, gpu_budget: int | None = None
) -> Iterator[tuple[Observed, Outcome]]:
    """Play a story; commands end in turn as it says."""
    engine, mouth = engine_of(settled=settled)
    fleet = FleetSpec(models=(told.spec,), gpu_budget=gpu_budget)
    engine.handle(SpecChanged(id=0, at=0.0, fleet=fleet))
    for event, wants in told.looks:
        mouth.wants = wants
        outcome = engine.handle(event)
        yield event, outcome
        for number, command in enumerate(outcome.commands):
            end = told.ends[number % len(told.ends)]
            if end:
                engine.handle(
                    CommandFinished(
                        id=event.id + number + 1,
                        at=event.at,
                        command=command.id,
                        accepted=end == "Accepted",
                        reason=end,
                    )
                )


def fallback_of(decision: Decision) -> int:
    return sum(pool.fallback_replicas for pool in decision.pools)


@pytest.mark.parametrize("seeds", EACH)
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "just started"])
def test_every_decision_is_sound(seeds, settled):
    for seed in seeds:
        told = Dice(seed).story()
        for event, outcome in play(told, settled=settled):
            check_decision(told.spec, event, outcome, seed=seed, settled=settled)


@pytest.mark.parametrize("seeds", EACH)
def test_a_budget_takes_nothing_that_is_protected(seeds):
    for seed in seeds:
        told = Dice(seed).story()
        for event, outcome in play(told, gpu_budget=told.gpu_budget):
            check_decision(told.spec, event, outcome, seed=seed)


def check_decision(
    spec: ModelSpec, event: Observed, outcome: Outcome, *, seed: int, settled: bool = True
) -> None:
    (decision,) = outcome.decisions
    story = f"story {seed}, event {event.id}"
    assert decision.conditions[0].reason != "InvariantBroken", (story, decision.conditions[0])
    check_trail(decision)
    if decision.desired_replicas is None:
        assert any(pool.current_replicas is None for pool in event.models[0].pools), story
        return
    try:
        check_bounds(spec, decision)
        check_blindness(spec, event, decision)
        check_floor(spec, event, decision, settled=settled)
        check_commands(spec, event, outcome)
    except AssertionError as failed:
        failed.add_note(story)
        raise


def check_bounds(spec: ModelSpec, decision: Decision) -> None:
    desired, current = decision.desired_replicas, decision.current_replicas
    assert desired is not None
    assert current is not None
    if spec.pause is Pause.ALL:
        assert desired == current
        return
    fallback = fallback_of(decision)
    if spec.pause is Pause.NO:
        assert desired <= spec.max_replicas + fallback
    assert desired >= spec.min_replicas


def is_blind(spec: ModelSpec, event: Observed) -> bool:
    """The rule, written a second time: old cluster state, or a serving replica that says nothing."""
    replicas = event.models[0].replicas
    marked = {mark.node for mark in event.interruptions}
    serving = [
        row
        for row in range(len(replicas))
        if replicas.ready[row]
        and not replicas.deleting[row]
        and (
            (at := replicas.node[row]) < 0
            or (
                event.nodes.name[at] not in marked
                and event.nodes.ready[at]
                and event.nodes.exists[at]
            )
        )
    ]
    ages = [event.at - replicas.sampled_at[row] for row in serving]
    held = replicas.waiting_requests + replicas.running_requests
    answers = (
        all(age <= spec.sample_age_s_max for age in ages) and not np.isnan(held[serving]).any()
    )
    return not (event.at - event.cluster_at <= 30.0 and answers)


def check_blindness(spec: ModelSpec, event: Observed, decision: Decision) -> None:
    """Stale data never shrinks; only the user's own maximum does."""
    if not is_blind(spec, event):
        return
    assert decision.desired_replicas >= min(decision.current_replicas, spec.max_replicas)
    if decision.current_replicas <= spec.max_replicas:
        for pool in decision.pools:
            assert pool.desired_replicas >= pool.current_replicas


def check_floor(spec: ModelSpec, event: Observed, decision: Decision, *, settled: bool) -> None:
    """Its pools are never cut below it, and are asked for it wherever others may give way."""
    if spec.pause is not Pause.NO:
        return
    of_type = [
        pool
        for pool, about in zip(decision.pools, spec.pools, strict=True)
        if spec.warm_floor.capacity_type in {None, about.capacity_type}
    ]
    desired = sum(pool.desired_replicas for pool in of_type)
    current = sum(pool.current_replicas for pool in of_type)
    pinned = any(pool.rolling_out or not pool.promises_readable for pool in event.models[0].pools)
    if not of_type:
        return
    if not pinned:  # a pool that may not be cut can take up the whole maximum
        assert desired >= min(spec.warm_floor.replicas, current)
    if settled and not pinned and not is_blind(spec, event):
        assert desired >= spec.warm_floor.replicas


def check_commands(spec: ModelSpec, event: Observed, outcome: Outcome) -> None:
    identities = [command.id for command in outcome.commands]
    assert len(set(identities)) == len(identities)
    if spec.pause is Pause.ALL:
        assert not [c for c in outcome.commands if not c.target.startswith("Node/")]
    for number, command in enumerate(outcome.commands):
        assert command.expires_at > event.at
        if command.after in identities:
            assert identities.index(command.after) < number
    owed = sum(promise.replicas for pool in event.models[0].pools for promise in pool.promises)
    doomed = sum(pool.doomed_replicas for pool in outcome.decisions[0].pools)
    for command in outcome.commands:
        if isinstance(command, Annotate):
            written = json.loads(command.value or "[]")
            assert sum(entry["replicas"] for entry in written) <= owed + doomed
            assert len({entry["node"] for entry in written}) == len(written)
        if isinstance(command, MarkNodeDrained):
            check_drained(event, command.node)


def check_drained(event: Observed, name: str) -> None:
    """Whoever reads it lets the machine go: nothing of ours is there, and it is ours to say."""
    assert event.at - event.cluster_at <= 30.0
    (row,) = np.flatnonzero([each == name for each in event.nodes.name])
    assert row not in event.models[0].replicas.node
    assert event.nodes.cordoned_by_us[row]
    assert event.nodes.unschedulable[row]
    kinds = {mark.kind for mark in event.interruptions if mark.node == name}
    assert kinds == {InterruptionKind.TERMINATION}


def tell(outcomes: list[Outcome]) -> str:
    return json.dumps([to_builtins(outcome, Outcome) for outcome in outcomes])


@pytest.mark.parametrize("seeds", EACH)
def test_a_schedule_that_is_always_in_force_decides_as_the_number_does(seeds):
    for seed in seeds:
        told = Dice(seed).story()
        written = told.spec.warm_floor
        if not written.replicas:
            continue
        always = FloorSchedule(
            days=(0, 1, 2, 3, 4, 5, 6),
            from_s=0,
            to_s=DAY_S,
            time_zone=TimeZone(name="UTC", offsets=((0.0, 0),)),
            replicas=written.replicas,
            text="always",
        )
        floor = replace(written, replicas=0, schedules=(always,))
        scheduled = replace(told, spec=replace(told.spec, warm_floor=floor))
        for (_, one), (_, other) in zip(play(told), play(scheduled), strict=True):
            assert one.commands == other.commands, f"story {seed}"
            assert one.decisions[0].pools == other.decisions[0].pools, f"story {seed}"
            told_of = [
                [each[:3] for each in about.decisions[0].conditions] for about in (one, other)
            ]
            assert told_of[0] == told_of[1], f"story {seed}"


@pytest.mark.parametrize("seeds", EACH)
def test_the_same_events_give_the_same_bytes_also_through_the_recording(seeds):
    for seed in seeds:
        told = Dice(seed).story()
        recorded = []
        for event, wants in told.looks:
            text = json.dumps(to_builtins(event, Event))
            again = from_builtins(json.loads(text), Event)
            assert isinstance(again, Observed)
            assert json.dumps(to_builtins(again, Event)) == text
            recorded.append((again, wants))
        first, second = play_all(told), play_all(replace(told, looks=recorded))
        assert first == second, f"story {seed}"


@pytest.mark.parametrize("seeds", EACH)
def test_a_checkpoint_goes_on_with_the_same_bytes(seeds):
    for seed in seeds:
        told = Dice(seed).story()
        cut = len(told.looks) // 2
        engine, mouth = engine_of(settled=False)
        engine.handle(SpecChanged(id=0, at=0.0, fleet=FleetSpec(models=(told.spec,))))
        go_on(engine, mouth, told.looks[:cut])
        text = json.dumps(engine.checkpoint())
        other = Engine.restore(engine.settings, json.loads(text), parts=engine._parts)
        assert json.dumps(other.checkpoint()) == text
        one = go_on(engine, mouth, told.looks[cut:])
        assert one == go_on(other, mouth, told.looks[cut:]), f"story {seed}"


@pytest.mark.parametrize("seeds", EACH)
def test_the_order_of_replicas_is_irrelevant(seeds):
    for seed in seeds:
        told = Dice(seed).story()
        dice = Dice(seed)
        looks = []
        for event, wants in told.looks:
            (about,) = event.models
            replicas = reordered(about.replicas, dice.shuffled(len(about.replicas)))
            looks.append((replace(event, models=(replace(about, replicas=replicas),)), wants))
        assert play_all(replace(told, looks=looks)) == play_all(told), f"story {seed}"


@pytest.mark.parametrize("seeds", EACH)
def test_nothing_at_all_to_see_holds_the_bounds(seeds):
    """Zero replicas, no history, time standing still."""
    for seed in seeds:
        spec = Dice(seed).story().spec
        engine, _ = engine_of(settled=True)
        engine.handle(SpecChanged(id=0, at=0.0, fleet=FleetSpec(models=(spec,))))
        event = observed(seen(spec), at=0.0, interruptions=[lost("s1")])
        for _ in range(3):
            check_decision(spec, event, engine.handle(event), seed=seed)


def play_all(told: OddStory) -> str:
    outcomes = [outcome for _, outcome in play(told, settled=False)]
    return json.dumps([to_builtins(outcome, Outcome) for outcome in outcomes])


def go_on(
    engine: Engine, mouth: Mouthpiece, looks: Sequence[tuple[Observed, int | None]]
) -> list[str]:
    told = []
    for event, wants in looks:
        mouth.wants = wants
        told.append(json.dumps(to_builtins(engine.handle(event), Outcome)))
    return told


def reordered(replicas: ReplicaColumns, order: Sequence[int]) -> ReplicaColumns:
    columns = {}
    for name in ReplicaColumns.__dataclass_fields__:
        column = getattr(replicas, name)
        if name in ("ttft", "tpot", "token_gaps"):
            assert column == ()  # none of these stories has any
            continue
        columns[name] = (
            tuple(column[row] for row in order) if name == "name" else column[np.array(order, int)]
        )
    return ReplicaColumns(**columns)
