"""Bounds: minimum and maximum of what is asked for over all pools.

The maximum also binds stand-ins: then the preferred pool, whose stuck replicas they stand in for,
is asked for fewer.
"""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.pools.replica_count import ReplicaCount, with_stand_ins
from autoscaler.core.pools.situation import Situation


def adjust(situation: Situation, count: ReplicaCount, /) -> Verdict | None:
    """Keep within the bounds; the user's word is stronger than what is seen or not seen."""
    low, high = situation.spec.min_replicas, situation.spec.max_replicas
    if count.serving < low:
        asked = min(with_stand_ins(situation, low).asked, high)
        return Verdict(ReplicaCount(low, asked), Reason.TOO_FEW_REPLICAS, f"the minimum is {low}")
    if count.asked > high:
        serving = min(count.serving, high)
        return Verdict(
            ReplicaCount(serving, high), Reason.TOO_MANY_REPLICAS, f"the maximum is {high}"
        )
    return None
