"""Replicas of the preferred pool that stand in for a warm floor elsewhere, which is stuck or not ready.

By what is there alone they cannot be told from those that serve. Taken for such they would be stood in for
again, and the fleet grow by one a tick.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class FloorStandInMemory:
    """What the last decision said of them. Part of the engine's memory."""

    kept: int = 0
    """Asked for, or held."""
    given_up: int = 0
    """There until the API shows no more than is asked for."""
    desired: int = 0
    """Replicas of the preferred pool, or of those shared, that were asked for: all of them."""

    def count(self, current: int) -> int:
        """Return how many of the replicas that are there now stand in."""
        going = min(self.given_up, max(0, current - self.desired))
        return min(current, self.kept + going)

    def remember(self, *, kept: int, before: int, desired: int) -> None:
        """Remember a decision; `before` stood in when it was made."""
        self.kept, self.given_up, self.desired = kept, max(0, before - kept), desired
