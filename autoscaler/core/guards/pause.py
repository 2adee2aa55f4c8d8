"""Pause: the resource's annotation holds the scale, wholly, downward or upward.

Wholly, it may say at how many replicas; then nothing else says anything, but for somebody else who scales (`conflict`). Upward, what is taken away is replaced all the
same: the fallback comes after this guard.
"""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import ModelSpec, Pause
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation


def adjust(situation: Situation, count: ReplicaCount, /) -> Verdict | None:
    """Hold what is paused."""
    serving, asked = situation.serving_replicas, situation.asked_replicas
    held_at = situation.spec.paused_replicas
    if situation.spec.pause is Pause.ALL and held_at is not None:
        if situation.left_alone:
            return None
        if count == ReplicaCount(held_at, held_at):
            return None
        return Verdict(ReplicaCount(held_at, held_at), Reason.PAUSED, paused_text(situation.spec))
    if situation.spec.pause is Pause.ALL and count.asked != asked:
        return Verdict(ReplicaCount(serving, asked), Reason.PAUSED, paused_text(situation.spec))
    if situation.spec.pause is Pause.SCALE_DOWN and count.asked < asked:
        held = ReplicaCount(max(count.serving, serving), asked)
        message = "scaling down is paused by annotation"
        return Verdict(held, Reason.SCALE_DOWN_PAUSED, message)
    if situation.spec.pause is Pause.SCALE_UP and count.asked > asked:
        held = ReplicaCount(min(count.serving, serving), asked)
        return Verdict(held, Reason.SCALE_UP_PAUSED, "scaling up is paused by annotation")
    return None


def paused_text(spec: ModelSpec) -> str:
    """Say of a model that is paused at how many replicas it is held, if that is said."""
    at = "" if spec.paused_replicas is None else f" at {spec.paused_replicas}"
    return f"paused by annotation{at}"
