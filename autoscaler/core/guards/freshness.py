"""Freshness: blind means hold or up, never down.

Blind is a cluster state that may be old, or a ready replica whose engine does not answer: what it
holds is unknown, and unknown is never zero. A scale-down is also held while a target rolls out: the
pods that go are then not the ones that were counted.
"""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.state import ReplicaColumns
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Blindness, Situation

PERIOD_S_MAX = 60.0
"""The longest `spec.metrics.periodSeconds`. A sample may be four periods old."""


def find_blindness(
    *,
    at: float,
    replicas: ReplicaColumns,
    cluster_age_s: float,
    cluster_age_s_max: float,
    ready: int,
    answering: int,
    sample_age_s_max: float,
) -> Blindness | None:
    """Return why nothing may be scaled down; None where we can see.

    Args:
        at: now, seconds.
        replicas: of the model; how old their samples are tells what to do.
        cluster_age_s: since the cluster's state was last in step; NaN: never.
        cluster_age_s_max: what is allowed.
        ready: replicas that are ready and not doomed.
        answering: of these, how many have said what they hold.
        sample_age_s_max: within how many seconds they have to.
    """
    if not cluster_age_s <= cluster_age_s_max:  # NaN is not either
        message = (
            f"the cluster was last in step {cluster_age_s:.0f} s ago, more than the "
            f"{cluster_age_s_max:.0f} s that are allowed"
        )
        return Blindness(Reason.CLUSTER_STALE, message)
    if answering < ready:
        message = (
            f"{ready - answering} of {ready} ready replicas have not said for "
            f"{sample_age_s_max:.0f} s what they hold"
        )
        message += _behind(replicas, at=at, sample_age_s_max=sample_age_s_max)
        return Blindness(Reason.METRICS_STALE, message)
    return None


def _behind(replicas: ReplicaColumns, *, at: float, sample_age_s_max: float) -> str:
    """Say what to do where somebody else takes the samples and even the newest come too late; else nothing.

    A store that is a minute behind is so on every tick, however often it scrapes: that is no gap, which ends.
    """
    rows = replicas.ready & ~np.isnan(replicas.sampled_at) & ~np.isnan(replicas.sample_interval_s)
    if not np.count_nonzero(rows):
        return ""
    newest_s = at - float(replicas.sampled_at[rows].max())
    if newest_s <= sample_age_s_max:
        return ""
    period_s = math.ceil((newest_s + float(replicas.sample_interval_s[rows].max())) / 4.0)
    longer = (
        f"spec.metrics.periodSeconds: {period_s} or more, or " if period_s <= PERIOD_S_MAX else ""
    )
    return (
        f"; the newest that is passed on is {newest_s:.0f} s old: where that stays so, Prometheus is behind; "
        f"write {longer}source: Pods"
    )


def adjust(situation: Situation, count: ReplicaCount, /) -> Verdict | None:
    """Hold a scale-down that rests on what cannot be seen."""
    there = situation.serving_replicas
    if count.serving >= there:
        return None
    held = ReplicaCount(there, there)  # stand-ins are added by the stage that follows
    if situation.blind is not None:
        return Verdict(held, situation.blind.reason, situation.blind.message)
    if situation.rolling_out:
        message = "a scale target rolls out; nothing is scaled down until it has"
        return Verdict(held, Reason.ROLLOUT_IN_PROGRESS, message)
    return None
