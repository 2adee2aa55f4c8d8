"""The warm floor over time: schedules that begin on time, and how the floor of a moment binds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Event
from autoscaler.core.contract.schedules import DAY_S, FloorSchedule
from autoscaler.core.contract.spec import Behavior, ModelSpec, RampMode, WarmFloor
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.core.forecast.ramp import RampMemory
from autoscaler.settings.time_zones import read_time_zone
from tests.builders import (
    ON_DEMAND,
    SPOT,
    group,
    model,
    observed,
    on_demand,
    rules,
    seen,
    specified,
    spot,
)
from tests.expect import Scenario, condition, expect

HOUR_S = 3600.0
EIGHT = datetime(2026, 11, 30, 7, tzinfo=UTC).timestamp()
"""Monday, 08:00 in Berlin."""
COLD_START_S = 60.0
AHEAD_S = 1.2 * COLD_START_S + 10.0
"""A fifth more, and two ticks."""
EVENING = EIGHT + 12 * HOUR_S


def daily(begin: int, end: int, replicas: int, *, zone: str = "Europe/Berlin") -> FloorSchedule:
    """Between two hours of a day; an end before the beginning is the next day's."""
    return FloorSchedule(
        days=(0, 1, 2, 3, 4, 5, 6),
        from_s=begin * 3600,
        to_s=end * 3600 if end > begin else end * 3600 + DAY_S,
        time_zone=read_time_zone(zone),
        replicas=replicas,
        text=f"daily {begin:02}:00-{end:02}:00 {zone}",
    )


def scheduled(*schedules: FloorSchedule, warm: int = 1, kind=ON_DEMAND, **what) -> ModelSpec:
    spec = model(**{"minimum": 0, "cold_start_s": COLD_START_S, **what})
    return replace(
        spec, warm_floor=WarmFloor(replicas=warm, capacity_type=kind, schedules=schedules)
    )


def test_a_schedules_replicas_are_asked_for_one_cold_start_before_it_begins():
    story = Scenario(scheduled(daily(8, 20, 4)))
    story.look(EIGHT - AHEAD_S - 1.0, group(ready=1), wants=0)
    expect(story, desired=1, reason="WarmFloor")
    story.look(EIGHT - AHEAD_S, group(ready=1), wants=0)
    expect(story, desired=4, reason="WarmFloor", commands=["SetReplicas on-demand 4"])


def test_until_it_begins_they_are_not_owed():
    story = Scenario(scheduled(daily(8, 20, 4)))
    story.look(EIGHT - 5.0, group(ready=1, starting=[40.0, 40.0, 40.0]), wants=0)
    expect(story, desired=4, conditions={"WarmPoolSatisfied": "True/FloorReady"})
    story.look(EIGHT, group(ready=1, starting=[45.0, 45.0, 45.0]), wants=0)
    expect(story, desired=4, conditions={"WarmPoolSatisfied": "False/FloorNotReady"})


def test_it_ends_when_its_time_is_over():
    story = Scenario(scheduled(daily(8, 20, 4), behavior=Behavior(scale_down=rules(window=0))))
    story.look(EVENING - 1.0, group(ready=4), wants=0)
    expect(story, desired=4)
    story.look(EVENING, group(ready=4), wants=0)
    expect(story, desired=1)


def test_the_cold_start_is_the_one_that_was_measured():
    """Not the one that was believed: nine starts of 200 s outweigh a prior of 60."""
    story = Scenario(scheduled(daily(8, 20, 4)))
    story.look(EIGHT - 5_000.0, group(ready=1), wants=0)
    measure_starts(story, took_s=200.0)
    story.look(EIGHT - 251.0, group(ready=1), wants=0)
    expect(story, desired=1)
    assert story.decision.measures.cold_start_s == 200.0
    story.look(EIGHT - 250.0, group(ready=1), wants=0)
    expect(story, desired=4)


@pytest.mark.parametrize(("whole_s", "ahead_s"), [(300.0, 370.0), (9_000.0, 1.2 * 1_100.0 + 10.0)])
def test_the_wait_for_a_node_counts_as_long_as_a_provisioner_waits(whole_s, ahead_s):
    story = Scenario(scheduled(daily(8, 20, 4)))
    story.look(EIGHT - 5_000.0, group(ready=1), wants=0)
    measure_starts(story, took_s=200.0, whole_s=whole_s)
    story.look(EIGHT - ahead_s - 1.0, group(ready=1), wants=0)
    expect(story, desired=1)
    story.look(EIGHT - ahead_s, group(ready=1), wants=0)
    expect(story, desired=4)


def measure_starts(story: Scenario, *, took_s: float, whole_s: float = 0.0) -> None:
    """Let the engine remember ten starts of the pool."""
    memory = story.engine._memory.models[story.spec.key]
    starts = memory.cold_starts["on-demand"]
    starts.measured_s, starts.finished = [took_s] * 10, None
    starts.whole_s = [max(took_s, whole_s)] * 10


