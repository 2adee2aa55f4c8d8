"""What the forecast learns from minute means of a time before it was there.

As if it had been running, as far as means of a minute tell. What they tell is how demand moves over minutes;
what they hide is the noise within one, which is most of what residuals of short leads are made of. So:

- a forecast is held to have been made at the end of each minute, from that minute and those before it, and
  is compared with whole minutes that came later, never with a part of its own;
- the leads below TAUGHT_FROM_S are not taught. Live ticks teach them within minutes, with their noise;
- the newest demand (what `last-value` stays at) is not the last minute's mean, which is half a minute old,
  but that carried on to the minute's end by half of its change. It lags no more than the live one, and
  carries about as much noise: the variance of 1.5 a - 0.5 b is two and a half times that of one mean, and a
  minute's mean has 2 S / 60 of the variance of the load at one moment, where S is the service time;
- where a forecast is held against less than a minute (cold starts below three), each residual is spread by
  the noise that minutes hide: what they show of it between neighbours, carried over to the shorter time.

Nothing is scored here: the scores are of forecasts that were made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import TypeAlias

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray, IntArray
from autoscaler.core.forecast.experts.registry import FORECASTERS
from autoscaler.core.forecast.history import BRIDGED_SLOTS, SLOT_S, SLOTS, History
from autoscaler.core.forecast.learning import MEAN_SLOTS_MAX, ForecastMemory
from autoscaler.core.forecast.residuals import LEADS_S, Residuals
from autoscaler.core.tuning import TUNING

TAUGHT_FROM_S = 60.0
"""Seconds ahead from which minutes teach: the first lead that a whole minute can stand for which does not touch
the one it is seen from, and the first of a group of leads that are weighed together."""
_MEDIAN_OF_NORMAL = 0.6745
"""Of the distances from the mean of a normal distribution, in standard deviations."""
_ROWS_AT_ONCE = 240
"""Four hours: about two milliseconds."""

MinuteBaseline: TypeAlias = Callable[[FloatArray, int], FloatArray]
"""Given demand by row (NaN: unknown) and how many rows are five minutes, the baseline at each row's end."""


def learn_minutes(
    memory: ForecastMemory,
    *,
    at: FloatArray,
    offered_replicas: FloatArray,
    span_s: float,
    now: float,
    mean_s: float,
    service_s: float | None,
) -> Generator[None, None, None]:
    """Take in demand of a time before the first tick, on a regular grid; yields between pieces.

    Args:
        memory: of this model; changed.
        at: [row] ends of the rows, seconds, each `span_s` after the last one.
        offered_replicas: [row] their mean offered load; NaN: unknown.
        span_s: of a row, seconds.
        now: seconds; what is older weighs less.
        mean_s: what a forecast is held against is the mean over so long around its lead.
        service_s: how long a request takes; None: not known.
    """
    if not (memory.busy.seen.any() or memory.idle.seen.any()):
        # As if begun with the first row: what was taken for likely beforehand has faded since.
        memory.busy.age(max(0.0, now - float(at[0])))
        memory.idle.age(max(0.0, now - float(at[0])))
    five_minutes = max(1, round(300.0 / span_s))
    idle = _idle(offered_replicas, rows=max(1, round(TUNING.idle_s / span_s)))
    rose = _rose(idle)
    filling = _filling_rows(span_s=span_s, service_s=service_s)
    since_rise = np.arange(len(rose)) - rose
    known = ~np.isnan(offered_replicas) & ((rose < 0) | (since_rise >= filling))
    baselines = np.stack(
        [MINUTE_BASELINES[name](offered_replicas, five_minutes) for name in FORECASTERS], axis=1
    )
    baselines[idle] = np.minimum(baselines[idle], TUNING.idle_replicas)
    roots = np.sqrt(baselines + TUNING.root_shift)
    roots[~known] = np.nan
    yield
    came = _came(offered_replicas, span_s=span_s, mean_s=mean_s)
    over_s = max(mean_s, 2.0 * (service_s or 0.0))
    noise = _hidden_noise(offered_replicas, idle, ratio=span_s / over_s - 1.0)
    slots = span_s / SLOT_S
    for first in range(0, len(at), _ROWS_AT_ONCE):
        yield
        piece = slice(first, first + _ROWS_AT_ONCE)
        halves = came[piece, :, None] - roots[piece, None, :]
        ages = [math.exp((float(moment) - now) / TUNING.residual_decay_s) for moment in at[piece]]
        weights = slots * np.array(ages)
        still = idle[piece]
        if still.any():
            memory.idle.add(halves[still], weights=weights[still], each=slots)
        if not still.all():
            _add_spread(memory.busy, halves[~still], noise, weights=weights[~still], each=slots)
    memory.mean_slots = min(max(1, round(mean_s / SLOT_S)), MEAN_SLOTS_MAX)
    if memory.history.slot < 0 and not idle[-1]:
        # whoever first looks as a fleet serves has not seen it empty
        risen_at = float(at[int(rose[-1])]) - span_s
        memory.rose_at = risen_at if rose[-1] >= 0 else float(at[0]) - TUNING.filling_s_max
    put_before(memory, at=at, offered_replicas=offered_replicas, span_s=span_s)


