"""The door: several models, specifications that change, commands that end, bugs that stay in one model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import CommandFinished, NoticeReceived
from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.contract.spec import ForecastMode, Mode
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from autoscaler.core.guards import Guards
from autoscaler.core.policy import POLICIES, Proposal
from autoscaler.core.tick.parts import Parts
from autoscaler.errors import InvariantBroken
from tests.builders import (
    SPOT,
    UNKNOWN,
    PoolNow,
    group,
    model,
    node,
    notice,
    observed,
    on_demand,
    seen,
    specified,
    spot,
)
from tests.expect import Scenario, condition, expect, in_words


def wanting(**wants: int) -> Parts:
    """The policy's number by name of the model; told apart by the floor, which is unique."""
    numbers = dict(enumerate(wants.values(), start=1))

    def propose(given, /) -> Proposal:
        return Proposal(
            replicas=numbers[given.floor], policy="scripted", reason="Scripted", message=""
        )

    return Parts(policies=dict.fromkeys(POLICIES, propose))


def fleet_of(budget: int | None, *models, parts: Parts, settled: bool = True) -> Engine:
    engine = build_engine(EngineSettings(start_without_windows=settled), parts=parts)
    engine.handle(specified(*models, gpu_budget=budget))
    return engine


def desired(outcome: Outcome) -> list[int | None]:
    return [decision.desired_replicas for decision in outcome.decisions]


# -- before and between observations


def test_nothing_is_decided_before_there_is_a_fleet():
    engine = build_engine()
    assert engine.handle(observed(seen(model(), group(ready=1)), at=0.0)) == Outcome()


def test_only_an_observation_decides():
    engine = fleet_of(None, model(), parts=Parts())
    mark = notice("n", deadline_at=9.0)
    assert engine.handle(NoticeReceived(id=1, at=0.0, interruption=mark)) == Outcome()
    ended = CommandFinished(id=2, at=0.0, command="1.1", accepted=True, reason="Accepted")
    assert engine.handle(ended) == Outcome()


def test_a_model_that_is_not_observed_holds():
    a, b = model("a"), model("b", pools=[on_demand("b")])
    engine = fleet_of(None, a, b, parts=Parts())
    outcome = engine.handle(observed(seen(a, group(ready=2)), at=0.0))
    assert [decision.reason for decision in outcome.decisions] == ["NoHistory", "Unobserved"]
    assert condition(outcome.decisions[1], "Ready") == "False/Unobserved"
    assert outcome.decisions[1].desired_replicas is None


def test_an_observation_older_than_the_spec_holds():
    story = Scenario(model())
    story.engine.handle(specified(model(pools=[on_demand("renamed")]), at=1.0))
    story.look(5.0, group(ready=2), wants=4)
    assert story.decision.reason == "Unobserved"


def test_models_are_forgotten_and_memory_of_the_others_is_kept():
    story = Scenario(model(cold_start_s=60.0))
    story.look(0.0, group(ready=5), wants=5)
    story.respecify(5.0, model(cold_start_s=60.0, maximum=20))
    story.look(10.0, group(ready=5), wants=2)
    expect(story, desired=5, reason="ScaleDownStabilized")
    assert [key for key, _ in story.engine.checkpoint()["models"]] == ["serving/llama"]


def test_time_that_runs_backwards_stands_still():
    story = Scenario(model())
    story.look(100.0, group(ready=2), wants=3)
    story.look(50.0, group(ready=2), wants=3)
    assert story.decision.at == 100.0


# -- a bug stays where it is


@pytest.mark.parametrize("group_of_guards", ["before_budget", "after_budget"])
@pytest.mark.parametrize("bug", [InvariantBroken("impossible"), ZeroDivisionError(), KeyError("x")])
def test_a_bug_holds_its_model_and_the_others_go_on(bug, group_of_guards):
    def guard(situation, _count, /):
        if situation.spec.name == "b":
            raise bug

    a, b = model("a", minimum=1), model("b", pools=[on_demand("b")], minimum=2)
    guards = Guards(**{group_of_guards: {StepBy.BOUNDS: guard}})
    engine = fleet_of(None, a, b, parts=replace(wanting(a=4, b=5), guards=guards))
    outcome = engine.handle(observed(seen(a, group(ready=3)), seen(b, group("b", ready=3)), at=0.0))
    assert desired(outcome) == [4, 3]
    assert condition(outcome.decisions[1], "Ready") == "False/InvariantBroken"
    assert [in_words(command) for command in outcome.commands] == ["SetReplicas on-demand 4"]


