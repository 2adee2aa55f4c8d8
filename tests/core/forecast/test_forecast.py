"""The forecast: baselines, residuals, the distribution they make, and how it is scored."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.forecast import FORECASTERS, Forecast, ForecastMemory, forecast, learn, scores
from autoscaler.core.forecast import experts as room
from autoscaler.core.forecast.distribution import between_leads, distribution, nearest_lead
from autoscaler.core.forecast.history import SLOT_S, SLOTS, History
from autoscaler.core.forecast.residuals import (
    BINS,
    HALF_ATOMS,
    LEADS_S,
    Residuals,
    root,
)
from autoscaler.core.tuning import TUNING
from tests.core.checkpoints import through_json

COLD_START_S = 60.0


def taught(series: Iterable[float | None], *, cold_start_s: float = COLD_START_S) -> ForecastMemory:
    """A memory that has seen a series, a value every five seconds, and forecast at each."""
    memory = ForecastMemory()
    for tick, value in enumerate(series):
        learn(memory, at=1000.0 + SLOT_S * tick, offered_replicas=value)
        forecast(memory, at=1000.0 + SLOT_S * tick, cold_start_s=cold_start_s)
    return memory


def ahead(memory: ForecastMemory, *, cold_start_s: float = COLD_START_S) -> Forecast:
    made = forecast(memory, at=0.0, cold_start_s=cold_start_s)
    assert made is not None
    return made


def noisy(mean: float, ticks: int, *, seed: int = 1, spread: float = 0.2) -> list[float]:
    rng = random.Random(seed)
    return [max(0.0, mean * (1.0 + rng.gauss(0.0, spread))) for _ in range(ticks)]


# --- each forecaster -------------------------------------------------------------------------


def recorded(*values: float | None) -> History:
    history = History()
    for slot, value in enumerate(values):
        if value is not None:
            history.record(SLOT_S * slot, value)
    return history


@pytest.mark.parametrize("name", FORECASTERS)
class TestEveryForecaster:
    def test_a_constant_is_its_own_baseline(self, name):
        for length in (1, 3, 11, 12, 13, 200, 700):
            assert FORECASTERS[name](recorded(*[2.5] * length)) == pytest.approx(2.5)

    def test_it_lies_within_what_was_seen(self, name):
        values = noisy(3.0, 300)
        for length in (1, 2, 50, 300):
            baseline = FORECASTERS[name](recorded(*values[:length]))
            assert min(values[:length]) - 1e-12 <= baseline <= max(values[:length]) + 1e-12

    def test_a_gap_is_not_zero(self, name):
        values = [2.0] * 40 + [None] * 30 + [2.0] * 2
        assert FORECASTERS[name](recorded(*values)) == pytest.approx(2.0)

    def test_more_demand_is_never_a_lower_baseline(self, name):
        values = noisy(3.0, 300)
        baseline = FORECASTERS[name](recorded(*values))
        assert FORECASTERS[name](recorded(*[v + 1.0 for v in values])) == pytest.approx(
            baseline + 1
        )


def test_every_forecaster_file_is_registered():
    folder = Path(room.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "registry"}
    assert {made.__module__.rsplit(".", 1)[1] for made in FORECASTERS.values()} == files


def test_means_look_back_as_far_as_they_say():
    history = recorded(*[1.0] * 300, *[4.0] * 12)
    found = {name: baseline(history) for name, baseline in FORECASTERS.items()}
    assert found == {
        "last-value": 4.0,
        "mean-1-minute": 4.0,
        "mean-5-minutes": pytest.approx(1.0 + 3.0 * 12 / 60),
        "mean-15-minutes": pytest.approx(1.0 + 3.0 * 12 / 180),
    }


# --- the grid of time ------------------------------------------------------------------------


def test_jitter_does_not_skip_slots():
    rng = random.Random(5)
    history = History()
    opened = [history.record(100.0 + 5.0 * t + rng.uniform(-2, 2), 1.0) for t in range(500)]
    assert opened == [1] * 500


def test_ticks_within_one_slot_open_none():
    history = recorded(1.0)
    assert history.record(1.0, 3.0) == 0
    assert history.record(1.0, 5.0) == 0
    assert history.last == 5.0


def test_a_late_tick_is_bridged_and_a_long_gap_is_unknown():
    history = recorded(1.0, 1.0)
    assert history.record(20.0, 4.0) == 3
    assert history.mean(4) == pytest.approx((1 + 4 + 4 + 4) / 4)
    history.record(20.0 + 60 * 5, 8.0)
    assert history.mean(60) == 8.0
    assert history.mean(180) == pytest.approx((1 + 1 + 4 + 4 + 4 + 8) / 6)


@pytest.mark.parametrize("gap_slots", [SLOTS - 1, SLOTS, SLOTS + 1, 5000])
def test_a_gap_as_long_as_the_ring_forgets_everything(gap_slots):
    history = recorded(*[9.0] * 300)
    history.record(SLOT_S * (299 + gap_slots), 2.0)
    assert history.mean(180) == 2.0


# --- residuals -------------------------------------------------------------------------------


def filled(*halves: float, experts: int = 2) -> Residuals:
    residuals = Residuals.from_prior(experts=experts)
    for half in halves:
        residuals.age(SLOT_S)
        residuals.add(np.full((1, len(LEADS_S), experts), half))
    return residuals


def test_a_residual_keeps_its_mean_between_two_atoms():
    prior = Residuals.from_prior(experts=1)
    for half in (0.0, 0.033, -0.4, 1.7, 6.0, -11.0):
        residuals = filled(half, experts=1)
        gained = residuals.mass[0, 0] - prior.mass[0, 0]
        assert gained.sum() == pytest.approx(residuals.growth)
        assert (gained * HALF_ATOMS).sum() / gained.sum() == pytest.approx(half)
        assert np.count_nonzero(gained > 1e-12) <= 2


def test_a_leap_beyond_the_atoms_counts_as_the_farthest():
    residuals = filled(1000.0, experts=1)
    assert residuals.mass[0, 0, -1] > 0.99


def test_two_days_old_residuals_weigh_an_eth_part():
    residuals = filled(5.0, experts=1)
    old = residuals.mass[0, 0, -10:].sum()
    residuals.age(TUNING.residual_decay_s)
    residuals.add(np.full((1, len(LEADS_S), 1), -5.0))
    new = residuals.mass[0, 0, :10].sum()
    assert new / old == pytest.approx(math.e, rel=1e-6)


def test_rescaling_changes_nothing_but_the_unit():
    residuals, other = filled(0.3, -0.2, 0.1), filled(0.3, -0.2, 0.1)
    other.age(TUNING.residual_decay_s * 21.0)  # past exp(20.7) = 1e9
    assert other.growth == 1.0
    for each in (residuals, other):
        each.mixture = each._mix()
    assert other.mixture.tails == pytest.approx(residuals.mixture.tails)


def test_the_prior_weighs_as_much_as_five_residuals():
    residuals = filled(*[3.0] * 5, experts=1)
    first_above = int(np.searchsorted(HALF_ATOMS, 2.0))
    assert residuals.mixture.tails[first_above, 0, 0] == pytest.approx(0.5, abs=0.01)
    assert TUNING.prior_weight == 5.0


def test_a_batch_is_as_good_as_one_by_one():
    rng = random.Random(2)
    halves = np.array([rng.gauss(0.0, 0.3) for _ in range(40 * len(LEADS_S))])
    halves = halves.reshape(40, len(LEADS_S), 1)
    halves[7, 3] = halves[9:12] = np.nan
    at_once, one_by_one = Residuals.from_prior(experts=1), Residuals.from_prior(experts=1)
    at_once.add(halves)
    for each in halves:
        one_by_one.add(each[None])
    assert at_once.seen == pytest.approx(one_by_one.seen)
    assert at_once.seen.tolist() == [37.0] * 3 + [36.0] + [37.0] * 8
    assert at_once.mixture.tails == pytest.approx(one_by_one.mixture.tails)


def test_the_expert_that_errs_less_weighs_more():
    residuals = Residuals.from_prior(experts=2)
    rng = random.Random(4)
    for _ in range(200):
        pair = [rng.gauss(0.0, 0.1), rng.gauss(0.0, 0.2)]
        residuals.add(np.tile(pair, (1, len(LEADS_S), 1)))
    good, bad = residuals.weights()[0]
    assert good > 0.99
    assert good + bad == pytest.approx(1.0)


# --- the distribution ------------------------------------------------------------------------


def atoms(made: Forecast, lead: int) -> tuple[np.ndarray, np.ndarray]:
    """Every demand the forecast holds possible at a lead, and how likely it is."""
    places = HALF_ATOMS + np.array(made.roots)[:, None]
    demands = np.where(
        places > math.sqrt(TUNING.root_shift), places**2 - TUNING.root_shift, 0.0
    ).reshape(-1)
    tails = made.mixture.tails[:, 0, lead].reshape(len(made.roots), BINS + 1)
    return demands, -np.diff(tails, axis=1).reshape(-1)


@pytest.mark.parametrize("mean", [0.0, 0.4, 3.0, 40.0, 1500.0])
def test_use_is_what_the_definition_says(mean):
    """`E[clip(D - (k - 1), 0, 1)]`, atom by atom, against sums over tails."""
    made = ahead(taught(noisy(mean, 300)))
    first = max(1, int(mean) - 3)
    use = made.expected_use(first, first + 12)
    for lead in range(len(LEADS_S)):
        demands, mass = atoms(made, lead)
        assert mass.sum() == pytest.approx(1.0)
        for row, replica in enumerate(range(first, first + 13)):
            expected = (mass * np.clip(demands - (replica - 1), 0.0, 1.0)).sum()
            assert use[row, lead] == pytest.approx(expected, abs=1e-8 * (1 + mean))


def test_mean_and_band_are_those_of_the_atoms():
    made = ahead(taught(noisy(5.0, 400)))
    demands, mass = atoms(made, nearest_lead(COLD_START_S))
    order = np.argsort(demands, kind="stable")
    reached = np.cumsum(mass[order])
    assert made.mean_replicas == pytest.approx((demands * mass).sum())
    for found, quantile in ((made.low_replicas, 0.05), (made.high_replicas, 0.95)):
        exact = demands[order][np.searchsorted(reached, quantile)]
        assert root(found) == pytest.approx(root(exact), abs=0.0201), "within its resolution"
    assert made.low_replicas < 5.0 < made.high_replicas


def test_use_falls_with_the_replica_and_lies_between_zero_and_one():
    made = ahead(taught(noisy(3.0, 300)))
    use = made.expected_use(1, 12)
    assert (use >= -1e-12).all()
    assert (use <= 1.0 + 1e-12).all()
    assert (np.diff(use, axis=0) <= 1e-12).all()


def test_nothing_but_the_prior_is_a_distribution_too():
    made = distribution(Residuals.from_prior(experts=1).mixture, at=0.0, roots=(root(2.0),), lead=3)
    assert made.mean_replicas == pytest.approx(2.0, abs=0.1)
    assert made.low_replicas < 2.0 < made.high_replicas


@pytest.mark.parametrize(
    ("seconds", "lead", "share"),
    [
        (1.0, 0, 0.0),
        (15.0, 0, 0.0),
        (22.5, 0, 0.5),
        (30.0, 1, 0.0),
        (1000.0, 10, pytest.approx(220 / 420)),
        (1200.0, 10, 1.0),
        (5000.0, 10, 1.0),
    ],
)
def test_a_step_lies_between_two_leads(seconds, lead, share):
    assert between_leads(seconds) == (lead, share)


# --- learning --------------------------------------------------------------------------------


@pytest.mark.parametrize(("cold_start_s", "ticks"), [(15.0, 6), (60.0, 24), (180.0, 72)])
def test_there_is_history_after_one_cold_start_of_residuals(cold_start_s, ticks):
    """A forecast made, its lead waited for, and residuals of one cold start."""
    memory = ForecastMemory()
    first = None
    for tick in range(200):
        learn(memory, at=SLOT_S * tick, offered_replicas=1.0)
        made = forecast(memory, at=SLOT_S * tick, cold_start_s=cold_start_s)
        if made is not None:
            first = tick
            break
    assert first is not None
    assert ticks - 1 <= first <= ticks


def test_residuals_are_of_what_came_a_lead_later():
    """A step up: the forecasts made within a lead before it, and no others, were too low."""
    memory = taught([1.0] * 197 + [4.0] * 12)
    assert not memory.pending, "all residuals are taken in"
    leap = root(4.0) - root(1.0)
    up = leap - 0.2 < HALF_ATOMS
    last_value = list(FORECASTERS).index("last-value")
    seen = memory.busy.mass[:, last_value][:, up].sum(axis=1)
    expected = [min(12, lead / SLOT_S) for lead in LEADS_S[:-3]]
    assert seen[:-3] == pytest.approx(expected, abs=0.1)


def test_three_equal_ramps_widen_the_forecast_upwards():
    low = 0.15  # some load: what rises out of nothing teaches nothing
    ramp = [max(low, 0.04 * 5 * t) for t in range(15)] + [3.0] * 12 + [low] * 30
    begun = [low] * 24 + ramp[:4]
    first = ahead(taught([low] * 24 + begun, cold_start_s=30.0), cold_start_s=30.0)
    third = ahead(taught([low] * 24 + ramp + ramp + begun, cold_start_s=30.0), cold_start_s=30.0)
    assert third.high_replicas > first.high_replicas + 0.5
    assert third.expected_use(2, 2)[0, 1] > 5 * first.expected_use(2, 2)[0, 1]


def test_an_idle_model_forgets_how_its_bursts_were():
    """After five quiet minutes a burst before them keeps nothing; until then, it does."""
    series = [2.5] * 24 + [0.0] * 24 + [2.5] * 36
    kept = ahead(taught(series + [0.0] * 30), cold_start_s=20.0)
    idle = ahead(taught(series + [0.0] * 65), cold_start_s=20.0)
    lead = nearest_lead(120.0)
    assert kept.expected_use(2, 2)[0, lead] > 0.05
    assert idle.expected_use(2, 2)[0, lead] < 0.01, "at a price of 60 it is not worth its cost"


@pytest.mark.slow
def test_an_idle_model_learns_how_often_its_bursts_come():
    """A burst every ten minutes, for hours: being idle for six says that one is due."""
    series = ([0.0] * 90 + [2.5] * 30) * 30 + [0.0] * 85
    made = ahead(taught(series), cold_start_s=20.0)
    assert made.expected_use(2, 2)[0, nearest_lead(120.0)] > 0.1


def test_residuals_wait_for_a_batch_and_none_is_lost():
    memory = taught(noisy(2.0, 1000))
    assert 0 < len(memory.pending) < TUNING.batch_slots
    taken = memory.busy.seen + len(memory.pending)
    assert taken.tolist() == [1000.0 - lead / SLOT_S for lead in LEADS_S]


def test_what_waits_is_taken_in_before_the_ring_forgets():
    memory = taught([2.0] * 1000)
    at = 1000.0 + SLOT_S * 999
    waiting, seen = len(memory.pending), memory.busy.seen[-1]
    learn(memory, at=at + SLOT_S * (SLOTS - 100), offered_replicas=2.0)
    assert waiting > 0
    assert memory.busy.seen[-1] == seen + waiting


def test_what_is_not_known_is_not_learnt():
    memory = taught([2.0] * 100 + [None] * 200 + [2.0] * 100)
    gap = ahead(memory)
    plain = ahead(taught([2.0] * 200))
    assert gap.mean_replicas == pytest.approx(plain.mean_replicas, abs=0.05)
    assert gap.low_replicas == pytest.approx(plain.low_replicas, abs=0.1)


# --- scores ----------------------------------------------------------------------------------


def test_nothing_is_scored_before_something_matured():
    found = scores(taught([1.0] * 3))
    assert found == (None,) * 5


def test_demand_that_stands_still_is_forecast_without_error():
    found = scores(taught([3.0] * 1200))
    assert found.coverage_ratio == found.high_coverage_ratio == 1.0
    assert found.error_ratio < 0.01
    assert abs(found.bias_ratio) < 0.01
    assert found.pinball_loss_replicas < 0.01


@pytest.mark.parametrize("mean", [0.8, 6.0, 60.0])
@pytest.mark.slow
def test_the_band_covers_nine_tenths(mean):
    """Noise around a wandering mean, at night and at the peak: one setting for all."""
    rng = random.Random(11)
    series = []
    for tick in range(4000):
        wave = mean * (1.0 + 0.5 * math.sin(tick / 300.0))
        series.append(max(0.0, rng.gauss(wave, 0.25 * math.sqrt(wave))))
    found = scores(taught(series))
    assert 0.85 <= found.coverage_ratio <= 0.95
    assert 0.92 <= found.high_coverage_ratio <= 0.98
    assert found.error_ratio < 0.5
    assert abs(found.bias_ratio) < 0.1


def test_scores_are_of_forecasts_made_a_lead_before():
    """A leap that nobody could foresee is an error for one lead, and then no more."""
    memory = taught([1.0] * 400)
    at = 1000.0 + SLOT_S * 400
    before = memory.score[0]
    errors = []
    for tick in range(24):
        learn(memory, at=at + SLOT_S * tick, offered_replicas=3.0)
        forecast(memory, at=at + SLOT_S * tick, cold_start_s=COLD_START_S)
        errors.append(memory.score[0] - before)
        before = memory.score[0]
    assert all(error == pytest.approx(2.0, abs=0.1) for error in errors[:12])
    assert all(error < 1.9 for error in errors[12:])


@pytest.mark.parametrize(("leap", "sign"), [(3.0, -1.0), (0.2, 1.0)], ids=["up", "down"])
def test_the_bias_is_below_zero_where_too_little_was_forecast(leap, sign):
    """What leaps up is above the band and what falls is below it; only the former was not enough."""
    memory = taught([1.0] * 400 + [leap] * 12)
    found = scores(memory)
    assert found.bias_ratio * sign == pytest.approx(found.error_ratio, rel=0.1)
    assert found.coverage_ratio < 0.99
    assert (found.high_coverage_ratio == 1.0) == (sign > 0.0)


# --- properties ------------------------------------------------------------------------------

# --- what a forecast is held against ----------------------------------------------------------


def spiky(ticks: int) -> list[float]:
    """Over a load of one replica, a burst of one tick, about once a minute."""
    rng = random.Random(2)
    return [13.0 if rng.random() < 1 / 11 else 1.0 for _ in range(ticks)] + [1.0] * 12


def test_a_burst_counts_as_the_mean_of_the_span():
    """Half a minute holds a burst or two: means of 3 or 5, where a tick sees 13."""
    ticks, means = ForecastMemory(), ForecastMemory()
    for memory, mean_s in ((ticks, 5.0), (means, 30.0)):
        for tick, value in enumerate(spiky(2000)):
            learn(memory, at=1000.0 + SLOT_S * tick, offered_replicas=value, mean_s=mean_s)
    by_tick, by_mean = (ahead(memory, cold_start_s=180.0) for memory in (ticks, means))
    assert by_tick.high_replicas > 10.0
    assert 1.0 < by_mean.high_replicas < 7.0


def test_the_band_covers_the_mean_of_the_span():
    memory = ForecastMemory()
    for tick, value in enumerate(noisy(4.0, 2000, spread=0.3)):
        at = 1000.0 + SLOT_S * tick
        learn(memory, at=at, offered_replicas=value, mean_s=30.0)
        forecast(memory, at=at, cold_start_s=180.0)
    covered = scores(memory).coverage_ratio
    assert covered is not None
    assert covered > 0.8


def test_a_mean_leaves_out_what_is_unknown():
    history = recorded(1.0, None, None, None, None, None, 3.0, 5.0)
    assert history.mean_until(7, 1) == 5.0
    assert history.mean_until(7, 2) == 4.0
    assert history.mean_until(7, 8) == 3.0
    assert history.mean_until(0, 6) == 1.0


ticks = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 5.0, 5.0, 5.0, 17.0, 300.0, 5000.0]),
        st.one_of(st.none(), st.floats(0.0, 1e4)),
        st.sampled_from([1.0, 20.0, 180.0, 5000.0]),
    ),
    max_size=60,
)


@pytest.mark.slow
@given(ticks)
def test_anything_can_be_learnt_and_a_checkpoint_goes_on_alike(story):
    memory, at = ForecastMemory(), 1e9
    other = ForecastMemory()
    for number, (step, value, cold_start_s) in enumerate(story):
        at += step
        if number % 7 == 3:
            other = through_json(memory)
        found = []
        for each in (memory, other):
            learn(each, at=at, offered_replicas=value)
            made = forecast(each, at=at, cold_start_s=cold_start_s)
            found.append(
                None
                if made is None
                else (
                    made.low_replicas,
                    made.mean_replicas,
                    made.high_replicas,
                    made.expected_use(1, 9),
                )
            )
        if found[0] is None or found[1] is None:
            assert found[0] is found[1]
            continue
        assert found[0][:3] == found[1][:3]
        assert (found[0][3] == found[1][3]).all()
        low, mean, high, use = found[0]
        assert 0.0 <= low <= high
        assert math.isfinite(mean)
        assert np.isfinite(use).all()
        assert scores(memory) == scores(other)


def test_other_forecasters_than_a_checkpoint_knows_begin_anew():
    written = to_builtins(taught([1.0] * 50), ForecastMemory)
    written["forecasters"] = ["last-value"]
    assert from_builtins(written, ForecastMemory).history.slot == -1


def test_as_many_bins_as_atoms():
    assert list(HALF_ATOMS) == sorted(HALF_ATOMS)
    assert BINS % 2 == 1
    assert HALF_ATOMS[BINS // 2] == 0.0


# --- what people reported --------------------------------------------------------------------


@pytest.mark.parametrize("cold_start_s", [80.0, 94.0, 120.0, 900.0])
def test_a_start_that_takes_longer_than_any_before_does_not_undo_the_history(cold_start_s):
    """The estimate grew tick by tick, and the forecast fell back to none each time."""
    memory = taught(noisy(2.0, 40), cold_start_s=60.0)
    assert forecast(memory, at=0.0, cold_start_s=60.0) is not None
    made = forecast(memory, at=0.0, cold_start_s=cold_start_s)
    assert made is not None
    assert made.lead_s <= 120.0, "the nearest lead that has residuals"


def test_without_any_history_there_is_none_at_a_shorter_lead_either():
    assert forecast(taught(noisy(2.0, 20)), at=0.0, cold_start_s=60.0) is None


@pytest.mark.parametrize("service_s", [15.0, None])
def test_replicas_that_fill_teach_nothing(service_s):
    """The load itself is not known yet: the ramp out of nothing stood in the forecast for hours."""
    filling = [2.0 * (1.0 - math.exp(-tick / 3.0)) for tick in range(12)]

    def beyond_two(said: float | None) -> float:
        memory = ForecastMemory()
        for tick, value in enumerate([*[0.0] * 12, *filling, *[2.0] * 60]):
            learn(memory, at=SLOT_S * tick, offered_replicas=value, service_s=said)
        return ahead(memory, cold_start_s=30.0).high_replicas

    assert beyond_two(service_s) < 2.3
    assert beyond_two(0.0) > 2.5, "what was learnt from them before"


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_load_that_is_no_number_is_unknown(odd):
    """It ended in a division by nothing when its mean was asked for."""
    memory = taught([2.0] * 40)
    known = memory.history.slot
    learn(memory, at=1000.0 + SLOT_S * 41, offered_replicas=odd)
    assert memory.history.slot == known
