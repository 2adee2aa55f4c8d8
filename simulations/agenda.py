"""What happens when: one queue of moments, in the order (time, priority, sequence)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import IntEnum

NS = 1_000_000_000


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
        while self._entries and self._entries[0][0] <= end_ns:
            at_ns, _, _, act = heapq.heappop(self._entries)
            self.now_ns = at_ns
            act(at_ns)
        self.now_ns = max(self.now_ns, end_ns)