def test_a_model_whose_memory_is_broken_holds_and_the_others_go_on():
    a, b = model("a", minimum=1), model("b", pools=[on_demand("b")], minimum=2)
    engine = fleet_of(None, a, b, parts=wanting(a=4, b=5))
    del engine._memory.models[b.key]
    outcome = engine.handle(observed(seen(a, group(ready=3)), seen(b, group("b", ready=3)), at=0.0))
    assert desired(outcome) == [4, 3]
    assert condition(outcome.decisions[1], "Ready") == "False/InvariantBroken"


# -- commands and their ends


def test_a_command_is_sent_again_only_when_its_time_is_over():
    story = Scenario(model())
    for at, commands in [(0.0, 1), (5.0, 0), (9.9, 0), (10.0, 1)]:
        story.look(at, group(ready=2), wants=4)
        assert len(story.commands) == commands


def test_a_newer_number_takes_the_place_of_one_on_its_way():
    story = Scenario(model())
    story.look(0.0, group(ready=2), wants=4)
    first = story.outcome.commands[0]
    story.look(5.0, group(ready=2), wants=6)
    expect(story, commands=["SetReplicas on-demand 6"])
    story.finish(6.0, first, reason="Superseded")
    # Back to what is there, while the other number is on its way: it has to be called back.
    story.look(7.0, group(ready=2), wants=2)
    expect(story, commands=["SetReplicas on-demand 2"])


@pytest.mark.parametrize(
    ("reason", "able"),
    [
        ("Conflict", "False/Conflict"),
        ("Forbidden", "False/Forbidden"),
        ("Standby", "True/ReadyForNewScale"),
        ("Withheld", "True/ReadyForNewScale"),
        ("Superseded", "True/ReadyForNewScale"),
    ],
)
def test_a_refused_write_is_said_until_one_is_accepted(reason, able):
    story = Scenario(model())
    story.look(0.0, group(ready=2), wants=4)
    story.finish_all(1.0, reason=reason)
    story.look(5.0, group(ready=2), wants=4)
    expect(story, commands=["SetReplicas on-demand 4"], conditions={"AbleToScale": able})
    story.finish_all(6.0)
    story.look(10.0, group(ready=2, starting=[1.0, 1.0]), wants=4)
    expect(story, commands=[], conditions={"AbleToScale": "True/ReadyForNewScale"})


def test_ids_count_within_their_event():
    spec = model(pools=[on_demand(), spot()], warm=1, warm_on=on_demand().capacity_type)
    story = Scenario(spec)
    story.look(0.0, wants=4)
    assert [command.id for command in story.outcome.commands] == ["1.1", "1.2"]


# -- the budget

A = model("a", pools=[on_demand("pa")], minimum=1)
B = model("b", pools=[on_demand("pb")], minimum=2)


def budgeted(budget: int, ready: tuple[int, int], wants: tuple[int, int], *, gpus: int = 1, **what):
    """Two models of one replica's GPUs each; `what` is told of model a or b by its first letter."""
    told = {"a": {}, "b": {}}
    for key, value in what.items():
        told[key[0]][key[2:]] = value
    a = replace(A, priority=told["a"].pop("priority", 0))
    b = replace(B, priority=told["b"].pop("priority", 0))
    engine = fleet_of(budget, a, b, parts=wanting(a=wants[0], b=wants[1]))
    now = PoolNow(gpus_per_replica=gpus)
    return engine.handle(
        observed(
            seen(a, group("pa", ready=ready[0], **told["a"]), pools={"pa": now}),
            seen(b, group("pb", ready=ready[1], **told["b"]), pools={"pb": now}),
            at=0.0,
        )
    )


@pytest.mark.parametrize(
    ("budget", "ready", "wants", "what", "granted"),
    [
        pytest.param(10, (2, 2), (5, 5), {}, [5, 5], id="it fits"),
        pytest.param(8, (2, 2), (6, 6), {}, [6, 2], id="equal: in order of key, from what they have"),
        pytest.param(8, (2, 6), (6, 6), {}, [2, 6], id="equal: nobody loses what it has to one who grows"),
        pytest.param(8, (2, 6), (6, 6), {"a_priority": 1}, [6, 2], id="priority takes, down to the minimum"),
        pytest.param(8, (2, 6), (7, 6), {"a_priority": 1}, [6, 2], id="but never below it"),
        pytest.param(8, (2, 6), (6, 6), {"a_priority": 1, "b_sample_age_s": UNKNOWN}, [2, 6], id="nor from one that is blind"),
        pytest.param(1, (2, 3), (2, 3), {}, [1, 2], id="minima stand also beyond the budget"),
    ],
)  # fmt: skip
def test_budget(budget, ready, wants, what, granted):
    assert desired(budgeted(budget, ready, wants, **what)) == granted


