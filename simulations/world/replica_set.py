"""Whom the replay's ReplicaSet deletes when it is scaled down: kube-controller-manager's own order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from autoscaler.core.supply.deletion_order import DeletionCandidate, deletion_order
from simulations.agenda import NS
from simulations.serving.gauges import NEVER
from simulations.world.objects import SimulatedPod


def victims(pods: Sequence[SimulatedPod], *, count: int, at_ns: int) -> list[SimulatedPod]:
    """The `count` pods to delete of these, which are all that its Deployment has."""
    if count <= 0:
        return []
    on_node = Counter(pod.node.name for pod in pods if pod.node is not None)
    candidates = [
        DeletionCandidate(
            uid=pod.tie_break,
            bound=pod.bound_ns != NEVER,
            ready=pod.ready,
            pods_on_node=on_node[pod.node.name] if pod.node is not None else 0,
            # API times are whole seconds
            ready_at=float(pod.ready_ns // NS) if pod.ready else float("nan"),
            created_at=float(pod.created_ns // NS),
            cost=pod.deletion_cost,
        )
        for pod in pods
    ]
    return [pods[place] for place in deletion_order(candidates, at=at_ns / NS)[:count]]