def test_what_was_begun_goes_on_where_starts_turn_out_to_be_shorter():
    """Without a window a floor that is taken back just before it begins would be gone at its beginning."""
    behavior = Behavior(scale_down=rules(window=0))
    story = Scenario(scheduled(daily(8, 20, 4), cold_start_s=600.0, behavior=behavior))
    story.look(EIGHT - 725.0, group(ready=1), wants=0)
    expect(story, desired=4)
    measure_starts(story, took_s=60.0)
    for _ in range(2):
        story.look(EIGHT - 600.0, group(ready=4), wants=0)
        expect(story, desired=4)
        assert story.decision.measures.cold_start_s == 60.0
        story.restart(remembered=True)
    story.look(EIGHT, group(ready=4), wants=0)
    story.look(EVENING + 1.0, group(ready=4), wants=0)
    expect(story, desired=1)
    measure_starts(story, took_s=60.0)
    story.look(EIGHT + DAY_S - 500.0, group(ready=1), wants=0)
    expect(story, desired=1)  # the next morning begins by what is known then


def test_the_largest_of_overlapping_schedules_counts_and_nothing_is_asked_for_twice():
    story = Scenario(scheduled(daily(6, 12, 3), daily(8, 20, 4), daily(7, 9, 2)))
    told = []
    for at in (
        EIGHT - 2 * HOUR_S,
        EIGHT - AHEAD_S - 1.0,
        EIGHT - AHEAD_S,
        EIGHT,
        EIGHT + 5 * HOUR_S,
    ):
        story.look(at, group(ready=5), wants=0)
        told.append(story.decision.measures.warm_floor_replicas)
    assert told == [3, 3, 4, 4, 4]


def test_schedules_that_follow_each_other_leave_no_gap():
    story = Scenario(scheduled(daily(20, 8, 2), daily(8, 20, 4)))
    told = []
    for at in (
        EIGHT - AHEAD_S - 1.0,
        EIGHT - AHEAD_S,
        EIGHT,
        EVENING - 1.0,
        EVENING,
        EVENING + 1.0,
    ):
        story.look(at, group(ready=5), wants=0)
        told.append(story.decision.measures.warm_floor_replicas)
    assert told == [2, 4, 4, 4, 2, 2]


def test_what_is_kept_always_is_kept_in_a_schedule_of_fewer():
    story = Scenario(scheduled(daily(8, 20, 2), warm=3))
    story.look(EIGHT, group(ready=3), wants=0)
    expect(story, desired=3)
    assert story.decision.measures.warm_floor_replicas == 3


def test_it_lies_on_its_capacity_type_and_spot_serves_until_it_is_ready():
    """Where nothing is kept always the floor's pool is one all the same."""
    spec = scheduled(daily(8, 20, 2), warm=0, pools=[on_demand(), spot()])
    story = Scenario(spec)
    story.look(EIGHT - 5 * HOUR_S, group("spot", ready=3), wants=3)
    expect(story, pools={"on-demand": 0, "spot": 3})
    story.look(EIGHT - AHEAD_S, group("spot", ready=3), wants=3)
    expect(story, pools={"on-demand": 2, "spot": 3})
    story.look(EIGHT, group(ready=2), group("spot", ready=3), wants=3)
    expect(story, pools={"on-demand": 2, "spot": 1})


def test_a_restart_in_the_middle_of_a_schedule_keeps_it():
    story = Scenario(scheduled(daily(8, 20, 4)), settled=False)
    story.look(EIGHT + HOUR_S, group(ready=4), wants=0)
    expect(story, desired=4)
    story.restart(remembered=False)
    story.look(EIGHT + HOUR_S + 5.0, group(ready=4), wants=0)
    expect(story, desired=4)


def test_a_recording_holds_all_that_was_decided_on():
    """The zone's offsets travel with the specification: nobody reads a database to decide it again."""
    spec = scheduled(daily(8, 20, 4), daily(20, 8, 2, zone="America/New_York"))
    events: list[Event] = [specified(spec, at=EIGHT - 200.0)]
    for number in range(60):
        rows = group(ready=1 if number < 40 else 4)
        at = EIGHT - 200.0 + 5.0 * number
        events.append(observed(seen(spec, rows), at=at, id=number + 1))
    recorded = json.dumps([to_builtins(event, Event) for event in events])
    again = [from_builtins(each, Event) for each in json.loads(recorded)]
    outcomes = []
    for story in (events, again):
        engine = build_engine(EngineSettings())
        told = [to_builtins(engine.handle(event), Outcome) for event in story]
        outcomes.append(json.dumps([told, engine.checkpoint()]))
    assert outcomes[0] == outcomes[1]
    assert "daily 08:00-20:00 Europe/Berlin" in outcomes[0]


# -- what it costs


