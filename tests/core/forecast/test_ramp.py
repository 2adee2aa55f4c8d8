"""The ramp's part of the warm floor, from the load that a model had."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest

from autoscaler.core.forecast.history import SLOT_S, SLOTS, History
from autoscaler.core.forecast.ramp import EDGES, RampMemory, learn_ramp
from autoscaler.core.tuning import TUNING

COLD_START_S = 180.0
MEAN_SLOTS = 12
"""A third of it."""


def watch(
    loads: Iterable[float | None],
    *,
    objective: float = 0.99,
    cold_start_s: float = COLD_START_S,
    carried: float = 1.0,
    memory: RampMemory | None = None,
) -> RampMemory:
    """A load a slot; None: it is not known."""
    memory = memory or RampMemory()
    history = History()
    for number, load in enumerate(loads):
        if load is None:
            continue
        history.record(1e9 + number * SLOT_S, load)
        learn_ramp(
            memory,
            history,
            cold_start_s=cold_start_s,
            mean_slots=MEAN_SLOTS,
            attainment_ratio=objective,
            carried_ratio=carried,
        )
    return memory


def slots(minutes: float, load: float) -> list[float]:
    return [load] * round(minutes * 60 / SLOT_S)


def leaps(
    *, low: float, high: float, times: int, apart_min: float, lasts_min: float
) -> list[float]:
    return (slots(apart_min, low) + slots(lasts_min, high)) * times


def test_a_load_that_leaps_out_of_nothing_needs_what_it_leaps_to():
    """Ten minutes of 3.6 an hour: a third of it comes before anything else could be there."""
    found = watch(leaps(low=0.0, high=3.6, times=8, apart_min=50, lasts_min=10))
    assert found.replicas == 4


def test_a_load_that_is_high_all_the_time_needs_nothing():
    assert watch(slots(12 * 60, 7.3)).replicas == 0


def test_a_load_that_rises_slowly_needs_nothing_at_99_percent():
    """Half a replica a cold start, for an hour, of eight: less than a hundredth of what comes."""
    climb = [1.0 + 0.5 / 36 * number for number in range(36 * 12)]
    day = slots(8 * 60, 1.0) + climb + slots(8 * 60, 7.0)
    assert watch(day).replicas == 0


@pytest.mark.slow
def test_the_objective_decides_how_much_of_it():
    """The module's own example: twice a day from 2 to 5, for ten minutes."""
    days = leaps(low=2.0, high=5.0, times=4, apart_min=710, lasts_min=10)
    assert [watch(days, objective=share).replicas for share in (0.99, 0.999)] == [0, 5]


