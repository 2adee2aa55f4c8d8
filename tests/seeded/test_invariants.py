"""Each invariant lets through what is right, and names a violation that is planted."""

from __future__ import annotations

import dataclasses

import pytest

from autoscaler.core.contract.commands import DRAINED_ANNOTATION
from autoscaler.core.contract.decision import PoolDecision, Step
from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.contract.schedules import FloorSchedule, TimeZone
from autoscaler.core.contract.spec import Pause, WarmFloor
from autoscaler.core.contract.state import CapacityType
from tests.builders import group, model
from tests.expect import Scenario
from tests.seeded import invariants
from tests.seeded.invariants import Left, Sight
from tests.seeded.promises import needed_before

SPEC = model(minimum=2, maximum=4, warm=1)


def decision(desired: int, *, current: int = 3, fallback: int = 0, reason: Reason | None = None):
    made = Scenario(SPEC).look(0.0, group("on-demand", ready=3), wants=3)
    pool = made.pools[0]._replace(
        current_replicas=current, desired_replicas=desired, fallback_replicas=fallback
    )
    others = [
        each._replace(current_replicas=0, desired_replicas=0, fallback_replicas=0)
        for each in made.pools[1:]
    ]
    trail = made.trail
    if reason is not None:
        trail += (Step(by=StepBy.PLACEMENT, before=0, after=0, reason=reason, message=""),)
    return made._replace(
        current_replicas=current, desired_replicas=desired, pools=(pool, *others), trail=trail
    )


@pytest.mark.parametrize(
    ("made", "spec", "wrong"),
    [
        pytest.param(decision(4), SPEC, "", id="the maximum"),
        pytest.param(decision(6, fallback=2), SPEC, "", id="the fallback comes on top"),
        pytest.param(decision(6, fallback=1), SPEC, "6 desired, above 4", id="above it"),
        pytest.param(decision(1), SPEC, "1 desired, below", id="below the minimum"),
        pytest.param(decision(6, reason=Reason.POOLS_HELD), SPEC, "", id="pools that are held"),
        pytest.param(
            decision(4),
            dataclasses.replace(SPEC, pause=Pause.ALL),
            "paused, and yet 3 -> 4",
            id="paused",
        ),
    ],
)
def test_bounds(made, spec, wrong):
    found = invariants.bounds(spec, made)
    assert found.startswith(wrong)
    assert bool(found) == bool(wrong)


def test_floors():
    spec = dataclasses.replace(
        SPEC, warm_floor=WarmFloor(replicas=2, capacity_type=SPEC.pools[0].capacity_type)
    )
    assert invariants.floors(spec, decision(2)) == ""
    assert invariants.floors(spec, decision(1, current=1)) == ""
    assert invariants.floors(spec, decision(1)) == "3 -> 1 where 2 are to be kept warm"
    other = {CapacityType.SPOT, CapacityType.ON_DEMAND} - {SPEC.pools[0].capacity_type}
    elsewhere = WarmFloor(replicas=2, capacity_type=other.pop())
    assert isinstance(decision(1).pools[0], PoolDecision)
    assert invariants.floors(dataclasses.replace(SPEC, warm_floor=elsewhere), decision(1)) == ""


def test_a_schedule_is_a_floor_in_its_time_alone():
    schedule = FloorSchedule(
        days=(0, 1, 2, 3, 4, 5, 6),
        from_s=0,
        to_s=3600,
        time_zone=TimeZone(name="UTC", offsets=((0.0, 0),)),
        replicas=2,
        text="",
    )
    spec = dataclasses.replace(SPEC, warm_floor=WarmFloor(schedules=(schedule,)))
    made = decision(1)
    found = [invariants.floors(spec, made._replace(at=at)) for at in (3599.0, 3600.0)]
    assert found == ["3 -> 1 where 2 are to be kept warm", ""]


def test_no_bug():
    assert invariants.no_bug([]) == ""
    assert invariants.no_bug(["engine.broke", "engine.broke"]) == "engine.broke"


