"""The forecast's memory: learn from each tick, and look ahead. Pure: no I/O, no clock.

Each tick every expert's level is kept; when its lead has passed, what came is compared with it. So
every forecast that was made is scored, and none is scored on what it knew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.forecast.distribution import Forecast, distribution, nearest_lead
from autoscaler.core.forecast.history import SLOT_S, SLOTS, History
from autoscaler.core.forecast.registry import FORECASTERS
from autoscaler.core.forecast.residuals import DECAY_S, LEADS_S, Residuals, root
from autoscaler.core.plain import (
    Plain,
    plain_floats,
    plain_ints,
    read_float,
    read_floats,
    read_int,
    read_ints,
    read_list,
    read_record,
)
from autoscaler.core.state import FloatArray, IntArray

_LEAD_SLOTS = np.array([round(lead / SLOT_S) for lead in LEADS_S], dtype=np.int64)
_TAIL = 0.05
"""Of each side of the 90 % band."""
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


@dataclass(slots=True, kw_only=True)
class ForecastMemory:
    """What is remembered of one model's demand. Part of the engine's memory."""

    history: History = field(default_factory=History)
    residuals: Residuals = field(default_factory=lambda: Residuals(experts=len(FORECASTERS)))
    roots: FloatArray = field(default_factory=lambda: np.zeros((SLOTS, len(FORECASTERS))))
    """[slot, expert]: levels in square-root space, as they were in the last SLOTS slots."""
    roots_slot: IntArray = field(default_factory=lambda: np.full(SLOTS, -1, dtype=np.int64))
    """Which slot each row is of; -1: none."""
    bands: FloatArray = field(default_factory=lambda: np.zeros((SLOTS, 3)))
    """[slot, (low, mean, high)]: forecasts that wait for what comes."""
    bands_slot: IntArray = field(default_factory=lambda: np.full(SLOTS, -1, dtype=np.int64))
    bands_lead: IntArray = field(default_factory=lambda: np.full(SLOTS, -1, dtype=np.int64))
    """For which lead each row was made."""
    lead: int = -1
    """Index of the lead that is scored: the last forecast's; -1: none was made."""
    score: list[float] = field(default_factory=lambda: [0.0] * 5)
    """Decayed sums: absolute error, demand, pinball loss, covered, number."""

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "forecasters": list(FORECASTERS),
            "history": self.history.to_builtins(),
            "residuals": self.residuals.to_builtins(),
            "roots": plain_floats(self.roots),
            "roots_slot": plain_ints(self.roots_slot),
            "bands": plain_floats(self.bands),
            "bands_slot": plain_ints(self.bands_slot),
            "bands_lead": plain_ints(self.bands_lead),
            "lead": self.lead,
            "score": list(self.score),
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> ForecastMemory:
        """Read back what `to_builtins` wrote; other forecasters than today's begin anew."""
        record = read_record(value)
        if record["forecasters"] != list(FORECASTERS):
            return cls()
        memory = cls(
            history=History.from_builtins(record["history"]),
            residuals=Residuals.from_builtins(record["residuals"], experts=len(FORECASTERS)),
            roots_slot=read_ints(record["roots_slot"]),
            bands_slot=read_ints(record["bands_slot"]),
            bands_lead=read_ints(record["bands_lead"]),
            lead=read_int(record["lead"]),
            score=[read_float(item) for item in read_list(record["score"])],
        )
        memory.roots = read_floats(record["roots"]).reshape(memory.roots.shape)
        memory.bands = read_floats(record["bands"]).reshape(memory.bands.shape)
        return memory


def learn(memory: ForecastMemory, *, at: float, offered_replicas: float | None) -> None:
    """Take in the offered load of a tick; unknown is left out, and leaves a gap."""
    if offered_replicas is None:
        return
    history = memory.history
    opened = history.record(at, offered_replicas)
    slot = history.slot
    if opened > 0:
        elapsed = min(opened, SLOTS) * SLOT_S
        memory.residuals.age(elapsed)
        due = slot - _LEAD_SLOTS
        rows = due % SLOTS
        residuals = root(offered_replicas) - memory.roots.take(rows, axis=0)
        residuals *= 2.0
        memory.residuals.add(residuals, memory.roots_slot.take(rows) == due)
        _keep_score(memory, slot=slot, offered=offered_replicas, elapsed_s=elapsed)
    row = slot % SLOTS
    for expert, level in enumerate(FORECASTERS.values()):
        memory.roots[row, expert] = root(level(history))
    memory.roots_slot[row] = slot


def forecast(memory: ForecastMemory, *, at: float, cold_start_s: float) -> Forecast | None:
    """Look ahead; None before there is history.

    There is history once residuals have been collected, at the lead of one cold start, for the
    length of one cold start: before that the distribution is mostly its prior, and the prior
    knows nothing of how fast this model's demand moves.
    """
    lead = nearest_lead(cold_start_s)
    if memory.residuals.seen[lead] * SLOT_S < cold_start_s:
        return None
    slot = memory.history.slot
    row = slot % SLOTS
    made = distribution(
        memory.residuals, at=at, roots=memory.roots[row].copy(), cold_start_s=cold_start_s
    )
    memory.bands[row] = (made.low_replicas, made.mean_replicas, made.high_replicas)
    memory.bands_slot[row] = slot
    memory.bands_lead[row] = lead
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


def _keep_score(memory: ForecastMemory, *, slot: int, offered: float, elapsed_s: float) -> None:
    """Score the forecast that was made one lead ago for this slot, if one was."""
    if memory.lead < 0:
        return
    due = slot - int(_LEAD_SLOTS[memory.lead])
    row = due % SLOTS
    if memory.bands_slot[row] != due or memory.bands_lead[row] != memory.lead:
        return
    low, mean, high = memory.bands[row].tolist()
    left = math.exp(-elapsed_s / DECAY_S)
    margin = _ROUNDING * (1.0 + offered)
    inside = low - margin <= offered <= high + margin
    loss = 0.5 * (_pinball(offered - low, _TAIL) + _pinball(offered - high, 1.0 - _TAIL))
    now = (abs(offered - mean), offered, loss, 1.0 if inside else 0.0, 1.0)
    memory.score = [old * left + new for old, new in zip(memory.score, now, strict=True)]


def _pinball(error: float, quantile: float) -> float:
    return quantile * error if error >= 0.0 else (quantile - 1.0) * error
