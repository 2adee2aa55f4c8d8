"""What happens when: one queue of moments, in the order (time, priority, sequence)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import IntEnum

NS = 1_000_000_000
EPOCH_S = 1_767_225_600
"""The trace's zero on the wall clock: 2026-01-01T00:00:00Z, midnight."""


def seconds(at_ns: int) -> float:
    """A moment of the trace's clock as the engine's: seconds since 1970."""
    return EPOCH_S + at_ns / NS


class Priority(IntEnum):
    """Order at one moment: the world first, then events as the engine's contract orders them."""

    WORLD = 0
    SCRAPE = 1
    COMMAND_FINISHED = 2
    NOTICE_RECEIVED = 3
    SPEC_CHANGED = 4
    OBSERVED = 5


class Agenda:
    """Virtual time: it only moves when `run_until` takes the next entry."""

    def __init__(self) -> None:
        """Start at 0 with nothing to do."""
        self.now_ns = 0
        self._entries: list[tuple[int, int, int, Callable[[int], None]]] = []
        self._sequence = 0

    def add(
        self, at_ns: int, act: Callable[[int], None], *, priority: Priority = Priority.WORLD
    ) -> None:
        """Have `act` called with its moment once that has come; what is past due is due now."""
        heapq.heappush(self._entries, (max(at_ns, self.now_ns), priority, self._sequence, act))
        self._sequence += 1

    def run_until(self, end_ns: int) -> None:
        """Do all that is due up to and including `end_ns`."""
        entries = self._entries
        while entries and entries[0][0] <= end_ns:
            at_ns, _, _, act = heapq.heappop(entries)
            self.now_ns = at_ns
            act(at_ns)
        self.now_ns = max(self.now_ns, end_ns)
