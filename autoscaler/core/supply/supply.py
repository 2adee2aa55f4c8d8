"""The supply of a model: what serves, and what is on its way and counted on.

Unschedulable, expired, doomed and deleting replicas are no supply; they are counted beside it, so
that the guards and the conditions can say so.
"""

from __future__ import annotations

from typing import NamedTuple


class PoolSupply(NamedTuple):
    """Replicas of one pool by what can be expected of them. Deleting ones are in none of these."""

    ready: int = 0
    """Ready and not doomed."""
    starting: int = 0
    """Not ready, on their way and counted on. Those that were asked for and have no pod yet are in
    it, with a whole cold start to go."""
    unschedulable: int = 0
    """No node can be had for them: never on their way."""
    expired: int = 0
    """Should have been ready long ago: given up."""
    without_gpu: int = 0
    """Bound to no node, and more than the GPUs that are known to be free: not counted on."""
    unhealthy: int = 0
    """Not ready, on a GPU that can carry none: never on their way."""
    ready_unhealthy: int = 0
    """Of the ready: on such a GPU. They serve as long as they do."""
    stuck: int = 0
    """Of the unschedulable, and all expired and unhealthy ones: those that are asked for again in another
    pool."""
    doomed: int = 0
    """Ready or not, on a node with an interruption."""
    lost: int = 0
    """Of the doomed: on a node that is gone or NotReady."""
    starting_remaining_s: tuple[float, ...] = ()
    """As in `Supply`, of this pool."""


class Supply(NamedTuple):
    """What a policy may count on, over all pools of a model."""

    ready: int
    """Ready, not deleting, not doomed."""
    starting_remaining_s: tuple[float, ...] = ()
    """Expected seconds until ready of each starting replica that is counted on, ascending; 0 for
    one that is overdue but not given up yet. Replicas asked for that have no pod yet are in it, with
    a whole cold start to go."""
    pools: tuple[PoolSupply, ...] = ()
    """In the order of `ModelSpec.pools`."""

    @property
    def starting(self) -> int:
        """How many are on their way and counted on."""
        return len(self.starting_remaining_s)

    @property
    def total(self) -> int:
        """Ready and starting ones together."""
        return self.ready + len(self.starting_remaining_s)

    def within(self, replicas: int) -> Supply:
        """Return at most so many `replicas` of it: the ready ones first, then the soonest.

        A stand-in and the replica that it stands in for are one replica to a policy, also while both
        serve: or it would keep both, because both are paid for.
        """
        if self.total <= replicas:
            return self
        ready = min(self.ready, replicas)
        return Supply(
            ready=ready,
            starting_remaining_s=self.starting_remaining_s[: replicas - ready],
            pools=self.pools,
        )
