"""Conflict: somebody else scales a target of this model, so its number stays what it is.

The bounds hold all the same, unless somebody undoes them; and what is being taken away is replaced (`fallback`,
which comes after this), but on a target to which nothing is written.
"""

from __future__ import annotations

from autoscaler.core.guards.contract import Verdict
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation


def adjust(situation: Situation, _count: ReplicaCount, /) -> Verdict | None:
    """Hold what somebody else scales."""
    if not situation.left_alone:
        return None
    conflict = situation.conflict
    assert conflict is not None
    serving, asked = situation.serving_replicas, situation.asked_replicas
    if not conflict.standing:
        low, high = situation.spec.min_replicas, situation.spec.max_replicas
        if asked < low:
            serving, asked = low, low
        elif asked > high:
            serving, asked = min(serving, high), high
    return Verdict(ReplicaCount(serving, asked), conflict.reason, conflict.message)
