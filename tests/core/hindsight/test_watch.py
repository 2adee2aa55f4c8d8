"""Fleets in hindsight: what each would have cost and attained, over which time, and what is in no figure."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from autoscaler.core.candidates.capacity import CapacityMemory
from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.contract.hindsight import (
    HindsightPolicy,
    PolicyHindsight,
    WindowHindsight,
)
from autoscaler.core.contract.spec import ModelSpec, Objective, Targets
from autoscaler.core.hindsight import FleetLook, HindsightMemory, watch
from autoscaler.core.hindsight.serving import Serving
from tests.builders import model, on_demand

TICK_S = 5.0
BEGIN_AT = 1_700_000_100.0
TARGET = 8.0
SERVING = Serving(alone_s=4.0, beside_s=0.05, seats=24.0)
PRICE = 2.0


def spec(*, least: int = 1, most: int = 6, price: float | None = PRICE) -> ModelSpec:
    made = model(pools=[on_demand(price=price)], maximum=most, minimum=least)
    return replace(made, targets=Targets(in_flight_requests=TARGET))


def look(
    load: float, *, ready: int = 3, price: float | None = PRICE, **fields: object
) -> FleetLook:
    """Of a fleet that is asked for so many replicas of the whole target."""
    rate = load * TARGET / SERVING.alone_s
    return FleetLook(
        arrivals_per_s=rate,
        load=load,
        missed=0.02 * rate * TICK_S,
        judged=rate * TICK_S,
        ready=ready,
        paid=ready + 1,
        usd_per_hour=None if price is None else (ready + 1) * price,
        one_usd_per_hour=price or 0.0,
        in_flight=load * TARGET,
        waiting=0.0,
        start_s=180.0,
        serving=SERVING,
    )._replace(**fields)


def play(
    memory: HindsightMemory,
    looks: Iterable[FleetLook | None],
    *,
    at: float = BEGIN_AT,
    of: ModelSpec | None = None,
) -> Iterator[tuple[WindowHindsight, ...]]:
    """Look once a tick, and yield what is told."""
    of = of or spec()
    capacity = CapacityMemory()
    for each in looks:
        told = watch(memory, at=at, look=each, spec=of, capacity=capacity)
        at += TICK_S
        if told is not None:
            yield told


def last(told: Iterable[tuple[WindowHindsight, ...]]) -> tuple[WindowHindsight, ...]:
    *_, end = told
    return end


def policies(window: WindowHindsight) -> dict[HindsightPolicy, PolicyHindsight]:
    return {each.policy: each for each in window.policies}


def ticks(minutes: float) -> int:
    return round(minutes * 60.0 / TICK_S)


def waves(count: int, *, seed: int = 3) -> list[FleetLook]:
    rng = random.Random(seed)
    return [
        look(1.5 + math.sin(tick / 200.0) + rng.random() * (4.0 if tick % 500 < 60 else 0.3))
        for tick in range(count)
    ]


def test_it_is_told_once_a_minute_and_before_anything_was_played_not_at_all():
    told = list(play(HindsightMemory(), [look(2.0)] * ticks(10.0)))
    assert len(told) == 9
    assert list(play(HindsightMemory(), [None] * ticks(10.0))) == []


def test_a_static_fleet_costs_its_size_times_the_time():
    hour, day, week = last(play(HindsightMemory(), [look(2.0)] * ticks(40.0)))
    for window in (hour, day, week):
        static = policies(window)[HindsightPolicy.STATIC]
        assert static.replicas == 3
        assert static.replica_s == 3 * window.covered_s
        assert static.usd == pytest.approx(3 * window.covered_s / 3600.0 * PRICE, rel=1e-3)
        assert static.attained_ratio is not None
        assert static.attained_ratio >= 0.99
    assert week.covered_s == 2340.0, "told at the last whole minute"


def test_the_real_fleet_is_what_was_paid_and_what_histograms_say():
    hour, *_ = last(play(HindsightMemory(), [look(2.0)] * ticks(30.0)))
    own = policies(hour)[HindsightPolicy.OWN]
    assert own.replica_s == pytest.approx(4 * hour.covered_s)
    assert own.usd == pytest.approx(4 * hour.covered_s / 3600.0 * PRICE, rel=1e-3)
    assert own.attained_ratio == pytest.approx(0.98)
    assert hour.foretold_ratio is not None
    assert hour.foretold_ratio > 0.99, "that the play is off by more than a point is to be seen"


def test_an_hpa_follows_its_target_and_keda_waits_for_a_queue():
    """16 requests alone are 18 side by side: two replicas are within HPA's tolerance of 8 each, three not needed;
    nobody waits at one replica of 24 seats, so KEDA stays at one."""
    looks = [look(1.9, ready=1, in_flight=1.9 * TARGET)] * ticks(60.0)
    hour, *_ = last(play(HindsightMemory(), looks))
    told = policies(hour)
    assert told[HindsightPolicy.HPA].replica_s / hour.covered_s == pytest.approx(2.0, abs=0.1)
    assert told[HindsightPolicy.KEDA].replica_s == pytest.approx(hour.covered_s)


def test_keda_begins_to_scale_when_its_replica_is_full_and_what_came_meanwhile_is_late():
    rise = [look(0.5, ready=6)] * ticks(20.0) + [look(5.0, ready=6)] * ticks(15.0)
    hour, *_ = last(play(HindsightMemory(), rise))
    told = policies(hour)
    keda = told[HindsightPolicy.KEDA]
    assert keda.attained_ratio is not None
    assert keda.attained_ratio < 0.9
    assert told[HindsightPolicy.STATIC].replicas in {5, 6}


@pytest.mark.parametrize(("least", "most"), [(1, 1), (2, 3), (4, 40)])
def test_bounds_hold(least: int, most: int):
    of = spec(least=least, most=most)
    for window in last(play(HindsightMemory(), waves(ticks(90.0)), of=of)):
        for each in window.policies[1:]:
            leaving = 1.02  # those that are given up finish what they hold
            assert least * window.covered_s * 0.999 <= each.replica_s + 15.0
            assert each.replica_s <= most * window.covered_s * leaving + 15.0
        static = policies(window)[HindsightPolicy.STATIC]
        assert least <= (static.replicas or 0) <= most


def test_what_is_not_seen_is_in_no_figure():
    """An hour of silence in the middle: the figures are those of the hour before it."""
    memory = HindsightMemory()
    list(play(memory, waves(ticks(60.0))))
    sums = memory.windows.fine.copy()
    blind_at = BEGIN_AT + 3600.0
    told = list(play(memory, [None] * ticks(60.0), at=blind_at))
    assert (memory.windows.fine == sums).all()
    before, (hour, day, _) = told[0], told[-1]
    assert day.covered_s == before[1].covered_s == 3585.0
    assert day.policies == before[1].policies
    assert hour.covered_s < 700.0, "of the last hour hardly anything is known"
    later = list(play(memory, [None] * ticks(30.0), at=blind_at + 3600.0))
    (hour, *_) = later[-1]
    assert hour.covered_s == 0.0
    assert [each.attained_ratio for each in hour.policies] == [None] * 4
    assert [each.usd for each in hour.policies] == [None] * 4


def test_a_pause_between_two_looks_is_a_gap():
    memory = HindsightMemory()
    told = last(play(memory, [look(2.0)] * ticks(20.0)))
    after = last(play(memory, [look(2.0)] * ticks(5.0), at=BEGIN_AT + 7200.0))
    assert after[1].covered_s == pytest.approx(told[1].covered_s + 300.0, abs=30.0)


def test_starts_go_on_while_nothing_is_seen():
    memory = HindsightMemory()
    list(play(memory, [look(0.5, ready=1)] * ticks(10.0) + [look(5.0, ready=6)] * 10))
    hpa = memory.fleets[1]
    assert hpa.starting
    asked = hpa.asked
    list(play(memory, [look(5.0, ready=6)] * 2, at=BEGIN_AT + 3600.0))
    assert (hpa.ready, hpa.starting) == (asked, [])


def test_without_a_price_there_are_no_dollars_and_the_rest_stands():
    of = spec(price=None)
    hour, *_ = last(play(HindsightMemory(), [look(2.0, price=None)] * ticks(10.0), of=of))
    assert {each.usd for each in hour.policies} == {None}
    assert all(each.replica_s > 0.0 for each in hour.policies)


def test_where_no_histogram_speaks_the_real_share_is_unknown():
    hour, *_ = last(play(HindsightMemory(), [look(2.0, missed=0.0, judged=0.0)] * ticks(10.0)))
    told = policies(hour)
    assert told[HindsightPolicy.OWN].attained_ratio is None
    assert told[HindsightPolicy.HPA].attained_ratio is not None


def test_no_traffic_costs_and_attains_nothing():
    hour, *_ = last(play(HindsightMemory(), [look(0.0, ready=1)] * ticks(30.0)))
    assert hour.requests == 0.0
    assert [each.attained_ratio for each in hour.policies] == [None] * 4
    assert policies(hour)[HindsightPolicy.STATIC].replicas == 1
    assert hour.policies[1].replica_s > 0.0


def test_another_objective_begins_anew():
    memory = HindsightMemory()
    list(play(memory, [look(2.0)] * ticks(20.0)))
    stricter = replace(spec(), objective=Objective(attainment_ratio=0.999))
    told = last(play(memory, [look(2.0)] * ticks(3.0), at=BEGIN_AT + 1200.0, of=stricter))
    assert told[2].covered_s < 200.0


@pytest.mark.parametrize("cut", [ticks(7.3), ticks(31.0) + 1])
def test_a_checkpoint_goes_on_as_if_nothing_had_been(cut: int):
    looks = waves(ticks(70.0))
    whole, first = HindsightMemory(), HindsightMemory()
    list(play(whole, looks[:cut]))
    list(play(first, looks[:cut]))
    second = from_builtins(to_builtins(first, HindsightMemory), HindsightMemory)
    at = BEGIN_AT + cut * TICK_S
    assert list(play(second, looks[cut:], at=at)) == list(play(whole, looks[cut:], at=at))
    assert to_builtins(second, HindsightMemory) == to_builtins(whole, HindsightMemory)


def test_misses_that_were_foretold_in_vain_are_put_right():
    """Of a fleet that is as full as it may be a hundredth is foretold; where none comes, less is believed of others too."""

    def foretold(missed: float) -> float:
        looks = [look(2.8, missed=missed * 28.0, judged=28.0)] * ticks(120.0)
        (hour, *_) = last(play(HindsightMemory(), looks))
        assert hour.foretold_ratio is not None
        return 1.0 - hour.foretold_ratio

    none, many = foretold(0.0), foretold(0.05)
    assert 0.0 < none < 0.25 * many
    assert many < 0.05, "and never by more than four times"


def test_where_nothing_is_judged_what_is_foretold_stands():
    memory = HindsightMemory()
    list(play(memory, [look(2.8, missed=0.0, judged=0.0)] * ticks(30.0)))
    assert memory.foretold.ratio == 1.0