def put_before(
    memory: ForecastMemory, *, at: FloatArray, offered_replicas: FloatArray, span_s: float
) -> None:
    """Put the newest rows before what the ring of slots holds, as far as there is room.

    The baselines of the first ticks are then means over what was, and not over these ticks alone. But where
    the first tick is of quite another load, it was not the whole of it: of pods that nobody scraped a store of
    metrics says nothing.
    """
    history = memory.history
    begun_at, filled = history.anchor_at, history.slot + 1
    if begun_at is None:
        begun_at = float(at[-1]) + SLOT_S
    elif filled >= SLOTS:
        return
    # By a whole ring, so that what is kept by slot stays in its row.
    before = History(anchor_at=begun_at - SLOTS * SLOT_S, slot=SLOTS - 1)
    for back in range(1, SLOTS - filled + 1):
        moment = begun_at - back * SLOT_S
        row = len(at) - 1 - math.floor((float(at[-1]) - moment) / span_s)
        if row >= len(at) and moment - float(at[-1]) <= BRIDGED_SLOTS * SLOT_S:
            row = len(at) - 1  # as short a gap as that of a late tick
        if 0 <= row < len(at):
            before.values[SLOTS - back] = float(offered_replicas[row])
    if filled and not before.agrees_with(history.values[0]):
        return
    before.values[:filled] = history.values[:filled]
    before.slot = before.since = history.slot + SLOTS
    while before.slot - before.since + 1 < SLOTS and not math.isnan(
        before.values[(before.since - 1) % SLOTS]
    ):
        before.since -= 1
    memory.is_read = not filled
    memory.history = before
    memory.pending = [slot + SLOTS for slot in memory.pending]
    memory.bands = [None if band is None else (band[0] + SLOTS, *band[1:]) for band in memory.bands]


def _last_value(demand: FloatArray, _five_minutes: int) -> FloatArray:
    carried_on = 1.5 * demand[1:] - 0.5 * demand[:-1]
    known = np.where(np.isnan(carried_on), demand[1:], np.maximum(carried_on, 0.0))
    return np.concatenate([demand[:1], known])


def _mean_1_minute(demand: FloatArray, five_minutes: int) -> FloatArray:
    return _known_mean(demand, max(1, round(five_minutes / 5)))


def _mean_5_minutes(demand: FloatArray, five_minutes: int) -> FloatArray:
    return _known_mean(demand, five_minutes)


def _mean_15_minutes(demand: FloatArray, five_minutes: int) -> FloatArray:
    return _known_mean(demand, 3 * five_minutes)


MINUTE_BASELINES: Mapping[str, MinuteBaseline] = {
    "last-value": _last_value,
    "mean-1-minute": _mean_1_minute,
    "mean-5-minutes": _mean_5_minutes,
    "mean-15-minutes": _mean_15_minutes,
}
"""Of each forecaster: what its baseline would have been, by minute means."""


