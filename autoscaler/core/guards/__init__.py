"""The guards: ordered adjustments of a proposal, one a file, and one line in `GUARDS`.

Each takes the facts of a tick and the number on its way, and returns a
verdict or None. The order is the contract: what comes later binds what came before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from autoscaler.core.guards import (
    bounds,
    budget,
    fallback,
    freshness,
    pause,
    rate,
    stabilization,
    starting,
    warm_floor,
)
from autoscaler.core.pools.situation import Situation, Verdict, Wanted

Guard: TypeAlias = Callable[[Situation, Wanted], Verdict | None]

GUARDS: Mapping[str, Guard] = {
    "freshness": freshness.adjust,
    "starting": starting.adjust,
    "stabilization": stabilization.adjust,
    "rate": rate.adjust,
    "warm_floor": warm_floor.adjust,
    "bounds": bounds.adjust,
    "budget": budget.adjust,
    "pause": pause.adjust,
    "interruption": fallback.adjust,
}

__all__ = ["GUARDS", "Guard"]
