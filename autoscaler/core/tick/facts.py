"""What all models of one tick share, and a decision in the making."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from autoscaler.core.contract.decision import Attainment, Departure, Measures, Step
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.contract.spec import EngineSettings
from autoscaler.core.policy import Proposal
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.supply.free_gpus import FreeGpus
from autoscaler.core.tick.parts import Parts


class TickFacts(NamedTuple):
    """One observation, and what follows from it for every model."""

    event: Observed
    at: float
    settings: EngineSettings
    parts: Parts
    doom: Doom | None
    gpus: FreeGpus
    """Models draw from it in their order."""
    sent: Mapping[str, int]
    """By scale target, the replicas of a write of ours whose effect is not observed yet."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """One model's number on its way, with the trail of who changed it."""

    situation: Situation
    count: ReplicaCount
    trail: list[Step]
    proposal: Proposal
    measures: Measures
    departed: tuple[Departure, ...]
    attainment: Attainment | None

    def change(self, count: ReplicaCount, *, by: StepBy, reason: Reason, message: str) -> None:
        """Put another number in its place; a step tells it where the total is another."""
        before, after = self.count.total, count.total
        self.count = count
        # A release is told although the fallback was in no number before it.
        if before != after or (count.plan is not None and count.plan.released):
            self.trail.append(
                Step(by=by, before=before, after=after, reason=reason, message=message)
            )
