"""What a guard is: it takes the situation and the number on its way, and says what it makes of it.

A guard is a function of these two, called once a tick. The ones that need what was proposed, asked for or
written before are given the model's memory as a third argument, and may change their part of it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation


class Verdict(NamedTuple):
    """The number after a guard, and why."""

    after: ReplicaCount
    reason: Reason
    message: str


class Guard(Protocol):
    """Adjusts a number by what is true now."""

    def __call__(self, situation: Situation, count: ReplicaCount, /) -> Verdict | None:
        """Return the adjusted number; None: it has nothing to say."""


class RememberingGuard(Protocol):
    """Adjusts a number by what was before, too."""

    def __call__(
        self, situation: Situation, count: ReplicaCount, memory: ModelMemory, /
    ) -> Verdict | None:
        """Return the adjusted number; None: it has nothing to say. May change the memory."""
