"""Sums over the last hour, day and thirty days, in a memory that does not grow.

Each window is twelve slots of time and the one that is being filled: a slot leaves as a whole, so a
window is met within a twelfth. All of a model are 4 kB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.attainment.minutes import WINDOW_SUMS
from autoscaler.core.contract.state import FloatArray

SPANS_S = (3_600, 86_400, 30 * 86_400)
"""Of the windows, seconds, ascending."""
SLOTS = 13
"""Of a window, the one that is being filled among them."""
_SLOTS = SLOTS - 1


@dataclass(slots=True, kw_only=True)
class WindowMemory:
    """Part of the engine's memory."""

    numbers: list[int] = field(default_factory=lambda: [-1] * len(SPANS_S))
    """By window: of the slot that is being filled, counted from the epoch; -1: none yet."""
    slots: FloatArray = field(
        default_factory=lambda: np.zeros((len(SPANS_S), SLOTS, len(WINDOW_SUMS)))
    )
    """[window, slot number modulo their count, WINDOW_SUMS]."""
    totals: FloatArray = field(default_factory=lambda: np.zeros((len(SPANS_S), len(WINDOW_SUMS))))
    """[window, sum]: over the slots."""


def add(memory: WindowMemory, *, at: float, sums: FloatArray) -> None:
    """Add to the slots of `at`, and let go of what is older than each span."""
    numbers = memory.numbers
    for window, span_s in enumerate(SPANS_S):
        number = math.floor(at * _SLOTS / span_s)
        passed = number - numbers[window]
        if passed > 0:
            slots = memory.slots[window]
            if numbers[window] < 0 or passed > _SLOTS:
                slots[:] = 0.0
            else:
                for gone in range(number - passed + 1, number + 1):
                    slots[gone % SLOTS] = 0.0
            numbers[window] = number
            # Sum anew, so that rounding never accumulates.
            memory.totals[window] = slots.sum(axis=0)
        memory.slots[window, numbers[window] % SLOTS] += sums
    memory.totals += sums


def add_seen_before(memory: WindowMemory, *, numbers: list[int], slots: FloatArray) -> None:
    """Add what an earlier process counted, as far as it is within the windows of now.

    Args:
        memory: changed.
        numbers: as of the memory then; none is ahead of now.
        slots: likewise.
    """
    for window, then in enumerate(numbers):
        if then < 0:
            continue
        if memory.numbers[window] < 0:
            memory.numbers[window] = then
        now = memory.numbers[window]
        for number in range(max(then, now) - _SLOTS, then + 1):
            memory.slots[window, number % SLOTS] += slots[window, number % SLOTS]
    memory.totals = memory.slots.sum(axis=1)
