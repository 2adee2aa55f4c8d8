"""The forecast's memory: learn from each tick, and look ahead.

Each tick every expert's baseline is kept; when its lead has passed, what came is compared with it. So
every forecast that was made is scored, and none is scored on what it knew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import NamedTuple, TypeAlias

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray
from autoscaler.core.forecast.distribution import Forecast, distribution, nearest_lead
from autoscaler.core.forecast.experts.registry import FORECASTERS
from autoscaler.core.forecast.history import SLOT_S, SLOTS, History
from autoscaler.core.forecast.residuals import BAND, LEADS_S, Residuals, root
from autoscaler.core.tuning import ROUNDING, TUNING

_LEAD_SLOTS = tuple(round(lead / SLOT_S) for lead in LEADS_S)
MEAN_SLOTS_MAX = 40
"""Longest mean that a forecast is held against, so that the ring remembers what it needs."""
_IDLE_SLOTS = round(TUNING.idle_s / SLOT_S)
_NOTHING_SLOTS = round(TUNING.nothing_s / SLOT_S)
_PENDING_SLOTS_MAX = SLOTS - _LEAD_SLOTS[-1] - MEAN_SLOTS_MAX


class ForecastScores(NamedTuple):
    """How good the forecasts at the lead of one cold start were, decayed. None: none matured."""

    error_ratio: float | None
    """Sum of absolute errors of the mean over the sum of demands."""
    pinball_loss_replicas: float | None
    """Mean pinball loss of the two edges of the 90 % band."""
    coverage_ratio: float | None
    """Share of demands within the 90 % band."""
    bias_ratio: float | None
    """Sum of errors over the sum of demands: above zero more was forecast than came."""
    high_coverage_ratio: float | None
    """Share of demands not above the band: of the 95 % quantile, how often it was enough."""


def _idle_residuals() -> Residuals:
    return Residuals.from_prior(experts=len(FORECASTERS), prior_weight=TUNING.idle_prior_weight)


Band: TypeAlias = tuple[int, int, float, float, float]
"""(slot, index of the lead, low, mean, high): one forecast that waits for what comes."""


@dataclass(slots=True, kw_only=True)
class ForecastMemory:
    """What is remembered of one model's demand. Part of the engine's memory."""

    forecasters: tuple[str, ...] = tuple(FORECASTERS)
    """Whose baselines and residuals these are."""
    history: History = field(default_factory=History)
    is_read: bool = False
    """All that is in it was read from elsewhere, and no tick has borne it out yet."""
    busy: Residuals = field(default_factory=lambda: Residuals.from_prior(experts=len(FORECASTERS)))
    """Of forecasts made while there was demand, or had been within the last five minutes."""
    idle: Residuals = field(default_factory=_idle_residuals)
    """Of forecasts made after five minutes without demand."""
    roots: FloatArray = field(default_factory=lambda: np.full((SLOTS, len(FORECASTERS)), np.nan))
    """[slot, expert]: baselines in square-root space; NaN: no forecast was made in that slot."""
    was_idle: BoolArray = field(default_factory=lambda: np.zeros(SLOTS, dtype=np.bool_))
    """[slot]: in which of the two states that slot was."""
    pending: list[int] = field(default_factory=list)
    """Slots whose residuals wait to be taken in."""
    waited_s: float = 0.0
    """The time they span."""
    now: tuple[float, ...] = ()
    """Baselines of the newest slot, as in `roots`."""
    bands: list[Band | None] = field(default_factory=lambda: [None] * SLOTS)
    """Forecasts that wait for what comes, by slot."""
    mean_slots: int = 1
    """Slots over which demand is averaged before a forecast is held against it."""
    rose_at: float | None = None
    """When the load last rose out of nothing; None: there is none."""
    lead: int = -1
    """Index of the lead that is scored: the last forecast's; -1: none was made."""
    score: tuple[float, float, float, float, float, float, float] = (0.0,) * 7
    """Decayed sums: absolute error, demand, pinball loss, covered, number, error, not above the band."""

    def __post_init__(self) -> None:
        """Begin anew where a checkpoint is of other forecasters than today's."""
        if self.forecasters != tuple(FORECASTERS):
            new = ForecastMemory()
            for part in fields(self):
                setattr(self, part.name, getattr(new, part.name))

    def seen(self, lead: int) -> float:
        """Return how many residuals were taken in at a lead, in either state."""
        return float(self.busy.seen[lead]) + float(self.idle.seen[lead])


