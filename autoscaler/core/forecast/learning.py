"""The forecast's memory: learn from each tick, and look ahead. Pure: no I/O, no clock.

Each tick every expert's level is kept; when its lead has passed, what came is compared with it. So
every forecast that was made is scored, and none is scored on what it knew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from autoscaler.core.forecast.distribution import Forecast, distribution, nearest_lead
from autoscaler.core.forecast.history import SLOT_S, SLOTS, History
from autoscaler.core.forecast.registry import FORECASTERS
from autoscaler.core.forecast.residuals import DECAY_S, IDLE_PRIOR_WEIGHT, LEADS_S, Residuals, root
from autoscaler.core.plain import (
    Plain,
    plain_bools,
    plain_floats,
    read_bools,
    read_float,
    read_floats,
    read_int,
    read_list,
    read_record,
)
from autoscaler.core.state import BoolArray, FloatArray

_LEAD_SLOTS = tuple(round(lead / SLOT_S) for lead in LEADS_S)
_BACK = SLOTS - np.array(_LEAD_SLOTS, dtype=np.int64)
"""From a row of the ring to the rows of one lead ago, in the ring's second copy."""
_TAIL = 0.05
"""Of each side of the 90 % band."""
IDLE_REPLICAS = 0.1
"""Demand below this is none, as far as a second replica is concerned."""
IDLE_S = 300.0
"""After so long without demand a model is idle, and what demand did while there was some says
nothing about how long it stays away: then a distribution of its own speaks, learnt from idle times
alone. (With one for both, a single burst kept its replicas for hours, for the ticks before it began
looked like any other tick.)"""
_IDLE_SLOTS = round(IDLE_S / SLOT_S)
_ROUNDING = 1e-9
"""Relative; a demand that stands still lies on its band's edge, both sides of a rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How good the forecasts at the lead of one cold start were, decayed. None: none matured."""

    error_ratio: float | None
    """Sum of absolute errors of the mean over the sum of demands."""
    pinball_loss_replicas: float | None
    """Mean pinball loss of the two edges of the 90 % band."""
    coverage_ratio: float | None
    """Share of demands within the 90 % band."""


def _idle_residuals() -> Residuals:
    return Residuals(experts=len(FORECASTERS), prior_weight=IDLE_PRIOR_WEIGHT)


Band: TypeAlias = tuple[int, int, float, float, float]
"""(slot, index of the lead, low, mean, high): one forecast that waits for what comes."""


@dataclass(slots=True, kw_only=True)
class ForecastMemory:
    """What is remembered of one model's demand. Part of the engine's memory."""

    history: History = field(default_factory=History)
    busy: Residuals = field(default_factory=lambda: Residuals(experts=len(FORECASTERS)))
    """Of forecasts made while there was demand, or had been within the last five minutes."""
    idle: Residuals = field(default_factory=_idle_residuals)
    """Of forecasts made after five minutes without demand."""
    roots: FloatArray = field(
        default_factory=lambda: np.full((2 * SLOTS, len(FORECASTERS)), np.nan)
    )
    """[slot, expert]: levels in square-root space, written twice so that looking back is one index;
    NaN: no forecast was made in that slot."""
    was_idle: BoolArray = field(default_factory=lambda: np.zeros(2 * SLOTS, dtype=np.bool_))
    """[slot]: in which of the two states that slot was; written twice, too."""
    bands: list[Band | None] = field(default_factory=lambda: [None] * SLOTS)
    """Forecasts that wait for what comes, by slot."""
    lead: int = -1
    """Index of the lead that is scored: the last forecast's; -1: none was made."""
    score: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """Decayed sums: absolute error, demand, pinball loss, covered, number."""

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "forecasters": list(FORECASTERS),
            "history": self.history.to_builtins(),
            "busy": self.busy.to_builtins(),
            "idle": self.idle.to_builtins(),
            "was_idle": plain_bools(self.was_idle[:SLOTS]),
            "roots": plain_floats(self.roots[:SLOTS]),
            "bands": [None if band is None else list(band) for band in self.bands],
            "lead": self.lead,
            "score": list(self.score),
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> ForecastMemory:
        """Read back what `to_builtins` wrote; other forecasters than today's begin anew."""
        record = read_record(value)
        if record["forecasters"] != list(FORECASTERS):
            return cls()
        roots = read_floats(record["roots"]).reshape(SLOTS, len(FORECASTERS))
        was_idle = read_bools(record["was_idle"])
        memory = cls(
            history=History.from_builtins(record["history"]),
            roots=np.concatenate([roots, roots]),
            was_idle=np.concatenate([was_idle, was_idle]),
            bands=[_read_band(band) for band in read_list(record["bands"])],
            lead=read_int(record["lead"]),
            score=_read_score(record["score"]),
        )
        memory.busy.restore(record["busy"])
        memory.idle.restore(record["idle"])
        return memory


