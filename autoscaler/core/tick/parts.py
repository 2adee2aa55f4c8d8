"""What an engine is built of that a scenario may replace: policies, guards, the drain, the scores and the hindsight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.hindsight import WindowHindsight
from autoscaler.core.contract.scores import Scores
from autoscaler.core.contract.spec import EngineSettings
from autoscaler.core.guards import Guards
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import POLICIES, Policy
from autoscaler.core.pools.situation import Situation
from autoscaler.core.tick.drain import drain
from autoscaler.core.tick.hindsight import look_back
from autoscaler.core.tick.score import score
from autoscaler.core.tick.writes import Writes


class Drain(Protocol):
    """Cordons and evicts."""

    def __call__(
        self, situation: Situation, *, memory: ModelMemory, writes: Writes, raised: str | None
    ) -> None:
        """Do what is due for the doomed nodes of one model; see `drain.drain`."""


class Scoring(Protocol):
    """Scores what was decided."""

    def __call__(
        self,
        situation: Situation,
        decision: Decision,
        *,
        settings: EngineSettings,
        memory: ModelMemory,
    ) -> Scores:
        """Take in one tick of one model; see `score.score`."""


class LookingBack(Protocol):
    """Plays the fleets of others on what was seen."""

    def __call__(
        self, situation: Situation, decision: Decision, *, memory: ModelMemory
    ) -> tuple[WindowHindsight, ...] | None:
        """Take in one tick of one model; see `hindsight.look_back`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Production uses `Parts()`."""

    policies: Mapping[str, Policy] = field(default_factory=lambda: POLICIES)
    guards: Guards = field(default_factory=Guards)
    drain: Drain = drain
    score: Scoring = score
    look_back: LookingBack = look_back
