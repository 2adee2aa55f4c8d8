"""Whom a ReplicaSet deletes first when it is scaled down (kube-controller-manager's order)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from simulations.agenda import NS
from simulations.serving.gauges import NEVER
from simulations.world.objects import SimulatedPod


class DeletionRank(NamedTuple):
    """A pod's place in the order of deletion: the smallest goes first."""

    bound: bool
    phase: int
    """0 Pending, 1 Unknown, 2 Running."""
    ready: bool
    cost: int
    """Of the annotation `controller.kubernetes.io/pod-deletion-cost`."""
    spread: int
    """Minus the pods of this ReplicaSet on its node: the fuller node gives first."""
    ready_for: int
    minus_restarts: int
    age: int
    uid: str | float


def deletion_rank(
    *,
    bound: bool,
    ready: bool,
    pods_on_node: int,
    ready_s: float,
    age_s: float,
    uid: str | float,
    phase: str = "Running",
    cost: int = 0,
    restarts: int = 0,
) -> DeletionRank:
    """Compare pods of one ReplicaSet by this; ages are seconds.

    Not bound before bound; then by phase; starting before ready; by the deletion cost; on the fuller
    node; ready for the shorter time, restarted more often, and there for the shorter time. Times count
    in powers of two (`LogarithmicScaleDown`, on by default, so that the newest is not always the
    victim), and ties fall to the UID.
    """
    return DeletionRank(
        bound=bound,
        phase={"Pending": 0, "Unknown": 1}.get(phase, 2),
        ready=ready,
        cost=cost,
        spread=-pods_on_node,
        ready_for=_power_of_two(ready_s) if ready else -1,
        minus_restarts=-restarts,
        age=_power_of_two(age_s),
        uid=uid,
    )


def victims(pods: Sequence[SimulatedPod], *, count: int, at_ns: int) -> list[SimulatedPod]:
    """The `count` pods to delete."""
    on_node = Counter(pod.node.name for pod in pods if pod.node is not None)

    def rank(pod: SimulatedPod) -> DeletionRank:
        return deletion_rank(
            bound=pod.bound_ns != NEVER,
            ready=pod.ready,
            pods_on_node=on_node[pod.node.name] if pod.node is not None else 0,
            ready_s=(at_ns - pod.ready_ns) // NS,
            age_s=(at_ns - pod.created_ns) // NS,
            uid=pod.tie_break,
        )

    return sorted(pods, key=rank)[:count]


def _power_of_two(seconds: float) -> int:
    return int(math.log2(seconds)) if seconds >= 1.0 else -1