def learn(memory: ForecastMemory, *, at: float, offered_replicas: float | None) -> None:
    """Take in the offered load of a tick; unknown is left out, and leaves a gap."""
    if offered_replicas is None:
        return
    history = memory.history
    opened = history.record(at, offered_replicas)
    slot = history.slot
    row = slot % SLOTS
    roots = memory.roots
    if opened > 0:
        if opened > 1:
            _forget_skipped(memory, slot=slot, opened=opened)
        elapsed = min(opened, SLOTS) * SLOT_S
        rows = _BACK + row
        halves = root(offered_replicas) - roots.take(rows, axis=0)
        _add_by_state(memory, halves, idle=memory.was_idle.take(rows), elapsed_s=elapsed)
        if memory.lead >= 0:
            _keep_score(memory, slot=slot, offered=offered_replicas, elapsed_s=elapsed)
        memory.bands[row] = None
    roots[row] = roots[row + SLOTS] = [root(level(history)) for level in FORECASTERS.values()]
    idle = history.stays_below(IDLE_REPLICAS, slots=_IDLE_SLOTS)
    memory.was_idle[row] = memory.was_idle[row + SLOTS] = idle


def forecast(memory: ForecastMemory, *, at: float, cold_start_s: float) -> Forecast | None:
    """Look ahead; None before there is history.

    There is history once residuals have been collected, at the lead of one cold start, for the
    length of one cold start: before that the distribution is mostly its prior, and the prior
    knows nothing of how fast this model's demand moves.
    """
    lead = nearest_lead(cold_start_s)
    seen = float(memory.busy.seen[lead]) + float(memory.idle.seen[lead])
    if seen * SLOT_S < cold_start_s:
        return None
    slot = memory.history.slot
    row = slot % SLOTS
    state = memory.idle if memory.was_idle[row] else memory.busy
    made = distribution(state.mixture, at=at, roots=memory.roots[row].copy(), lead=lead)
    memory.bands[row] = (slot, lead, made.low_replicas, made.mean_replicas, made.high_replicas)
    memory.lead = lead
    return made


def scores(memory: ForecastMemory) -> Scores:
    """Return how good the forecasts were."""
    error, demand, pinball, covered, number = memory.score
    if number <= 0.0:
        return Scores(error_ratio=None, pinball_loss_replicas=None, coverage_ratio=None)
    return Scores(
        error_ratio=error / demand if demand > 0.0 else None,
        pinball_loss_replicas=pinball / number,
        coverage_ratio=covered / number,
    )


def _add_by_state(
    memory: ForecastMemory, halves: FloatArray, *, idle: BoolArray, elapsed_s: float
) -> None:
    """Add residuals to the state in which each one's forecast was made."""
    count = np.count_nonzero(idle)
    if count < len(idle):
        busy = np.where(idle[:, None], np.nan, halves) if count else halves
        memory.busy.add(busy, elapsed_s=elapsed_s)
    if count:
        halves = np.where(idle[:, None], halves, np.nan) if count < len(idle) else halves
        memory.idle.add(halves, elapsed_s=elapsed_s)


def _forget_skipped(memory: ForecastMemory, *, slot: int, opened: int) -> None:
    """Mark the slots in which no forecast was made."""
    for skipped in range(slot - min(opened, SLOTS) + 1, slot):
        row = skipped % SLOTS
        memory.roots[row] = memory.roots[row + SLOTS] = math.nan
        memory.bands[row] = None


def _keep_score(memory: ForecastMemory, *, slot: int, offered: float, elapsed_s: float) -> None:
    """Score the forecast that was made one lead ago for this slot, if one was."""
    due = slot - _LEAD_SLOTS[memory.lead]
    band = memory.bands[due % SLOTS]
    if band is None or band[0] != due or band[1] != memory.lead:
        return
    _, _, low, mean, high = band
    left = math.exp(-elapsed_s / DECAY_S)
    margin = _ROUNDING * (1.0 + offered)
    inside = low - margin <= offered <= high + margin
    loss = 0.5 * (_pinball(offered - low, _TAIL) + _pinball(offered - high, 1.0 - _TAIL))
    error, demand, pinball, covered, number = memory.score
    memory.score = (
        error * left + abs(offered - mean),
        demand * left + offered,
        pinball * left + loss,
        covered * left + (1.0 if inside else 0.0),
        number * left + 1.0,
    )


def _pinball(error: float, quantile: float) -> float:
    return quantile * error if error >= 0.0 else (quantile - 1.0) * error


def _read_score(value: Plain) -> tuple[float, float, float, float, float]:
    error, demand, pinball, covered, number = (read_float(item) for item in read_list(value))
    return error, demand, pinball, covered, number


def _read_band(value: Plain) -> Band | None:
    if value is None:
        return None
    slot, lead, low, mean, high = read_list(value)
    return read_int(slot), read_int(lead), read_float(low), read_float(mean), read_float(high)
