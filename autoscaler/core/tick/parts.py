"""What an engine is built of that a scenario may replace: policies, guards and the drain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from autoscaler.core.guards import Guards
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import POLICIES, Policy
from autoscaler.core.pools.situation import Situation
from autoscaler.core.tick.drain import drain
from autoscaler.core.tick.writes import Writes


class Drain(Protocol):
    """Cordons and evicts."""

    def __call__(
        self, situation: Situation, *, memory: ModelMemory, writes: Writes, raised: str | None
    ) -> None:
        """Do what is due for the doomed nodes of one model; see `drain.drain`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Production uses `Parts()`."""

    policies: Mapping[str, Policy] = field(default_factory=lambda: POLICIES)
    guards: Guards = field(default_factory=Guards)
    drain: Drain = drain