@pytest.mark.parametrize(
    ("verb", "resource", "body", "ours"),
    [
        ("update", "deployments/scale", {"spec": {"replicas": 3}}, True),
        ("create", "pods/eviction", {}, True),
        (
            "patch",
            "deployments",
            {"metadata": {"annotations": {invariants.FALLBACK_ANNOTATION: "[]"}}},
            True,
        ),
        ("patch", "deployments", {"metadata": {"annotations": {"theirs": "x"}}}, False),
        ("patch", "deployments", {"spec": {"replicas": 3}}, False),
        (
            "patch",
            "nodes",
            {
                "metadata": {"annotations": {invariants.CORDON_ANNOTATION: None}},
                "spec": {"unschedulable": None},
            },
            True,
        ),
        ("patch", "nodes", {"spec": {"taints": []}}, False),
        ("patch", "nodes", {"metadata": {"annotations": {"theirs": "x"}}}, False),
        (
            "patch",
            "pods",
            {"metadata": {"annotations": {invariants.COST_ANNOTATION: "-1"}}},
            True,
        ),
        ("patch", "pods", {"spec": {"nodeName": "x"}}, False),
        ("delete", "deployments", None, False),
        ("create", "pods", {}, False),
    ],
)
def test_own_things_only(verb, resource, body, ours):
    found = invariants.own_things_only(verb, resource, body)
    assert (found == "") is ours


def test_never_smaller_while_blind():
    def wrong(*, unseen_s=0.0, silent_s=0.0, before=3, after=2, asked=3) -> str:
        sight = Sight(unseen_s=unseen_s, silent_s=silent_s, sample_age_s_max=20.0)
        return invariants.never_smaller_while_blind(
            sight, before=before, after=after, asked=asked, replicas_max=4
        )

    assert wrong() == ""
    assert wrong(unseen_s=45.0, silent_s=35.0) == "", "a command may take its time"
    assert wrong(unseen_s=47.0) == "3 -> 2, and a change of 47 s ago was not seen"
    assert wrong(silent_s=37.0) == "3 -> 2, and a ready replica was silent for 37 s"
    assert wrong(unseen_s=99.0, after=4) == "", "up is allowed"
    assert wrong(unseen_s=99.0, asked=5) == "", "the user's maximum is stronger"


def test_at_most_one_answer():
    undone = [("ours", 3, 2), ("theirs", 2, 6), ("ours", 6, 2)]
    assert invariants.at_most_one_answer(undone) == ""
    assert invariants.at_most_one_answer([*undone, ("theirs", 2, 6)]) == ""
    again = [*undone, ("theirs", 2, 6), ("ours", 6, 2)]
    assert invariants.at_most_one_answer(again) == (
        "2 replicas were written again 2 times after others undid it"
    )
    meant = [*undone, ("theirs", 2, 6), ("ours", 6, 5)]
    assert invariants.at_most_one_answer(meant) == "", "another number is another decision"
    later = [*meant, ("theirs", 5, 6), ("ours", 6, 5)]
    assert invariants.at_most_one_answer(later) == "", "and may be answered once as well"


def test_promises_not_doubled():
    def wrong(text: str | None, **before: int) -> str:
        return invariants.promises_not_doubled(
            invariants.promises_of(text), before=before, doomed={"a": 2}
        )

    assert wrong(None) == ""
    assert wrong('[{"node": "a", "replicas": 2}]') == ""
    assert wrong('[{"node": "a", "replicas": 3}]') == "3 are promised for a, which took 2 with it"
    assert wrong('[{"node": "b", "replicas": 1}]') == "1 are promised for b, which took 0 with it"
    assert wrong('[{"node": "b", "replicas": 1}]', b=1) == "", "it was promised before"
    twice = '[{"node": "a", "replicas": 1}, {"node": "a", "replicas": 1}]'
    assert wrong(twice).startswith("what was written cannot be read")
    assert wrong("[" * 100_000).startswith("what was written cannot be read")


def test_promises_not_lost():
    def wrong(after: int, *, left: int, in_force: int = 0) -> str:
        return invariants.promises_not_lost(after, before=2, needed=4, left=left, in_force=in_force)

    assert wrong(2, left=2) == ""
    assert wrong(1, left=4) == ""
    assert wrong(1, left=3) == "promises fell from 2 to 1, and 3 are left of 4"
    assert wrong(1, left=4, in_force=1) == ""
    assert wrong(0, left=4, in_force=1).startswith("1 replicas of fallback are asked for")


def test_promises_stand():
    assert invariants.promises_stand(2, in_force=2, missing_s=99.0) == ""
    assert invariants.promises_stand(1, in_force=2, missing_s=16.0) == "", "a write takes its time"
    assert invariants.promises_stand(1, in_force=2, missing_s=17.0) == (
        "2 replicas of fallback are counted on and 1 stand promised for 17 s"
    )