@pytest.mark.slow
def test_a_higher_objective_never_needs_less():
    rng = random.Random(3)
    day = [max(0.0, rng.gauss(3.0, 1.0)) if n // 120 % 5 == 0 else 1.0 for n in range(12_000)]
    found = [watch(day, objective=share).replicas for share in (0.9, 0.95, 0.98, 0.99, 0.995)]
    assert found == sorted(found)
    assert found[-1] > 1


def test_what_falls_and_rises_again_within_a_window_had_its_replicas():
    """The stabilization window keeps what was asked for; a wave shorter than it is no rise."""
    wave = (slots(2, 4.0) + slots(1, 1.0)) * 200
    assert watch(wave).replicas == 0


def test_a_burst_of_seconds_is_the_queues():
    """Six seconds of ten, every half an hour, are 0.8 of a mean over a minute."""
    burst = [*slots(29.9, 1.0), 10.0]
    assert watch(burst * 20).replicas <= 2


def test_replicas_that_carry_half_are_twice_as_many():
    day = leaps(low=0.0, high=3.6, times=8, apart_min=50, lasts_min=10)
    assert watch(day, carried=0.5).replicas in {7, 8}


# -- what is known


def test_it_is_not_known_before_one_cold_start_for_each_that_may_be_missed():
    """At 99 % a hundred cold starts of 180 s: five hours. Until a cold start was seen nothing is compared."""
    day = leaps(low=0.0, high=3.6, times=12, apart_min=50, lasts_min=10)
    assert watch(day[: 5 * 720]).replicas is None
    found = watch(day[: 5 * 720 + 60])
    assert found.replicas == 4
    assert found.asked_s == pytest.approx(100 * COLD_START_S)


@pytest.mark.parametrize(
    ("objective", "asked_s"), [(0.5, 3_600.0), (0.99, 18_000.0), (0.9999, 86_400.0)]
)
def test_that_is_an_hour_at_least_and_a_day_at_most(objective, asked_s):
    assert watch(slots(20, 1.0), objective=objective).asked_s == pytest.approx(asked_s)


def test_what_was_not_seen_is_no_rise():
    """A restart of ours in full load, or an hour without an answer."""
    night_and_day = slots(6 * 60, 1.0) + [None] * 720 + slots(6 * 60, 8.0)
    found = watch(night_and_day)
    assert found.risen == [0.0] * len(found.risen)
    assert found.replicas == 0


def test_a_load_that_begins_out_of_the_blue_is_compared_with_what_was_seen():
    assert watch(slots(6 * 60, 0.0) + slots(5, 8.0)).replicas == 8


# -- calm, bounded, forgetting


@pytest.mark.slow
def test_it_rises_at_once_and_falls_when_a_lower_one_is_enough_for_certain():
    day = leaps(low=1.0, high=4.0, times=12, apart_min=55, lasts_min=5)
    memory = RampMemory()
    told = []
    history = History()
    for number, load in enumerate(day * 4):
        history.record(1e9 + number * SLOT_S, load)
        learn_ramp(
            memory,
            history,
            cold_start_s=COLD_START_S,
            mean_slots=MEAN_SLOTS,
            attainment_ratio=0.99,
            carried_ratio=1.0,
        )
        told.append(memory.replicas)
    known = [each for each in told if each is not None]
    changes = sum(one != other for one, other in pairwise(known))
    assert changes <= 3, "a floor that comes and goes buys starts"


@pytest.mark.slow
def test_it_forgets_what_does_not_come_any_more():
    stormy = leaps(low=1.0, high=5.0, times=8, apart_min=50, lasts_min=10)
    assert watch(stormy).replicas == 5
    calm = slots(4 * 24 * 60, 5.0)
    assert watch(stormy + calm).replicas == 0


def test_its_memory_does_not_grow_nor_its_numbers():
    memory = watch(leaps(low=1.0, high=5.0, times=8, apart_min=50, lasts_min=10))
    memory.growth = 9e8
    before = [each / memory.load for each in memory.risen]
    again = watch(slots(16 * 60, 1.0) * 1, memory=memory)
    assert again.growth < 9e8
    assert len(again.risen) == len(before)


def test_a_cold_start_longer_than_what_is_remembered_counts_as_the_longest_that_is():
    """Half may be missed: the upper half of what all rose."""
    assert (
        watch(slots(6 * 60, 0.0) + slots(5, 3.0), cold_start_s=7_200.0, objective=0.5).replicas == 2
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_with_this_floor_no_more_is_missed_than_may_be_and_with_one_less_it_is(seed):
    """Held against the sum over every moment, written a second time; a cell's width apart."""
    rng = random.Random(seed)
    loads: list[float] = []
    while len(loads) < 8_000:
        loads += [rng.choice((0.2, 1.0, 2.5, 6.0))] * rng.randrange(20, 400)
    found = watch(loads, objective=0.97)
    assert found.replicas is not None
    missed = [_missed_share(loads, floor) for floor in (found.replicas + 1, found.replicas - 1)]
    assert missed[0] <= 0.03
    assert found.replicas == 0 or missed[1] > 0.03 * TUNING.ramp_calm_ratio


def _missed_share(loads: Sequence[float], floor: int) -> float:
    """What lies above the floor and above what was there, of all load; the same fading."""
    lag, mean = round(COLD_START_S / SLOT_S), MEAN_SLOTS
    missed = total = 0.0
    for slot in range(lag + mean, len(loads)):
        now = sum(loads[slot - mean + 1 : slot + 1]) / mean
        had = [
            sum(loads[slot - back - mean + 1 : slot - back + 1]) / mean
            for back in range(lag, 2 * lag + 1, mean)
            if slot - back - mean + 1 >= 0
        ]
        left = 2.718281828 ** ((slot - len(loads)) * SLOT_S / TUNING.residual_decay_s)
        missed += left * max(0.0, now - max(floor, *had, 0.0))
        total += left * now
    return missed / total


def test_the_cells_reach_as_far_as_a_large_fleet():
    assert EDGES[0] == 0.0
    assert 400.0 < EDGES[-1] < 600.0
    assert all(two > one for one, two in pairwise(EDGES))
    assert SLOTS * SLOT_S == 1_600.0
