"""Whom a ReplicaSet deletes first when it is scaled down (kube-controller-manager's order)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulations.world.objects import NEVER, Pod

NS = 1_000_000_000


def victims(pods: Sequence[Pod], *, count: int, at_ns: int) -> list[Pod]:
    """The `count` pods to delete.

    Not bound before bound; then starting before ready; then on the fuller node; then the one that is
    ready, and then the one that exists, for the shorter time, where times count in powers of two
    (`LogarithmicScaleDown`, on by default, so that the newest is not always the victim) and ties fall
    to the UID.
    """
    together: dict[str, int] = {}
    for pod in pods:
        if pod.node is not None:
            together[pod.node.name] = together.get(pod.node.name, 0) + 1

    def order(pod: Pod) -> tuple[int, int, int, int, int, float]:
        crowd = together[pod.node.name] if pod.node is not None else 0
        return (
            int(pod.bound_ns != NEVER),
            int(pod.ready),
            -crowd,
            _rank(pod.ready_ns, at_ns) if pod.ready else 0,
            _rank(pod.created_ns, at_ns),
            pod.tie_break,
        )

    return sorted(pods, key=order)[:count]


def _rank(since_ns: int, at_ns: int) -> int:
    seconds = (at_ns - since_ns) // NS
    return int(math.log2(seconds)) if seconds > 0 else -1
