"""One pool of a model at one tick, in numbers."""

from __future__ import annotations

from typing import NamedTuple


class PoolState(NamedTuple):
    """One pool at this tick."""

    current: int
    ready: int
    """Ready and not doomed."""
    healthy: int
    """Ready, and starting ones that are counted on."""
    returned: int
    """Ready long enough to release a stand-in; of an on-demand pool, simply ready."""
    stuck: int
    doomed: int
    lost: int
    floor: int
    """The warm floor, in the pool that keeps it; else 0."""
    fallback: int
    """Of the current replicas: promised ones."""
    rolling_out: bool
    pinned: bool
    """Not to be cut: it rolls out, or its promises cannot be read."""

    @property
    def ordinary(self) -> int:
        """Current replicas that are neither its warm floor nor its fallback."""
        return max(0, self.current - self.floor - self.fallback)