def learn(
    memory: ForecastMemory,
    *,
    at: float,
    offered_replicas: float | None,
    mean_s: float = SLOT_S,
    service_s: float | None = 0.0,
) -> None:
    """Take in the offered load of a tick; unknown is left out, and leaves a gap.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        offered_replicas: of this tick.
        mean_s: what a forecast is held against is the mean over so long around its lead: a burst of
            seconds, which the queue takes within the objective, is no demand for a replica that
            needs minutes.
        service_s: how long a request takes; None: not known yet. For so long after the load rose out of
            nothing it is not known, for the replicas are still filling: what was forecast from it teaches
            nothing.
    """
    if offered_replicas is None or not math.isfinite(offered_replicas):
        return
    if memory.is_read:
        memory.is_read = False
        if not memory.history.agrees_with(offered_replicas):
            memory.history, memory.rose_at = History(), None
    history = memory.history
    if memory.pending and history.slot_of(at) - memory.pending[0] > _PENDING_SLOTS_MAX:
        _take_in(memory)  # before the ring forgets what they are compared with
    opened = history.record(at, offered_replicas)
    slot = history.slot
    row = slot % SLOTS
    if opened > 0:
        if opened > 1:
            _forget_skipped(memory, slot=slot, opened=opened)
        elapsed = min(opened, SLOTS) * SLOT_S
        memory.pending.append(slot)
        memory.waited_s += elapsed
        count = len(memory.pending)
        if count >= TUNING.batch_slots or count >= TUNING.batch_ratio * memory.seen(0):
            _take_in(memory)
        if memory.lead >= 0:
            _keep_score(memory, slot=slot, elapsed_s=elapsed)
        memory.bands[row] = None
        memory.mean_slots = min(max(1, round(mean_s / SLOT_S)), MEAN_SLOTS_MAX)
    idle = history.stays_below(TUNING.idle_replicas, slots=_IDLE_SLOTS)
    if idle:
        memory.rose_at = None
    elif memory.rose_at is None and offered_replicas >= TUNING.idle_replicas:
        memory.rose_at = at
        if (
            slot < _NOTHING_SLOTS
        ):  # whoever first looks as a fleet begins to serve has not seen it empty
            memory.rose_at -= TUNING.filling_s_max
    baselines = [baseline(history) for baseline in FORECASTERS.values()]
    if idle:
        # a mean that still remembers the last burst is no baseline of an idle model
        baselines = [min(baseline, TUNING.idle_replicas) for baseline in baselines]
    memory.now = tuple([root(baseline) for baseline in baselines])
    if memory.rose_at is None and slot - opened < _NOTHING_SLOTS <= slot:
        memory.roots[:_NOTHING_SLOTS] = math.nan  # by now it is certain that there was nothing
    known = idle or _is_known(memory, at=at, service_s=service_s)
    memory.roots[row] = memory.now if known else math.nan
    memory.was_idle[row] = idle


def _is_known(memory: ForecastMemory, *, at: float, service_s: float | None) -> bool:
    """Tell whether there is a load and replicas that were empty hold it."""
    if memory.rose_at is None:
        return memory.history.slot < _NOTHING_SLOTS
    if service_s is None:
        return at - memory.rose_at >= TUNING.filling_s
    return at - memory.rose_at >= min(
        TUNING.filling_service_times * service_s, TUNING.filling_s_max
    )


