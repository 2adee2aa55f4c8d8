"""The number on its way from the policy's proposal to a placement."""

from __future__ import annotations

from typing import NamedTuple

from autoscaler.core.pools.promises import PromisePlan
from autoscaler.core.pools.situation import Situation
from autoscaler.core.pools.stand_ins import place_serving


class ReplicaCount(NamedTuple):
    """How many replicas, over all pools."""

    serving: int
    """Those that are to serve."""
    asked: int
    """Those that are asked for: the serving ones and their stand-ins, within the bounds; without the
    fallback."""
    plan: PromisePlan | None = None
    """Of the on-demand fallback; None: it has not been planned yet, or there is nothing to plan."""

    @property
    def fallback(self) -> int:
        """Promised replicas in force, on top of what is asked for."""
        return 0 if self.plan is None else self.plan.in_force

    @property
    def total(self) -> int:
        """All of it: the number in the trail."""
        return self.asked if self.plan is None else self.asked + self.plan.in_force


def with_stand_ins(
    situation: Situation, serving: int, *, promised: int | None = None
) -> ReplicaCount:
    """Return what is asked for where so many are to serve.

    Args:
        situation: the facts.
        serving: replicas that are to serve.
        promised: fallback replicas promised; None: as observed.
    """
    if situation.quiet and promised is None:
        return ReplicaCount(serving, serving)  # almost every tick: nobody stands in for anybody
    if promised is None:
        promised = situation.promised
    return ReplicaCount(serving, place_serving(situation, serving, promised=promised).total)