def test_nobody_grows_into_a_budget_of_which_part_is_unknown():
    """B is not in the observation: what it has of the ten GPUs is not zero."""
    engine = fleet_of(10, A, B, parts=wanting(a=5, b=2))
    outcome = engine.handle(observed(seen(A, group("pa", ready=4)), at=0.0))
    assert desired(outcome)[0] == 4
    assert [decision.reason for decision in outcome.decisions] == ["GpuBudget", "Unobserved"]
    assert "what serving/b has of it is unknown" in outcome.decisions[0].trail[-1].message
    outcome = engine.handle(
        observed(seen(A, group("pa", ready=4)), seen(B, group("pb", ready=2)), at=5.0)
    )
    assert desired(outcome) == [5, 2]


def test_a_minimum_stands_although_part_of_the_budget_is_unknown():
    engine = fleet_of(10, A, B, parts=wanting(a=1, b=5))
    outcome = engine.handle(observed(seen(B, group("pb", ready=1)), at=0.0))
    assert desired(outcome)[1] == 2


def test_a_replicas_gpus_count_all():
    assert desired(budgeted(8, (1, 2), (4, 4), gpus=2)) == [2, 2]


def test_gpus_of_doomed_replicas_leave_the_budget_at_once():
    """A's two spot replicas are doomed and nobody can stand in for them: B may have their GPUs."""
    a = model("a", pools=[spot("pa")], minimum=1)
    for marks, granted in [([], [3, 2]), ([notice("s1", deadline_at=120.0)], [3, 4])]:
        engine = fleet_of(5, a, B, parts=wanting(a=3, b=4))
        outcome = engine.handle(
            observed(
                seen(a, group("pa", ready=1), group("pa", ready=2, node="s1", name="x")),
                seen(B, group("pb", ready=2)),
                at=0.0,
                interruptions=marks,
            )
        )
        assert desired(outcome) == granted


def test_a_promise_takes_over_the_share_of_what_it_stands_in_for():
    """With a fallback, the doomed replicas' GPUs are spoken for."""
    a = model("a", pools=[spot("pa"), on_demand("oa")], minimum=1)
    engine = fleet_of(5, a, B, parts=wanting(a=3, b=4))
    raised = {"oa": PoolNow(promises=(notice_promise("s1", 2),))}
    outcome = engine.handle(
        observed(
            seen(
                a, group("pa", ready=1), group("pa", ready=2, node="s1", name="x"),
                group("oa", starting=[1.0, 1.0]), pools=raised,
            ),
            seen(B, group("pb", ready=2)),
            at=5.0,
            interruptions=[notice("s1", deadline_at=120.0)],
        )
    )  # fmt: skip
    assert desired(outcome) == [5, 2]


@pytest.mark.parametrize(("wants", "granted"), [(2, [3, 4]), (1, [2, 5])])
def test_the_share_of_what_is_about_to_be_promised_is_nobody_elses(wants, granted):
    """Found by a seed: B grew into it, the promise found no room on the next tick, was taken back, and was
    made again on the one after that, once a second for as long as the notice ran."""
    a = model("a", pools=[spot("pa"), on_demand("oa")], minimum=1)
    engine = fleet_of(6, a, B, parts=wanting(a=wants, b=6))
    mark, doomed = notice("s1", deadline_at=120.0), group("pa", ready=1, node="s1", name="x")
    serving = seen(B, group("pb", ready=4))
    first = engine.handle(
        observed(seen(a, group("oa", ready=1), doomed), serving, at=0.0, interruptions=[mark])
    )
    assert desired(first) == granted
    if wants == 1:
        return  # what is doomed is not needed: B may have it
    raised = {"oa": PoolNow(promises=(notice_promise("s1", 1),))}
    now = seen(a, group("oa", ready=1, starting=[1.0]), doomed, pools=raised)
    second = engine.handle(observed(now, serving, at=5.0, id=2, interruptions=[mark]))
    assert desired(second) == granted


def notice_promise(name: str, replicas: int):
    from tests.builders import promised

    return promised(name, replicas)