def test_promises_made_once():
    def wrong(*story: tuple[int, ...]) -> str:
        """Of (promised, needed) or, where the budget grants another number, (promised, needed, granted)."""
        return invariants.promises_made_once(
            [
                invariants.Promised(
                    at=float(at), replicas=replicas, needed=needed[0], granted=needed[-1]
                )
                for at, (replicas, *needed) in enumerate(story)
            ]
        )

    assert wrong((1, 3), (1, 3), (0, 3)) == ""
    assert wrong((1, 3), (2, 3)) == ""
    assert wrong((1, 3), (0, 3), (1, 3)) == "promised replicas went 1 0 1 within 10 s"
    assert "1 0 1" in wrong((1, 3), (0, 2), (1, 2)), "the need fell, and did not rise again"
    assert wrong((1, 3), (0, 2), (1, 3)) == "", "more is needed again: that is no flap"
    assert wrong((1, 3, 3), (0, 3, 2), (1, 3, 3)) == "", "the budget took a GPU and gave it back"
    assert "1 0 1" in wrong((1, 3, 2), (0, 3, 2), (1, 3, 2)), "it had nothing to do with the budget"
    assert wrong((1, 3), (0, 2), (0, 1), (1, 2)) == "", (
        "it was lower meanwhile, and another node's promise fell"
    )
    assert "1 0 0 1" in wrong((1, 3), (0, 2), (0, 2), (1, 2)), "a look at it in between is no need"


@pytest.mark.parametrize(
    ("trail", "needed"),
    [
        pytest.param([("policy", 5, 3)], 3, id="what serves"),
        pytest.param([("policy", 5, 3), ("starting", 3, 4)], 3, id="a stand-in is on top"),
        pytest.param(
            [("policy", 4, 4), ("starting", 4, 5), ("bounds", 5, 4)], 4, id="a bound cuts it first"
        ),
        pytest.param(
            [("policy", 6, 6), ("starting", 6, 7), ("bounds", 7, 4)], 4, id="and then what serves"
        ),
        pytest.param(
            [("policy", 1, 1), ("starting", 1, 2), ("bounds", 2, 3)], 2, id="a minimum adds"
        ),
        pytest.param([("policy", 4, 4), ("interruption", 4, 5)], 4, id="the fallback is not in it"),
    ],
)
def test_what_is_needed_is_what_was_to_serve(trail, needed):
    steps = tuple(
        Step(by=StepBy(by), before=before, after=after, reason=Reason.POOLS_HELD, message="")
        for by, before, after in trail
    )
    made = decision(2)._replace(trail=steps, desired_replicas=steps[-1].after)
    assert needed_before(made, "interruption") == needed


def test_only_the_doomed_are_drained():
    assert invariants.only_the_doomed_are_drained("a", doomed=["a", "b"]) == ""
    assert invariants.only_the_doomed_are_drained("c", doomed=["a"]).startswith("c is drained")


def test_only_the_empty_are_marked():
    assert invariants.only_the_empty_are_marked("a", there=[]) == ""
    assert invariants.only_the_empty_are_marked("a", there=["p", "q"]) == (
        "a is marked as drained, and carries p, q"
    )
    marked = {"metadata": {"annotations": {DRAINED_ANNOTATION: "x"}}}
    assert invariants.own_things_only("patch", "nodes", marked) == ""


def test_emptied_or_said_why():
    said = Left(pod="p", excuses=("DisruptionBudget",))
    assert invariants.emptied_or_said_why("a", []) == ""
    assert invariants.emptied_or_said_why("a", [said]) == ""
    silent = Left(pod="q", excuses=())
    assert invariants.emptied_or_said_why("a", [said, silent]) == (
        "a still held q, and nothing was said"
    )


def test_no_task_dead():
    assert invariants.no_task_dead({"daemon": False}) == ""
    assert invariants.no_task_dead({"daemon": False, "cache": True}) == "ended: cache"


@pytest.mark.parametrize("grown", ["tasks", "waiting", "ends", "reached_bytes"])
def test_memory_bounded(grown):
    calm = {"tasks": 30, "waiting": 0, "ends": 100, "reached_bytes": 10**6}
    assert invariants.memory_bounded(**calm) == ""
    assert invariants.memory_bounded(**{**calm, grown: 10**9}) != ""


def test_healed():
    assert invariants.healed(unready=(), decided_s=5.0, cordons=()) == ""
    assert invariants.healed(unready=("lost",), decided_s=5.0, cordons=()) == "lost"
    assert invariants.healed(unready=(), decided_s=31.0, cordons=()).startswith("nothing")
    assert "left on a" in invariants.healed(unready=(), decided_s=5.0, cordons=("a",))
