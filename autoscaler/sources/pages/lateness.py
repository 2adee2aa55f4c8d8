"""How late the event loop comes to what is due, and deadlines that do not count that.

A page that came in time is not to be thrown away because we were busy with others: the time-out of a read
would else fire in the same pass of the event loop in which its answer is taken from the socket.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

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

    def deadline(self, seconds: float) -> Deadline:
        """As `asyncio.timeout`, without the time in which the event loop was late.

        It raises TimeoutError: what is inside took longer than so many seconds.
        """
        return Deadline(self, seconds)

    def _note(self, late_s: float) -> None:
        self.sum_s += late_s
        self.longest_s = max(self.longest_s, late_s)
        bucket = next((i for i, bound in enumerate(BOUNDS) if late_s <= bound), len(BOUNDS))
        self.counts[bucket] += 1


class Deadline:
    """Around what must end in time; see `Lateness.deadline`. A class, as each read has one: it costs half."""

    def __init__(self, lateness: Lateness, seconds: float) -> None:
        self._lateness = lateness
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """Begin to count."""
        self._loop = asyncio.get_running_loop()
        self._begun_at = self._loop.time()
        self._late_before_s = self._lateness.total_s(self._begun_at)
        self._timer = self._loop.call_at(self._begun_at + self._seconds, self._look)
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Count no more. Raises TimeoutError."""
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _look(self) -> None:
        """End what is inside, or look again when what we were late is over."""
        at = self._loop.time()
        late_s = self._lateness.total_s(at) - self._late_before_s
        spent_s = at - self._begun_at - late_s
        if spent_s >= self._seconds * _COUNTED_ENOUGH:
            self._timeout.reschedule(at)
        else:
            self._timer = self._loop.call_later(self._seconds - spent_s, self._look)
