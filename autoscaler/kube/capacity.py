"""How the provider sells a node: the labels and taints by which clouds say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoscaler.core.contract.state import CapacityType

AKS_LABEL = "kubernetes.azure.com/scalesetpriority"
CAPACITY_LABELS: tuple[tuple[str, str, str], ...] = (
    # Karpenter, any cloud; `reserved` is paid for whether used or not and never taken away
    ("karpenter.sh/capacity-type", "spot", "on-demand reserved"),
    # EKS managed node groups
    ("eks.amazonaws.com/capacityType", "SPOT", "ON_DEMAND CAPACITY_BLOCK"),
    # GKE: the two older labels exist only where they are true
    ("cloud.google.com/gke-spot", "true", ""),
    ("cloud.google.com/gke-preemptible", "true", ""),
    ("cloud.google.com/gke-provisioning", "spot preemptible", "standard"),
    # AKS: label and taint; a regular node carries the label in newer versions
    (AKS_LABEL, "spot", "regular"),
    # kops, kubespray and older guides
    ("node.kubernetes.io/lifecycle", "spot", "on-demand normal"),
    ("lifecycle", "spot Ec2Spot", "on-demand OnDemand"),
)
"""Labels by which clouds say how a node is sold, their values for spot, and those for on-demand; the first
that says something known wins."""


def capacity_type(
    labels: Mapping[str, str], taints: Sequence[Mapping[str, Any]]
) -> CapacityType | None:
    """How the provider sells a node; None: it has no label or taint that we know."""
    for label, spot, on_demand in CAPACITY_LABELS:
        value = labels.get(label)
        if value in spot.split():
            return CapacityType.SPOT
        if value in on_demand.split():
            return CapacityType.ON_DEMAND
    tainted = any(
        taint.get("key") == AKS_LABEL and taint.get("value") == "spot" for taint in taints
    )
    return CapacityType.SPOT if tainted else None
