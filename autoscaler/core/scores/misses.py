"""Misses by cause: why requests were not served as promised.

A miss is seen after it happened: a request that waited in a queue says so with its first token. So a
shortage is remembered as long as the queue that it left behind, and until samples of that time are in.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.contract.scores import MissedRequests

(
    NO_CAPACITY_YET,
    INTERRUPTION,
    UNDERSIZED,
    CUT_OFF,
    WITHIN_CAPACITY,
    NOT_ATTAINABLE,
    UNKNOWN,
) = range(len(MissedRequests._fields))
"""Places of the causes."""
LIGHT_RATIO = 0.5
"""Of the ready replicas: a fleet with a demand below this is lightly loaded. Judgement: of two replicas one
could go."""


@dataclass(slots=True, kw_only=True)
class Misses:
    """What was missed so far, and what is needed to say why. Part of the engine's memory."""

    requests: list[float] = field(default_factory=lambda: [0.0] * len(MissedRequests._fields))
    """In the order of `MissedRequests`."""
    interrupted_at: float | None = None
    """When a node was last seen to be taken away; None: never."""
    short_at: float | None = None
    """When demand was last above the ready replicas, or the queue of such a time not empty; None: never."""
    short_of: int = UNDERSIZED
    """Why it was then, as a place of the causes."""

    def observe(
        self,
        at: float,
        *,
        need: float,
        ready: int,
        asked: int,
        waiting: float,
        interrupted: bool,
        cold_start_s: float,
    ) -> None:
        """Note whether replicas are short, and why.

        Args:
            at: now, seconds.
            need: demand, replicas.
            ready: replicas that serve.
            asked: replicas asked of the API.
            waiting: requests that wait.
            interrupted: some node is being taken away, or is lost.
            cold_start_s: so long after an interruption what is short is short for it.
        """
        if interrupted:
            self.interrupted_at = at
        if need > ready:
            self.short_at = at
            if self.interrupted_at is not None and at - self.interrupted_at <= cold_start_s:
                self.short_of = INTERRUPTION
            else:
                self.short_of = NO_CAPACITY_YET if asked > ready else UNDERSIZED
        elif waiting > 0.0 and self.short_at is not None:
            self.short_at = at

    def blame(self, at: float, *, need: float, ready: int, lag_s: float) -> int:
        """Return the cause of what is missed now, as its place.

        Args:
            at: now, seconds.
            need: demand, replicas.
            ready: replicas that serve.
            lag_s: how long after it happened a miss may be seen.
        """
        if self.short_at is not None and at - self.short_at <= lag_s:
            return self.short_of
        return NOT_ATTAINABLE if need <= LIGHT_RATIO * ready else WITHIN_CAPACITY
