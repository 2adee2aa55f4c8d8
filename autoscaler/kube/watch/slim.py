"""What is kept of each object: a few fields, read once when the object changes and not in every tick.

A slim function takes whatever a server may send: a field that is absent or null is unknown or the
API's default, never an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoscaler.core.contract.commands import CORDON_ANNOTATION, FALLBACK_ANNOTATION
from autoscaler.core.contract.promise_text import from_text
from autoscaler.core.contract.state import CapacityType, Promise
from autoscaler.kube.api.client import Json
from autoscaler.kube.api.timestamps import seconds
from autoscaler.kube.watch.gpus import gpus_of

OUR_PREFIX = "inference-autoscaler.dev/"
GRACE_S = 30.0
"""The API server's default of terminationGracePeriodSeconds."""


@dataclass(frozen=True, slots=True)
class SlimPod:
    """One pod."""

    namespace: str
    name: str
    uid: str
    owner_uid: str
    """Of its controller: a ReplicaSet; empty: it has none."""
    phase: str
    ip: str
    node: str
    """Empty: bound to none."""
    created_at: float
    scheduled_at: float
    unschedulable_since: float
    ready: bool
    ready_at: float
    deleting: bool
    grace_s: float
    version: int = field(compare=False)
    """resourceVersion as a number; 0 where it is none."""


@dataclass(frozen=True, slots=True)
class SlimNode:
    """One node."""

    name: str
    capacity_type: CapacityType | None
    ready: bool
    """False: its Ready condition is False or Unknown. Where there is no such condition yet, it
    counts as ready: no pod runs there, so nothing is lost with it."""
    not_ready_since: float
    """When Ready became False or Unknown; NaN: it is ready."""
    unschedulable: bool
    cordoned_by_us: bool
    marks: Json
    """The parts of the object that notices are read from, in its own shape."""


@dataclass(frozen=True, slots=True)
class SlimDeployment:
    """One Deployment."""

    namespace: str
    name: str
    uid: str
    replicas: int
    rolling_out: bool
    gpus: int | None
    """Per replica; None: unknown (resource claims)."""
    promises: tuple[Promise, ...] | None
    """None: the annotation cannot be read."""


@dataclass(frozen=True, slots=True)
class SlimReplicaSet:
    """One ReplicaSet: only which Deployment owns it."""

    uid: str
    owner_uid: str


def slim_pod(item: Json) -> SlimPod:
    """Read a pod: its owner, its node and address, and since when it is scheduled and ready."""
    metadata, spec, status = _parts(item)
    conditions = _conditions(status)
    created_at = seconds(metadata.get("creationTimestamp"))
    node = str(spec.get("nodeName") or "")
    scheduled, ready = conditions.get("PodScheduled", {}), conditions.get("Ready", {})
    is_ready = ready.get("status") == "True"
    grace = spec.get("terminationGracePeriodSeconds")
    no_node = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return SlimPod(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
        owner_uid=_controller(metadata),
        phase=str(status.get("phase") or "Pending"),
        ip=str(status.get("podIP") or ""),
        node=node,
        created_at=created_at,
        scheduled_at=_scheduled_at(scheduled, created_at) if node else math.nan,
        unschedulable_since=seconds(scheduled.get("lastTransitionTime")) if no_node else math.nan,
        ready=is_ready,
        ready_at=seconds(ready.get("lastTransitionTime")) if is_ready else math.nan,
        deleting=bool(metadata.get("deletionTimestamp")),
        grace_s=float(grace) if isinstance(grace, int | float) else GRACE_S,
        version=_version(metadata),
    )


def slim_node(item: Json) -> SlimNode:
    """Read a node: capacity type, readiness, cordon, and the parts that notices are read from."""
    metadata, spec, status = _parts(item)
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    conditions = _conditions(status)
    ready = conditions.get("Ready", {})
    is_ready = ready.get("status", "True") == "True"
    since = seconds(ready.get("lastTransitionTime"))
    taints = [taint for taint in spec.get("taints") or () if isinstance(taint, Mapping)]
    kept = ("type", "status", "reason", "message", "lastTransitionTime")
    return SlimNode(
        name=str(metadata.get("name") or ""),
        capacity_type=capacity_type(labels, taints),
        ready=is_ready,
        not_ready_since=math.nan if is_ready else 0.0 if math.isnan(since) else since,
        unschedulable=bool(spec.get("unschedulable")),
        cordoned_by_us=CORDON_ANNOTATION in annotations,
        marks={
            "metadata": {
                "name": metadata.get("name"),
                "labels": labels,
                "annotations": {
                    key: value for key, value in annotations.items() if key.startswith(OUR_PREFIX)
                },
            },
            "spec": {"taints": taints},
            "status": {
                "conditions": [
                    {name: condition.get(name) for name in kept}
                    for condition in conditions.values()
                ]
            },
        },
    )


