"""How late the event loop comes to what is due, and deadlines that do not count that.

A page that came in time is not to be thrown away because we were busy with others: the time-out of a read
would else fire in the same pass of the event loop in which its answer is taken from the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

BEAT_S = 0.1
"""Between two looks at how late it is."""
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Of the histogram, in seconds."""
_COUNTED_ENOUGH = 0.999
"""Of a deadline: what lacks is the clock's resolution."""


class Lateness:
    """Looks every BEAT_S; `run` must run for as long as it is asked."""

    def __init__(self) -> None:
        """Begin: it was never late."""
        self.counts = [0] * (len(BOUNDS) + 1)
        """Looks by how late they were: up to each of BOUNDS, and beyond the last."""
        self.sum_s = 0.0
        """Of all looks."""
        self.longest_s = 0.0
        self._due_at: float | None = None
        """Loop time of the next look; None: nobody looks."""

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._due_at = loop.time() + BEAT_S
                await asyncio.sleep(BEAT_S)
                self._note(max(0.0, loop.time() - self._due_at))
        finally:
            self._due_at = None

    def total_s(self, at: float) -> float:
        """Return the seconds that it was late so far, what it is late now among them.

        Args:
            at: Loop time.
        """
        overdue_s = 0.0 if self._due_at is None else max(0.0, at - self._due_at)
        return self.sum_s + overdue_s

    @contextlib.asynccontextmanager
    async def deadline(self, seconds: float) -> AsyncIterator[None]:
        """As `asyncio.timeout`, without the time in which the event loop was late.

        Raises:
            TimeoutError: What is inside took longer than so many seconds.
        """
        loop = asyncio.get_running_loop()
        begun_at = loop.time()
        late_before_s = self.total_s(begun_at)
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            at = loop.time()
            spent_s = at - begun_at - (self.total_s(at) - late_before_s)
            if spent_s >= seconds * _COUNTED_ENOUGH:
                timeout.reschedule(at)
            else:
                timer = loop.call_later(seconds - spent_s, look)

        timer = loop.call_at(begun_at + seconds, look)
        try:
            async with asyncio.timeout(None) as timeout:
                yield
        finally:
            timer.cancel()

    def _note(self, late_s: float) -> None:
        self.sum_s += late_s
        self.longest_s = max(self.longest_s, late_s)
        bucket = next((i for i, bound in enumerate(BOUNDS) if late_s <= bound), len(BOUNDS))
        self.counts[bucket] += 1
