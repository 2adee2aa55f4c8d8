"""Pause: the resource's annotation holds the scale, wholly or downward."""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import Pause
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation


def adjust(situation: Situation, count: ReplicaCount, /) -> Verdict | None:
    """Hold what is paused."""
    serving, asked = situation.serving_replicas, situation.asked_replicas
    if situation.spec.pause is Pause.ALL and count.asked != asked:
        return Verdict(ReplicaCount(serving, asked), Reason.PAUSED, "paused by annotation")
    if situation.spec.pause is Pause.SCALE_DOWN and count.asked < asked:
        held = ReplicaCount(max(count.serving, serving), asked)
        message = "scaling down is paused by annotation"
        return Verdict(held, Reason.SCALE_DOWN_PAUSED, message)
    return None
