"""When to make the next observation: a fixed grid, and sooner when an interruption asks for it.

Arithmetic on the clock's seconds only; the loop does the waiting.
"""

from __future__ import annotations

import math

from autoscaler.core.contract.state import Interruption, InterruptionKind

NOTICE_GAP_S = 0.1
"""Between two observations that notices ask for: a whole zone is taken back node by node, within seconds."""
STEP_GAP_S = 0.5
"""Between two observations that the steps of a drain ask for."""
URGENT_TICK_S = 1.0
"""The grid while an interruption runs: cordon, seen unschedulable, evict must not cost a tick each."""
URGENT_LOST_S = 60.0
"""A node that was lost is news for this long; then its replacement is a matter of ordinary ticks."""
URGENT_PAST_DEADLINE_S = 30.0


class Schedule:
    """The times of ticks."""

    def __init__(self, *, tick_s: float, at: float) -> None:
        """Begin the grid: the first tick is due at once."""
        self._tick_s = tick_s
        self._grid_at = at
        self._early_at = math.inf
        self._observed_at = -math.inf

    @property
    def due_at(self) -> float:
        """When the next observation is due."""
        return min(self._grid_at, self._early_at)

    def hasten(self, *, at: float, gap_s: float) -> None:
        """Ask for an observation now, but not sooner than `gap_s` after the last one."""
        self._early_at = min(self._early_at, max(at, self._observed_at + gap_s))

    def note_observation(self, *, at: float, interruptions: tuple[Interruption, ...]) -> None:
        """One was made at `at`: the next is on the grid, past those that were missed, or sooner if urgent."""
        self._observed_at = at
        if at >= self._grid_at:
            missed = math.floor((at - self._grid_at) / self._tick_s)
            self._grid_at += (missed + 1) * self._tick_s
        self._early_at = at + URGENT_TICK_S if is_urgent(interruptions, at=at) else math.inf


def is_urgent(interruptions: tuple[Interruption, ...], *, at: float) -> bool:
    """Whether one of them is under way: what is done about it must not wait for the grid."""
    for interruption in interruptions:
        if interruption.kind is InterruptionKind.RISK:
            continue
        if interruption.kind is InterruptionKind.LOST or interruption.deadline_at is None:
            if at - interruption.noticed_at < URGENT_LOST_S:
                return True
        elif at < interruption.deadline_at + URGENT_PAST_DEADLINE_S:
            return True
    return False