def _known_mean(demand: FloatArray, rows: int) -> FloatArray:
    """Return the mean of what is known of the last `rows` rows; NaN where the newest is unknown."""
    known = ~np.isnan(demand)
    sums = _window_sums(np.where(known, demand, 0.0), rows)
    counts = _window_sums(known.astype(np.float64), rows)
    mean: FloatArray = np.where(known, np.maximum(sums, 0.0) / np.maximum(counts, 1.0), np.nan)
    return mean


def _window_sums(values: FloatArray, rows: int) -> FloatArray:
    """Return the sums of each row and those before it, `rows` together, or as many as there are."""
    sums = np.concatenate([[0.0], np.add.accumulate(values)])
    ends = np.arange(1, len(values) + 1)
    window: FloatArray = sums[ends] - sums[np.maximum(ends - rows, 0)]
    return window


def _idle(demand: FloatArray, *, rows: int) -> BoolArray:
    """Tell at the end of which rows there was no load for so many of them."""
    nothing = (demand < TUNING.idle_replicas).astype(np.float64)  # NaN is not
    idle: BoolArray = _window_sums(nothing, rows) == rows
    return idle


def _rose(idle: BoolArray) -> IntArray:
    """Return, by row, the one in which the load last rose out of nothing; -1: none, or it is idle."""
    begins = np.zeros(len(idle), dtype=np.bool_)
    begins[1:] = idle[:-1] & ~idle[1:]
    last: IntArray = np.maximum.accumulate(np.where(begins, np.arange(len(idle)), -1))
    return np.where(idle, -1, last)


def _filling_rows(*, span_s: float, service_s: float | None) -> int:
    """Return for how many rows after a rise out of nothing the load is not known yet."""
    filling_s = TUNING.filling_s
    if service_s is not None:
        filling_s = min(TUNING.filling_service_times * service_s, TUNING.filling_s_max)
    return math.ceil(filling_s / span_s)


def _add_spread(
    residuals: Residuals, halves: FloatArray, noise: float, *, weights: FloatArray, each: float
) -> None:
    """Add residuals, each of them one half above and one half below where it lies."""
    if noise == 0.0:
        residuals.add(halves, weights=weights, each=each)
        return
    spread = np.concatenate([halves - noise, halves + noise])
    residuals.add(spread, weights=0.5 * np.concatenate([weights, weights]), each=0.5 * each)


def _hidden_noise(demand: FloatArray, idle: BoolArray, *, ratio: float) -> float:
    """Return how far demand strays within a row, beyond what means of rows show: in roots.

    What comes from requests that know nothing of each other has a variance that goes down as the time over
    which it is averaged goes up. So that between neighbouring rows (of which half is each one's own) says
    what it would be over a shorter time. The median, for a ramp or a burst is no noise.

    Args:
        demand: [row] mean; NaN: unknown.
        idle: [row] whether there is none.
        ratio: by how much more than a row's own that variance is; not above zero: rows hide none.
    """
    if ratio <= 0.0:
        return 0.0
    roots = np.sqrt(demand + TUNING.root_shift)
    changes = np.abs(roots[1:] - roots[:-1])[~idle[1:]]
    ordered = np.sort(changes[~np.isnan(changes)])
    if not len(ordered):
        return 0.0
    deviation = float(ordered[len(ordered) // 2]) / _MEDIAN_OF_NORMAL
    return math.sqrt(0.5 * ratio) * deviation


def _came(demand: FloatArray, *, span_s: float, mean_s: float) -> FloatArray:
    """Return the roots of what came, by the row from whose end it is seen: [row, lead]; NaN: unknown.

    Of whole rows alone, as many as the mean is long, in the place nearest to the lead, the later one of two.
    """
    rows = len(demand)
    count = max(1, math.floor(mean_s / span_s + 0.5))
    came = np.full((rows, len(LEADS_S)), np.nan)
    means = _known_mean(demand, count)
    for lead, lead_s in enumerate(LEADS_S):
        if lead_s < TAUGHT_FROM_S:
            continue
        # from the end of a row to the end of the last one of those that came
        behind = max(1, math.floor(lead_s / span_s - 0.5 * count + 0.5) + 1) + count - 1
        if behind < rows:
            came[: rows - behind, lead] = np.sqrt(means[behind:] + TUNING.root_shift)
    return came