def forecast(memory: ForecastMemory, *, at: float, cold_start_s: float) -> Forecast | None:
    """Look ahead; None before there is history.

    There is history once residuals have been collected, at the lead of one cold start, for the
    length of one cold start: before that the distribution is mostly its prior, and the prior
    knows nothing of how fast this model's demand moves. Once there was, a start that takes longer
    than any before does not undo it: the nearest lead that has residuals stands for the new one.
    """
    lead = _learnt_lead(memory, cold_start_s=cold_start_s)
    if lead is None or not memory.now:
        return None  # what is known of before says nothing about the load of now
    slot = memory.history.slot
    row = slot % SLOTS
    state = memory.idle if memory.was_idle[row] else memory.busy
    made = distribution(state.mixture, at=at, roots=memory.now, lead=lead)
    memory.bands[row] = (slot, lead, made.low_replicas, made.mean_replicas, made.high_replicas)
    memory.lead = lead
    return made


def _learnt_lead(memory: ForecastMemory, *, cold_start_s: float) -> int | None:
    """Return the index of the lead to look ahead at; None: there is no history."""
    asked = nearest_lead(cold_start_s)
    if memory.seen(asked) * SLOT_S >= cold_start_s:
        return asked
    if memory.lead < 0:
        return None
    known = (lead for lead in range(asked, -1, -1) if memory.seen(lead) * SLOT_S >= LEADS_S[lead])
    return next(known, None)


def scores(memory: ForecastMemory) -> ForecastScores:
    """Return how good the forecasts were."""
    error, demand, pinball, covered, number, bias, fitting = memory.score
    if number <= 0.0:
        return ForecastScores(None, None, None, None, None)
    return ForecastScores(
        error_ratio=error / demand if demand > 0.0 else None,
        pinball_loss_replicas=pinball / number,
        coverage_ratio=covered / number,
        bias_ratio=bias / demand if demand > 0.0 else None,
        high_coverage_ratio=fitting / number,
    )


def _take_in(memory: ForecastMemory) -> None:
    """Take in the residuals of the pending slots, each in the state its forecast was made in."""
    over = memory.mean_slots
    slots = np.array(memory.pending, dtype=np.int64)
    came = np.array([root(memory.history.mean_until(slot, over)) for slot in memory.pending])
    rows = (slots[:, None] - (np.array(_LEAD_SLOTS) + over // 2)) % SLOTS
    halves = came[:, None, None] - memory.roots.take(rows, axis=0)
    idle = memory.was_idle.take(rows)
    memory.busy.age(memory.waited_s)
    memory.idle.age(memory.waited_s)
    if idle.any():
        memory.idle.add(np.where(idle[:, :, None], halves, np.nan))
        halves = np.where(idle[:, :, None], np.nan, halves)
    if not idle.all():
        memory.busy.add(halves)
    memory.pending.clear()
    memory.waited_s = 0.0


def _forget_skipped(memory: ForecastMemory, *, slot: int, opened: int) -> None:
    """Mark the slots in which no forecast was made."""
    for skipped in range(slot - min(opened, SLOTS) + 1, slot):
        row = skipped % SLOTS
        memory.roots[row] = math.nan
        memory.bands[row] = None


def _keep_score(memory: ForecastMemory, *, slot: int, elapsed_s: float) -> None:
    """Score the forecast that was made one lead before the middle of the span that ends now."""
    due = slot - _LEAD_SLOTS[memory.lead] - memory.mean_slots // 2
    band = memory.bands[due % SLOTS]
    if band is None or band[0] != due or band[1] != memory.lead:
        return
    _, _, low, mean, high = band
    offered = memory.history.mean_until(slot, memory.mean_slots)
    left = math.exp(-elapsed_s / TUNING.residual_decay_s)
    margin = ROUNDING * (1.0 + offered)  # a demand that stands still lies on the band's edge
    enough = offered <= high + margin
    inside = enough and low - margin <= offered
    loss = 0.5 * (_pinball(offered - low, BAND[0]) + _pinball(offered - high, BAND[1]))
    error, demand, pinball, covered, number, bias, fitting = memory.score
    memory.score = (
        error * left + abs(offered - mean),
        demand * left + offered,
        pinball * left + loss,
        covered * left + (1.0 if inside else 0.0),
        number * left + 1.0,
        bias * left + mean - offered,
        fitting * left + (1.0 if enough else 0.0),
    )


def _pinball(error: float, quantile: float) -> float:
    return quantile * error if error >= 0.0 else (quantile - 1.0) * error
