"""Whom a ReplicaSet deletes first when it is scaled down: kube-controller-manager's own order.

    unbound before bound
    Pending before Unknown before Running
    not ready before ready
    the lower `controller.kubernetes.io/pod-deletion-cost` first
    the one whose node holds more pods of its Deployment first
    both ready, and not since the same second: ready for the shorter time, in powers of two of
        nanoseconds; where that is equal, the lower UID, whatever comes below
    more restarts first
    not created in the same second: the younger one, in powers of two; where equal, the lower UID

Those that became ready in one second, and were created in one, are equal to it: among them goes whom the
cache's order and the sort make the first, whatever their UIDs.

(`ActivePodsWithRanks.Less` of v1.36, with LogarithmicScaleDown and PodDeletionCost on, as they are by
default.) The replay and the local cluster delete by it; `tick/victims` asks it what a scale-down
would do.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

_PHASES = {"Pending": 0, "Unknown": 1}
_RUNNING = 2


class DeletionCandidate(NamedTuple):
    """What a ReplicaSet looks at in one of its pods."""

    uid: str | float
    """Or what stands for it in a simulation."""
    bound: bool
    """To a node."""
    ready: bool
    pods_on_node: int
    """Active pods of the same Deployment on its node, itself among them; of one that is not bound, those
    that are not bound either."""
    ready_at: float
    """When it became ready, seconds; NaN: it is not."""
    created_at: float
    phase: str = "Running"
    cost: int = 0
    """Of the annotation `controller.kubernetes.io/pod-deletion-cost`."""
    restarts: int = 0
    """Of its container that restarted most."""


def deletion_order(candidates: Sequence[DeletionCandidate], *, at: float) -> list[int]:
    """Return the places of the candidates in the order in which they would be deleted at that moment."""

    def compare(one: int, two: int) -> int:
        return _compare(candidates[one], candidates[two], at=at)

    return sorted(range(len(candidates)), key=functools.cmp_to_key(compare))


def time_rank(since: float, *, at: float) -> int:
    """Return the power of two of the nanoseconds since a moment; -1: it has not come."""
    passed_ns = round((at - since) * 1e9)
    return passed_ns.bit_length() - 1 if passed_ns > 0 else -1


def _compare(one: DeletionCandidate, two: DeletionCandidate, *, at: float) -> int:
    first, second = _rank(one), _rank(two)
    if first != second:
        return -1 if first < second else 1
    if one.ready and two.ready and one.ready_at != two.ready_at:
        return _compare_times(one, two, one.ready_at, two.ready_at, at=at)
    if one.restarts != two.restarts:
        return two.restarts - one.restarts
    if one.created_at != two.created_at:
        return _compare_times(one, two, one.created_at, two.created_at, at=at)
    return 0


def _rank(pod: DeletionCandidate) -> tuple[bool, int, bool, int, int]:
    """Return what is compared before any time."""
    return (
        pod.bound,
        _PHASES.get(pod.phase, _RUNNING),
        pod.ready,
        pod.cost,
        -pod.pods_on_node,
    )


def _compare_times(
    one: DeletionCandidate, two: DeletionCandidate, since_one: float, since_two: float, *, at: float
) -> int:
    if math.isnan(since_one) or math.isnan(since_two):  # the API server has no time: it goes first
        return math.isnan(since_two) - math.isnan(since_one)
    difference = time_rank(since_one, at=at) - time_rank(since_two, at=at)
    if difference:
        return difference
    return -1 if _text(one.uid) < _text(two.uid) else 1


def _text(uid: str | float) -> tuple[float, str]:
    return (0.0, uid) if isinstance(uid, str) else (uid, "")
