"""What minute means teach the forecast, and where they are put."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from autoscaler.core.forecast import FORECASTERS, ForecastMemory, forecast, learn
from autoscaler.core.forecast.history import SLOT_S, SLOTS
from autoscaler.core.forecast.minutes import (
    MINUTE_BASELINES,
    TAUGHT_FROM_S,
    learn_minutes,
    put_before,
)
from autoscaler.core.forecast.residuals import HALF_ATOMS, LEADS_S
from autoscaler.core.tuning import TUNING

NAN = math.nan
SPAN_S = 60.0
COLD_START_S = 180.0
TAUGHT = [lead for lead, lead_s in enumerate(LEADS_S) if lead_s >= TAUGHT_FROM_S]


def taught(
    demand: list[float], *, now: float | None = None, mean_s: float = 60.0
) -> ForecastMemory:
    memory = ForecastMemory()
    at = SPAN_S * np.arange(1.0, len(demand) + 1)
    for _ in learn_minutes(
        memory,
        at=at,
        offered_replicas=np.array(demand),
        span_s=SPAN_S,
        now=float(at[-1]) if now is None else now,
        mean_s=mean_s,
        service_s=5.0,
    ):
        pass
    return memory


def mean_half(memory: ForecastMemory, lead: int, expert: int) -> float:
    busy = memory.busy
    return float(busy.mass[lead, expert] @ HALF_ATOMS / busy.total[lead])


def test_every_forecaster_has_its_baseline_by_minutes():
    assert list(MINUTE_BASELINES) == list(FORECASTERS)


@pytest.mark.parametrize("name", MINUTE_BASELINES)
class TestEveryBaseline:
    def test_a_constant_is_its_own_baseline(self, name):
        assert MINUTE_BASELINES[name](np.full(40, 2.5), 5).tolist() == pytest.approx([2.5] * 40)

    def test_what_is_unknown_is_no_zero_and_has_none(self, name):
        demand = np.array([2.0] * 20 + [NAN] * 3 + [2.0] * 4)
        made = MINUTE_BASELINES[name](demand, 5)
        assert np.isnan(made).tolist() == np.isnan(demand).tolist()
        assert made[23:].tolist() == pytest.approx([2.0] * 4)

    def test_it_knows_nothing_of_what_comes(self, name):
        before = [1.0, 4.0, 2.0, 3.0] * 5
        one, other = (
            MINUTE_BASELINES[name](np.array([*before, *end]), 5) for end in ([9.0], [0.0])
        )
        assert one[:-1].tolist() == other[:-1].tolist()

    def test_it_is_never_below_zero(self, name):
        assert (MINUTE_BASELINES[name](np.array([9.0, 0.1, 0.0, 5.0, 0.0]), 5) >= 0.0).all()


def test_the_last_value_is_carried_on_to_the_end_of_its_minute():
    """On a ramp of one replica a minute, the end of a minute is half a replica above its mean."""
    ramp = np.arange(10.0)
    assert MINUTE_BASELINES["last-value"](ramp, 5)[1:].tolist() == (ramp[1:] + 0.5).tolist()


def test_the_leads_below_a_minute_are_left_to_ticks():
    memory = taught([2.0] * 100)
    seen = (memory.busy.seen + memory.idle.seen).tolist()
    assert [lead for lead, count in enumerate(seen) if count] == TAUGHT
    assert len(TAUGHT) == len(LEADS_S) - 3


def test_a_minute_weighs_as_much_as_its_ticks():
    """Of three hours: twelve slots a minute, for every minute whose lead has passed."""
    memory = taught([2.0] * 180)
    for lead in TAUGHT:
        behind = math.floor(LEADS_S[lead] / SPAN_S - 0.5 + 0.5) + 1
        assert memory.busy.seen[lead] == 12 * (180 - behind)
    assert np.allclose(memory.busy.total[TAUGHT], memory.busy.mass[TAUGHT, 0].sum(axis=1))


def test_what_is_older_weighs_less():
    day = TUNING.residual_decay_s / 2.0
    memory = taught([2.0] * 180, now=180 * SPAN_S + day)
    newer = taught([2.0] * 180)
    prior = TUNING.prior_weight
    weights = [m.busy.total[-1] / m.busy.growth for m in (memory, newer)]
    faded = [
        prior * math.exp(-(179 * SPAN_S + late) / TUNING.residual_decay_s) for late in (day, 0.0)
    ]
    ratio = (weights[0] - faded[0]) / (weights[1] - faded[1])
    assert ratio == pytest.approx(math.exp(-0.5), rel=1e-6)


def test_a_constant_has_no_residuals_and_a_ramp_has_its_slope():
    flat = taught([4.0] * 600)
    ramp = taught([0.5 + 0.01 * minute for minute in range(600)])
    for lead in TAUGHT:
        for expert in range(len(FORECASTERS)):
            assert mean_half(flat, lead, expert) == pytest.approx(0.0, abs=0.01)
            assert mean_half(ramp, lead, expert) > 0.0
    last = list(FORECASTERS).index("last-value")
    came = 0.5 + 0.01 * (np.arange(600.0) + 1200.0 / SPAN_S)
    rise = np.sqrt(came + 0.3) - np.sqrt(0.8 + 0.01 * np.arange(600.0))
    assert mean_half(ramp, -1, last) == pytest.approx(rise.mean(), rel=0.1)


def test_an_idle_model_has_its_own_distribution():
    rng = random.Random(1)
    night, day = [0.0] * 480, [3.0 + rng.gauss(0.0, 0.2) for _ in range(480)]
    memory = taught(night + day)
    assert memory.idle.seen[-1] == pytest.approx(12 * 476, abs=12 * 5)
    assert memory.busy.seen[-1] < 12 * 480
    # what rose out of nothing is not learnt while replicas fill
    assert mean_half(memory, -1, 0) == pytest.approx(0.0, abs=0.05)


def test_a_gap_teaches_nothing():
    demand = [3.0] * 200 + [NAN] * 60 + [3.0] * 200
    whole, holed = taught([3.0] * 460), taught(demand)
    assert holed.busy.seen[-1] < whole.busy.seen[-1] - 12 * 60
    assert holed.idle.seen[-1] == 0.0
    assert mean_half(holed, -1, 3) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(("mean_s", "ratio"), [(60.0, 1.0), (120.0, 1.0), (20.0, 3.0), (5.0, 6.0)])
def test_the_noise_that_minutes_hide_is_added(mean_s, ratio):
    """Of independent minutes: twice their variance, and what a shorter time has more.

    Not more than that of two service times: the load of one moment is a mean over that.
    """
    rng = random.Random(3)
    demand = [9.0 + rng.gauss(0.0, 0.5) for _ in range(4000)]
    memory = taught(demand, mean_s=mean_s)
    own = 0.5 / (2.0 * math.sqrt(9.3))  # a half: the root's deviation
    minute = list(FORECASTERS).index("mean-1-minute")
    shares = memory.busy.mass[-1, minute] / memory.busy.total[-1]
    variance = float(shares @ (HALF_ATOMS * HALF_ATOMS))
    came = own**2 / (2.0 if mean_s == 120.0 else 1.0)
    assert variance == pytest.approx(own**2 * ratio + came, rel=0.15)
    assert memory.busy.seen[-1] == pytest.approx(12 * len(demand), rel=0.01)


def ticked(memory: ForecastMemory, *, begin_at: float, ticks: int, value: float = 2.0) -> None:
    for tick in range(ticks):
        at = begin_at + SLOT_S * tick
        learn(memory, at=at, offered_replicas=value, mean_s=60.0, service_s=5.0)
        forecast(memory, at=at, cold_start_s=COLD_START_S)


def test_the_first_tick_looks_back_on_what_was_read():
    """Fifteen minutes at four replicas before it: the mean of them is known at once."""
    memory = taught([4.0] * 60)
    ticked(memory, begin_at=60 * SPAN_S + 3.0, ticks=1, value=3.5)
    history = memory.history
    assert history.last == 3.5
    assert history.mean(180) == pytest.approx((179 * 4.0 + 3.5) / 180, rel=0.01)
    assert forecast(memory, at=0.0, cold_start_s=COLD_START_S) is not None


def test_a_gap_before_the_first_tick_stays_unknown():
    memory = taught([4.0] * 60)
    ticked(memory, begin_at=60 * SPAN_S + 90.0, ticks=2, value=3.5)
    known = [value for value in memory.history.recent(30) if not math.isnan(value)]
    assert known == [4.0] * (30 - 2 - 17) + [3.5] * 2
    assert memory.history.since == memory.history.slot - 1


@pytest.mark.parametrize("ticks", [1, 30, 200, SLOTS - 1, SLOTS, 500])
def test_what_ticks_have_put_stays_where_it_is(ticks):
    begin_at = 60 * SPAN_S + SLOT_S
    memory, alone = ForecastMemory(), ForecastMemory()
    for each in (memory, alone):
        ticked(each, begin_at=begin_at, ticks=ticks)
    put_before(
        memory,
        at=SPAN_S * np.arange(1.0, 61.0),
        offered_replicas=np.full(60, 2.5),
        span_s=SPAN_S,
    )
    kept = min(ticks, SLOTS)
    assert memory.history.recent(kept) == alone.history.recent(kept)
    assert memory.history.recent(SLOTS)[: SLOTS - kept] == [2.5] * (SLOTS - kept)
    shift = SLOTS if ticks < SLOTS else 0
    assert memory.history.slot == alone.history.slot + shift
    later = begin_at + SLOT_S * ticks
    for tick in range(900):
        for each in (memory, alone):
            at = later + SLOT_S * tick
            learn(each, at=at, offered_replicas=2.0, mean_s=60.0, service_s=5.0)
            forecast(each, at=at, cold_start_s=COLD_START_S)
    assert memory.busy.seen.tolist() == alone.busy.seen.tolist()
    assert memory.score[4] == alone.score[4]


@pytest.mark.parametrize(
    ("read", "seen", "is_believed"),
    [
        (4.0, 4.0, True),
        (4.0, 3.2, True),
        (0.4, 0.2, True),
        (2.0, 4.0, False),  # half of the pods were scraped
        (1.0, 2.0, False),
        (4.0, 2.0, False),  # some were scraped twice
        (0.0, 3.0, False),
    ],
)
@pytest.mark.parametrize("comes", ["before", "after"])
def test_what_the_first_tick_contradicts_is_no_past_of_its_load(read, seen, is_believed, comes):
    """What was learnt of how demand moves stays; the means begin with what ticks see."""
    if comes == "before":
        memory = taught([read] * 60)
        ticked(memory, begin_at=60 * SPAN_S + 3.0, ticks=3, value=seen)
    else:
        memory = ForecastMemory()
        ticked(memory, begin_at=60 * SPAN_S + 3.0, ticks=3, value=seen)
        at, demand = SPAN_S * np.arange(1.0, 61.0), np.full(60, read)
        put_before(memory, at=at, offered_replicas=demand, span_s=SPAN_S)
    mean = memory.history.mean(180)
    assert (mean == pytest.approx(seen)) is (not is_believed or read == seen)
    if is_believed:
        assert mean == pytest.approx(read, rel=0.05)
    assert not memory.is_read


def test_a_ring_that_is_full_takes_nothing():
    memory = ForecastMemory()
    ticked(memory, begin_at=10_000.0, ticks=SLOTS + 10)
    before = list(memory.history.values)
    put_before(memory, at=np.array([9_000.0]), offered_replicas=np.array([4.0]), span_s=SPAN_S)
    assert memory.history.values == before
