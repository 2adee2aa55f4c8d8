"""The clock of the events: seconds since the epoch that never decrease.

Wall clocks jump: by NTP, by a resumed virtual machine, by hand. The engine must not see that, so the
wall clock is read once, at the start, and the monotonic clock carries on from there. A jump forward
that lasts (a machine that slept) is taken over, because the API server's time stamps have moved too; a
jump backward never is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

RE_ANCHOR_S = 1.0
"""Less than this behind the wall clock is drift and slewing, not a jump."""


class Clock:
    """Epoch seconds on a monotonic base."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Anchor the monotonic clock at the wall clock's now; tests give both."""
        self._wall = wall
        self._monotonic = monotonic
        self._anchor = wall() - monotonic()

    def now(self) -> float:
        """Return seconds since the epoch, never less than before."""
        return self._anchor + self._monotonic()

    def re_anchor(self) -> float:
        """Catch up with a wall clock that jumped ahead; returns the seconds gained, 0 if none."""
        gained = self._wall() - self.now()
        if gained < RE_ANCHOR_S:
            return 0.0
        self._anchor += gained
        return gained