# -- policy and forecast


def test_a_model_without_forecast_is_reactive_whatever_the_engine_is_set_to():
    story = Scenario(model(forecast=ForecastMode.OFF))
    decision = story.look(0.0, group(ready=2, running=32.0))
    assert (decision.policy, decision.desired_replicas) == ("reactive", 3)
    assert decision.measures.forecast_replicas is None


def test_before_there_is_history_nothing_scales_down_and_the_trail_says_so():
    story = Scenario(model())
    decision = story.look(0.0, group(ready=4, running=1.0))
    assert (decision.reason, decision.desired_replicas) == ("NoHistory", 4)
    assert "no history" in decision.trail[0].message


def test_with_history_the_trail_says_worth_and_cost():
    story = Scenario(model(cold_start_s=30.0))
    for tick in range(30):
        decision = story.look(5.0 * tick, group(ready=3, running=40.0))
    assert decision.policy == "economic"
    assert "is worth" in decision.trail[0].message
    assert decision.measures.forecast_low_replicas <= decision.measures.forecast_replicas
    assert decision.measures.forecast_replicas <= decision.measures.forecast_high_replicas


def test_the_learnt_cold_start_is_the_window():
    """Five starts of 30 s teach it; the spec's prior said 180 s."""
    story = Scenario(model(cold_start_s=180.0, maximum=20), settled=True)
    at = 0.0
    story.look(at, group(ready=1), wants=12)
    for tick in range(1, 8):
        at = 5.0 * tick
        fresh = [at + 1.0] * 11
        rows = (
            group(starting=fresh) if at < 30.0 else group(ready=11, ready_age_s=at - 30.0, name="")
        )
        if at >= 30.0:
            rows = [replace(row, name=f"on-demand-s{i:04d}", age_s=at + 1.0, scheduled_age_s=at + 1.0) for i, row in enumerate(rows)]  # fmt: skip
        story.look(at, group(ready=1), rows, wants=12)
    assert story.decision.measures.cold_start_s == pytest.approx(31.0)
    story.look(at + 30.0, group(ready=12), wants=3)
    expect(story, desired=12, reason="ScaleDownStabilized")
    story.look(at + 32.0, group(ready=12), wants=3)
    expect(story, desired=3)


# -- ghosts


def test_ghosts_of_deleted_pods_never_count():
    """Pods that are being deleted, and pods whose node is gone, are neither supply nor owed a sample."""
    story = Scenario(model())
    story.look(
        0.0, group(ready=2), group(deleting=3, sample_age_s=UNKNOWN),
        group(ready=1, node="gone", name="g", sample_age_s=UNKNOWN),
        wants=3, nodes=[node("gone", SPOT, exists=False)],
    )  # fmt: skip
    assert story.mouth.given.supply.ready == 2
    expect(story, conditions={"MetricsAvailable": "True/SamplesFresh"})
    assert story.pool("on-demand").ready_replicas == 2


def test_observe_mode_of_one_model_does_not_act_for_it_alone():
    a = model("a", mode=Mode.OBSERVE, minimum=1)
    b = model("b", pools=[on_demand("pb")], minimum=2)
    engine = fleet_of(None, a, b, parts=wanting(a=4, b=4))
    outcome = engine.handle(
        observed(seen(a, group(ready=1)), seen(b, group("pb", ready=2)), at=0.0)
    )
    assert desired(outcome) == [4, 4]
    assert [in_words(command) for command in outcome.commands] == ["SetReplicas pb 4"]


def test_two_models_on_one_doomed_node_cordon_it_once():
    a = model("a", pools=[on_demand("pa")], minimum=1)
    b = model("b", pools=[on_demand("pb")], minimum=2)
    engine = fleet_of(None, a, b, parts=wanting(a=2, b=2))
    outcome = engine.handle(
        observed(
            seen(a, group("pa", ready=2, node="n")),
            seen(b, group("pb", ready=2, node="n")),
            at=0.0,
            interruptions=[notice("n", deadline_at=100.0)],
        )
    )
    assert [in_words(command) for command in outcome.commands] == ["CordonNode n"]


def test_a_checkpoint_is_plain_json():
    story = Scenario(model(), settled=False)
    for tick in range(5):
        story.look(5.0 * tick, group(ready=2, starting=[3.0]), wants=4)
    text = json.dumps(story.engine.checkpoint(), allow_nan=False)
    assert json.loads(text) == story.engine.checkpoint()
