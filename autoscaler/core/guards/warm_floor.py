"""Warm-pool floor: replicas kept even without demand.

It counts ready, not doomed replicas on its capacity type. Here the number is kept from falling
below it; placement keeps it in its pool, does not cut a pool that holds doomed replicas below it,
and asks another pool of its type where its own is stuck.
"""

from __future__ import annotations

from autoscaler.core.pools.placement import at_level
from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Keep at least the floor."""
    floor = s.spec.warm_floor
    if wanted.level >= floor.replicas:
        return None
    where = "any capacity" if floor.capacity_type is None else floor.capacity_type.value
    return Verdict(
        at_level(s, wanted, floor.replicas),
        "WarmFloor",
        f"{floor.replicas} are kept warm on {where}",
    )