def slim_deployment(item: Json) -> SlimDeployment:
    """Read a Deployment: its replicas, whether it rolls out, its GPUs and our promises."""
    metadata, spec, status = _parts(item)
    replicas = spec.get("replicas")
    pod_spec = ((spec.get("template") or {}).get("spec")) or {}
    return SlimDeployment(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        uid=str(metadata.get("uid") or ""),
        replicas=int(replicas) if isinstance(replicas, int) else 1,
        rolling_out=_rolls_out(metadata, spec, status),
        gpus=gpus_of(pod_spec),
        promises=from_text((metadata.get("annotations") or {}).get(FALLBACK_ANNOTATION)),
    )


def slim_replica_set(item: Json) -> SlimReplicaSet:
    """Read a ReplicaSet: which Deployment controls it."""
    metadata, _, _ = _parts(item)
    return SlimReplicaSet(uid=str(metadata.get("uid") or ""), owner_uid=_controller(metadata))


_AKS_LABEL = "kubernetes.azure.com/scalesetpriority"
_CAPACITY_LABELS: tuple[tuple[str, str, str], ...] = (
    # Karpenter, any cloud; `reserved` is paid for whether used or not and never taken away
    ("karpenter.sh/capacity-type", "spot", "on-demand reserved"),
    # EKS managed node groups
    ("eks.amazonaws.com/capacityType", "SPOT", "ON_DEMAND CAPACITY_BLOCK"),
    # GKE: the two older labels exist only where they are true
    ("cloud.google.com/gke-spot", "true", ""),
    ("cloud.google.com/gke-preemptible", "true", ""),
    ("cloud.google.com/gke-provisioning", "spot preemptible", "standard"),
    # AKS: label and taint; a regular node carries the label in newer versions
    (_AKS_LABEL, "spot", "regular"),
    # kops, kubespray and older guides
    ("node.kubernetes.io/lifecycle", "spot", "on-demand normal"),
    ("lifecycle", "spot Ec2Spot", "on-demand OnDemand"),
)
"""Labels by which clouds say how a node is sold, their values for spot, and those for on-demand; the first
that says something known wins."""


def capacity_type(
    labels: Mapping[str, str], taints: list[Mapping[str, Any]]
) -> CapacityType | None:
    """How the provider sells a node; None: it has no label or taint that we know."""
    for label, spot, on_demand in _CAPACITY_LABELS:
        value = labels.get(label)
        if value in spot.split():
            return CapacityType.SPOT
        if value in on_demand.split():
            return CapacityType.ON_DEMAND
    tainted = any(
        taint.get("key") == _AKS_LABEL and taint.get("value") == "spot" for taint in taints
    )
    return CapacityType.SPOT if tainted else None


def _rolls_out(metadata: Json, spec: Json, status: Json) -> bool:
    """Whether the template changed and not all replicas are of the new one yet.

    A scale-up is no roll-out: `updatedReplicas` is compared with the replicas that exist, not with
    those asked for, or a quota that refuses the last one would hold every scale-down for ever. Only
    `Recreate` is: it has a moment in which no replica of either template exists.
    """
    generation, observed = metadata.get("generation") or 0, status.get("observedGeneration") or 0
    if observed < generation:
        return True  # its controller has not looked yet: it may be about to
    updated = status.get("updatedReplicas") or 0
    if updated < (status.get("replicas") or 0):
        return True
    recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
    return bool(recreate and updated < (spec.get("replicas") or 0))


def _parts(item: Json) -> tuple[Json, Json, Json]:
    return item.get("metadata") or {}, item.get("spec") or {}, item.get("status") or {}


def _conditions(status: Json) -> dict[str, Json]:
    return {
        str(condition.get("type")): condition
        for condition in status.get("conditions") or ()
        if isinstance(condition, dict)
    }


def _controller(metadata: Json) -> str:
    for owner in metadata.get("ownerReferences") or ():
        if isinstance(owner, Mapping) and owner.get("controller"):
            return str(owner.get("uid") or "")
    return ""


def _scheduled_at(scheduled: Json, created_at: float) -> float:
    """When the scheduler bound the pod; one that was bound by name, without it: when it was created."""
    at = seconds(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None
    return created_at if at is None or math.isnan(at) else at


def _version(metadata: Json) -> int:
    text = str(metadata.get("resourceVersion") or "")
    return int(text) if text.isdigit() else 0
