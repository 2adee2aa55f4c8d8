"""Sums over the last hour, day and week, in a memory that does not grow.

Each window is some slots of time and what came after them: a slot leaves as a whole. What is put into a slot
that is over is rounded to four digits, which is below what the play can tell, and a third of its text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.state import FloatArray

SPANS_S = (3_600, 86_400, 7 * 86_400)
"""Of the windows, seconds, ascending."""
SLOTS = (6, 8, 7)
"""Ten minutes, three hours, a day."""
_FIRST = (0, SLOTS[0], SLOTS[0] + SLOTS[1])
"""Row of each window's first slot."""
_FINE_S = SPANS_S[0] / SLOTS[0]


@dataclass(slots=True, kw_only=True)
class HindsightWindows:
    """Part of the engine's memory."""

    number: int = -1
    """Of the shortest slot, the one that is being filled, counted from the epoch; -1: none yet."""
    fine: FloatArray = field(default_factory=lambda: np.zeros(0))
    """[column]: its sums."""
    filling: FloatArray = field(default_factory=lambda: np.zeros((len(SPANS_S), 0)))
    """[window, column]: sums of the shortest slots that are over, of the window's own slot that is not."""
    slots: FloatArray = field(default_factory=lambda: np.zeros((sum(SLOTS), 0)))
    """[slot, column]: those that are over; of each window its slot number modulo their count."""

    def begin(self, columns: int) -> None:
        """Begin with nothing, of so many columns."""
        self.number = -1
        self.fine = np.zeros(columns)
        self.filling = np.zeros((len(SPANS_S), columns))
        self.slots = np.zeros((sum(SLOTS), columns))

    def add(self, sums: FloatArray, *, at: float) -> None:
        """Add to the slots of `at`, seconds, which is never before the last one."""
        number = math.floor(at / _FINE_S)
        if number != self.number:
            self._turn(number)
        self.fine += sums

    def totals(self, *, at: float) -> FloatArray:
        """Return [window, column]: the sums over each window that ends at `at`."""
        totals = np.zeros_like(self.filling)
        now = math.floor(at / _FINE_S)
        if self.number < 0:
            return totals
        for window, count in enumerate(SLOTS):
            each = _fine_slots(window)
            filled = self.number // each
            passed = now // each - filled
            if passed > count:
                continue  # nothing came in all of it
            kept = [
                _FIRST[window] + (filled - back) % count for back in range(1, count + 1 - passed)
            ]
            totals[window] = self.fine + self.filling[window] + self.slots[kept].sum(axis=0)
        return totals

    def _turn(self, number: int) -> None:
        """Close the slots that are over, and let go of those that are older than their span."""
        before, self.number = self.number, number
        if before >= 0:
            closed = _rounded(self.fine)
            for window, count in enumerate(SLOTS):
                each = _fine_slots(window)
                was, now = before // each, number // each
                self.filling[window] = _rounded(self.filling[window] + closed)
                if was == now:
                    continue
                slots = self.slots[_FIRST[window] : _FIRST[window] + count]
                slots[was % count] = self.filling[window]
                self.filling[window] = 0.0
                for gone in range(max(was + 1, now - count), now):
                    slots[gone % count] = 0.0
                if now - was > count:
                    slots[:] = 0.0
        self.fine = np.zeros_like(self.fine)


def _fine_slots(window: int) -> int:
    """Return how many of the shortest slots one of this window is."""
    return round(SPANS_S[window] / SLOTS[window] / _FINE_S)


def _rounded(sums: FloatArray) -> FloatArray:
    return np.array([float(f"{each:.4g}") for each in sums.tolist()])