def test_the_floor_has_a_price_where_its_pool_has_one():
    pools = [on_demand(price=14.0), spot(price=4.9)]
    story = Scenario(scheduled(daily(8, 20, 4), pools=pools))
    story.look(EIGHT - HOUR_S, group(ready=1), wants=0)
    assert story.decision.measures.warm_floor_usd_per_hour == 14.0
    story.look(EIGHT, group(ready=4), wants=0)
    assert story.decision.measures.warm_floor_usd_per_hour == 56.0
    step = story.decision.trail[-1]
    assert (step.by, step.message) == (
        "warm_floor",
        "4 are kept warm on OnDemand, 56.00 USD an hour: daily 08:00-20:00 Europe/Berlin",
    )


@pytest.mark.parametrize(
    ("kind", "usd"), [(ON_DEMAND, 28.0), (SPOT, 9.8), (None, 9.8)], ids=["OnDemand", "Spot", "any"]
)
def test_the_price_is_that_of_the_pool_that_keeps_it(kind, usd):
    pools = [on_demand(price=14.0), spot(price=4.9)]
    story = Scenario(model(pools=pools, warm=2, warm_on=kind))
    story.look(0.0, group(ready=2), group("spot", ready=2))
    assert story.decision.measures.warm_floor_usd_per_hour == pytest.approx(usd)


def test_a_price_that_is_not_given_is_unknown():
    story = Scenario(model(warm=2, warm_on=ON_DEMAND))
    story.look(0.0, group(ready=2))
    assert story.decision.measures.warm_floor_usd_per_hour is None


def test_the_policy_says_so_where_the_floor_decides():
    """The economic rule proposes at least the floor: no guard has anything to add."""
    story = Scenario(scheduled(daily(8, 20, 4), minimum=1, pools=[on_demand(price=2.0)]))
    for number in range(80):  # a history of one cold start
        story.look(EIGHT + 5.0 * number, group(ready=4, running=4.0))
    step = story.decision.trail[0]
    assert (step.by, step.reason) == ("policy", "AtFloor")
    assert step.message.endswith(
        "; 4 are kept warm on OnDemand, 8.00 USD an hour: daily 08:00-20:00 Europe/Berlin"
    )


def test_before_it_begins_it_says_when():
    story = Scenario(scheduled(daily(8, 20, 4)))
    story.look(EIGHT - 30.0, group(ready=1), wants=0)
    assert story.decision.trail[-1].message == (
        "4 are kept warm on OnDemand: daily 08:00-20:00 Europe/Berlin, in 30 s"
    )


# -- the ramp's part


def ramping(*, replicas: int | None, maximum: int = 10, warm: int = 1, **what) -> Scenario:
    """A story of a model whose ramp is known to need so many."""
    spec = model(minimum=0, maximum=maximum, cold_start_s=COLD_START_S, **what)
    floor = WarmFloor(replicas=warm, capacity_type=ON_DEMAND, ramp=RampMode.AUTO)
    story = Scenario(replace(spec, warm_floor=floor))
    ramp = RampMemory(replicas=replicas, watched_s=1_800.0, asked_s=7_200.0)
    story.engine._memory.models[spec.key].ramp = ramp
    return story


def test_what_the_ramp_needs_is_kept():
    story = ramping(replicas=3)
    story.look(0.0, group(ready=1), wants=0)
    expect(story, desired=3, reason="WarmFloor", conditions={"WarmPoolSatisfied": "False/FloorNotReady"})  # fmt: skip
    assert "by the ramp" in story.decision.trail[-1].message


def test_until_it_is_known_the_integer_is_kept_and_the_trail_says_so():
    story = ramping(replicas=None)
    story.look(0.0, group(ready=1), wants=5)
    assert story.decision.measures.warm_floor_replicas == 1
    assert story.decision.trail[0].message.endswith(
        "; the ramp is not known yet (0.5 of 2.0 h watched)"
    )


@pytest.mark.parametrize(("replicas", "maximum", "kept"), [(0, 10, 2), (7, 5, 5)])
def test_it_lies_between_what_is_kept_always_and_the_maximum(replicas, maximum, kept):
    story = ramping(replicas=replicas, maximum=maximum, warm=2)
    story.look(0.0, group(ready=2), wants=0)
    expect(story, desired=kept)
    assert story.decision.measures.warm_floor_replicas == kept


def test_no_budget_is_kept_free_for_what_is_computed():
    """What somebody wrote is protected; what the ramp adds competes."""
    written = Scenario(scheduled(daily(0, 24, 4)), gpu_budget=2)
    written.look(EIGHT, group(ready=2), wants=0)
    expect(written, desired=4)
    computed = ramping(replicas=4)
    spec = computed.spec
    computed = Scenario(spec, gpu_budget=2)
    computed.engine._memory.models[spec.key].ramp = RampMemory(replicas=4)
    computed.look(0.0, group(ready=2), wants=0)
    expect(computed, desired=2, reason="GpuBudget")


def test_a_model_without_either_has_its_floor_as_ever():
    story = Scenario(model(warm=1, warm_on=ON_DEMAND))
    story.look(0.0, group(ready=1))
    assert condition(story.decision, "WarmPoolSatisfied") == "True/FloorReady"
    assert story.engine._memory.models[story.spec.key].ramp == RampMemory()
