"""Late capacity: demand above the ready replicas while replicas that were asked for were not ready.

They should have been asked for earlier by as long as that lasts. Demand that nobody asked replicas for is
not late capacity: to be content with a short queue is a decision.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.core.tuning import ROUNDING

REMARKED_S = 15.0
"""Capacity that came later than this is worth a sentence: three ticks."""


def late_replicas(*, need: float, ready: int, asked: int) -> float:
    """Return how much of the demand replicas would carry that are asked for and not ready."""
    late = min(need, asked) - ready
    return late if late > ROUNDING else 0.0


@dataclass(slots=True, kw_only=True)
class LateCapacity:
    """What came late so far. Part of the engine's memory."""

    seconds: float = 0.0
    replica_s: float = 0.0
    lasts_s: float = 0.0
    """For how long it is late now; 0: it is not."""
    most: float = 0.0
    """The most that was late at once in that time, replicas."""

    def observe(self, elapsed_s: float, *, need: float, ready: int, asked: int) -> str | None:
        """Take in a span of time; return a sentence when late capacity has come.

        Args:
            elapsed_s: its length, seconds.
            need: demand in it, replicas.
            ready: replicas that serve.
            asked: replicas asked of the API.
        """
        if need > ready and asked > ready:
            late = late_replicas(need=need, ready=ready, asked=asked)
            if late:
                self.seconds += elapsed_s
                self.replica_s += late * elapsed_s
                self.lasts_s += elapsed_s
                self.most = max(self.most, late)
                return None
        if not self.lasts_s:
            return None
        remark = None
        if self.lasts_s >= REMARKED_S:
            remark = (
                f"capacity came {self.lasts_s:.0f} s late: up to {self.most:.1f} replicas' worth of "
                "demand was there before the replicas that were asked for it were ready"
            )
        self.lasts_s = self.most = 0.0
        return remark
