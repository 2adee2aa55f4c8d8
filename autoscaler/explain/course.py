"""How a model's decisions went, in a memory that does not grow: what a chart draws, and the last that changed something."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.contract.decision import Decision
from autoscaler.explain.asked import AskedModel
from autoscaler.explain.explanation import headline

POINTS = 240
SLOT_S = 1.0
"""Of the first points; each time they are too many, every other one goes, and slots are twice as long."""
SLOT_S_MAX = 512.0
"""A day and a half of points; then the oldest go."""
TURNS = 20
COLUMNS = ("at", "demand", "low", "high", "ready", "current", "desired", "floor")


class Turn(NamedTuple):
    """A decision that wrote another number, or for another reason, than the one before."""

    at: float
    """Seconds since the epoch."""
    said: str


@dataclass(slots=True)
class Course:
    """Of one model."""

    slot_s: float = SLOT_S
    count: int = 0
    turns: deque[Turn] = field(default_factory=lambda: deque(maxlen=TURNS))
    _points: NDArray[np.float64] = field(
        default_factory=lambda: np.full((POINTS, len(COLUMNS)), np.nan)
    )
    _before: tuple[int | None, str] = (None, "")

    def add(self, decision: Decision, asked: AskedModel) -> Turn | None:
        """Take in the next decision; of those of one slot the last one stays. Returns what it changed, if it did."""
        measures = decision.measures
        point = (
            decision.at,
            measures.demand_replicas,
            measures.forecast_low_replicas,
            measures.forecast_high_replicas,
            sum(pool.ready_replicas for pool in decision.pools),
            decision.current_replicas,
            decision.desired_replicas,
            measures.warm_floor_replicas,
        )
        if (
            self.count
            and decision.at // self.slot_s <= self._points[self.count - 1, 0] // self.slot_s
        ):
            self.count -= 1
        elif self.count == POINTS:
            self._make_room()
        self._points[self.count] = [np.nan if each is None else each for each in point]
        self.count += 1
        now = (decision.desired_replicas, str(decision.reason))
        if now == self._before:
            return None
        self._before = now
        turn = Turn(decision.at, headline(decision, asked))
        self.turns.append(turn)
        return turn

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one of COLUMNS over time; NaN: unknown."""
        return self._points[: self.count, COLUMNS.index(name)]

    def _make_room(self) -> None:
        if self.slot_s < SLOT_S_MAX:
            self.slot_s *= 2.0
            kept = self._points[1::2].copy()
        else:
            kept = self._points[1:].copy()
        self.count = len(kept)
        self._points[: self.count] = kept
