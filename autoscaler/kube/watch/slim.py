"""What is kept of each object: a few fields, read once when the object changes and not in every tick.

A field that is absent or null is unknown, or the API's default. What is of another type than the API
gives it makes the object unreadable (`UnreadableError`): it is there and unknown, which is the cache's
business.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
)
from autoscaler.core.contract.deletion_cost import deletion_cost, is_ours
from autoscaler.core.contract.promise_text import from_text
from autoscaler.core.contract.state import CapacityType, Promise, ReplicasWriter
from autoscaler.foreign_text import quoted, shown
from autoscaler.kube.api.fields import (
    TEXT_CHARACTERS_MAX,
    Json,
    UnreadableError,
    flag,
    mapping,
    mappings,
    sequence,
    text,
    texts,
    version_number,
    whole,
)
from autoscaler.kube.api.timestamps import seconds
from autoscaler.kube.capacity import capacity_type
from autoscaler.kube.soundness.template import TemplateFacts, template_facts
from autoscaler.kube.watch.gpus import gpus_of
from autoscaler.kube.watch.rivals import replicas_writer

OUR_PREFIX = "inference-autoscaler.dev/"
_GENERATION_MAX = 2**63 - 1
_GPU_RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared")
"""The second is the first's name where the device plugin shares cards in time and is told to say so."""
_GPU_COUNT = re.compile(r"[0-9]{1,6}")
_FIRST_STATUS_S = 2.0
"""Two moments of one status differ by no more: each is cut to whole seconds, the writer may be slow."""
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
    not_ready_since: float
    """When Ready ceased to be True; NaN: it is ready, or never was."""
    deleting: bool
    deleting_since: float
    """NaN: it is not being deleted."""
    deletion_cost: int
    deletion_cost_ours: bool
    grace_s: float
    version: int = field(compare=False)
    """resourceVersion as a number; 0 where it is none."""
    evicted: bool = False
    """It is being deleted because somebody asked for its eviction, as drains do."""


@dataclass(frozen=True, slots=True)
class SlimNode:
    """One node."""

    name: str
    capacity_type: CapacityType | None
    zone: str
    instance_type: str
    ready: bool
    """False: its Ready condition is False or Unknown. Where there is no such condition yet, it
    counts as ready: no pod runs there, so nothing is lost with it."""
    unheard: bool
    """Its Ready condition is Unknown."""
    not_ready_since: float
    """When Ready became False or Unknown; NaN: it is ready."""
    unschedulable: bool
    cordoned_by_us: bool
    marked_drained: bool
    uid: str
    created_at: float
    """NaN: not said."""
    claim: str
    """Name of the Karpenter NodeClaim that it was made for; empty: none."""
    gpus: int | None
    """Of `nvidia.com/gpu`, shares of one among them, well or not; None: it does not say."""
    marks: Json
    """The parts of the object that notices are read from, in its own shape."""


@dataclass(frozen=True, slots=True)
class SlimDeployment:
    """One Deployment."""

    namespace: str
    name: str
    uid: str
    replicas: int
    told_replicas: int
    """Pods that its controller counted (status.replicas): those being deleted are not among them."""
    rolling_out: bool
    rollout_stuck: bool
    gpus: int | None
    """Per replica; None: unknown (resource claims, amounts that are no whole numbers)."""
    promises: tuple[Promise, ...] | None
    """None: the annotation cannot be read."""
    template: TemplateFacts
    """What its soundness depends on."""
    writer: ReplicasWriter | None
    """Who last set its replicas; None: it does not say."""


@dataclass(frozen=True, slots=True)
class SlimReplicaSet:
    """One ReplicaSet: only which Deployment owns it."""

    uid: str
    owner_uid: str
    owner_name: str


def slim_pod(item: Json) -> SlimPod:
    """Read a pod: its owner, its node and address, and since when it is scheduled and ready."""
    metadata, spec, status = _parts(item)
    annotations = texts(metadata, "annotations")
    conditions = _conditions(status)
    created_at = seconds(metadata.get("creationTimestamp"))
    node = text(spec, "nodeName")
    scheduled, ready = conditions.get("PodScheduled", {}), conditions.get("Ready", {})
    is_ready = ready.get("status") == "True"
    no_node = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    scheduled_at = _scheduled_at(scheduled, created_at) if node else math.nan
    started_at = seconds(status.get("startTime"))
    began_at = scheduled_at if math.isnan(started_at) else started_at
    return SlimPod(
        namespace=text(metadata, "namespace"),
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        owner_uid=text(_controller(metadata, "ReplicaSet"), "uid"),
        phase=text(status, "phase") or "Pending",
        ip=_address(status),
        node=node,
        created_at=created_at,
        scheduled_at=scheduled_at,
        unschedulable_since=seconds(scheduled.get("lastTransitionTime")) if no_node else math.nan,
        ready=is_ready,
        ready_at=seconds(ready.get("lastTransitionTime")) if is_ready else math.nan,
        not_ready_since=math.nan if is_ready else _not_ready_since(ready, began_at),
        deleting=bool(metadata.get("deletionTimestamp")),
        deleting_since=_deleting_since(metadata),
        deletion_cost=deletion_cost(annotations),
        deletion_cost_ours=is_ours(annotations),
        grace_s=float(whole(spec, "terminationGracePeriodSeconds", default=int(GRACE_S))),
        version=version_number(metadata.get("resourceVersion")),
        evicted=_is_evicted(conditions),
    )


def slim_node(item: Json) -> SlimNode:
    """Read a node: capacity type, readiness, cordon, and the parts that notices are read from."""
    metadata, spec, status = _parts(item)
    labels, annotations = texts(metadata, "labels"), texts(metadata, "annotations")
    conditions = _conditions(status)
    ready = conditions.get("Ready", {})
    is_ready = (text(ready, "status") or "True") == "True"
    since = seconds(ready.get("lastTransitionTime"))
    taints = [_short_texts(taint) for taint in mappings(spec, "taints")]
    kept = ("type", "status", "reason", "message", "lastTransitionTime")
    return SlimNode(
        name=text(metadata, "name"),
        capacity_type=capacity_type(labels, taints),
        zone=text(labels, "topology.kubernetes.io/zone"),
        instance_type=text(labels, "node.kubernetes.io/instance-type"),
        ready=is_ready,
        unheard=ready.get("status") == "Unknown",
        not_ready_since=math.nan if is_ready else 0.0 if math.isnan(since) else since,
        unschedulable=flag(spec, "unschedulable"),
        cordoned_by_us=CORDON_ANNOTATION in annotations,
        marked_drained=DRAINED_ANNOTATION in annotations,
        uid=text(metadata, "uid"),
        created_at=seconds(metadata.get("creationTimestamp")),
        claim=_claim(metadata),
        gpus=_offered_gpus(status),
        marks={
            "metadata": {
                "name": text(metadata, "name"),
                "deletionTimestamp": metadata.get("deletionTimestamp"),
                "finalizers": [str(each) for each in sequence(metadata, "finalizers")],
                "labels": labels,
                "annotations": _short_texts(
                    {key: each for key, each in annotations.items() if key.startswith(OUR_PREFIX)}
                ),
            },
            "spec": {"taints": taints},
            "status": {
                "conditions": [
                    _short_texts({name: condition.get(name) for name in kept})
                    for condition in conditions.values()
                ]
            },
        },
    )


def _offered_gpus(status: Json) -> int | None:
    """Return a node's capacity of GPUs: of the allocatable ones the device plugin takes the sick away."""
    capacity = status.get("capacity")
    if not isinstance(capacity, dict):
        return None
    offered = [shown(capacity[name]) for name in _GPU_RESOURCES if name in capacity]
    if not offered or not all(_GPU_COUNT.fullmatch(count) for count in offered):
        return None
    return sum(int(count) for count in offered)


def slim_deployment(item: Json) -> SlimDeployment:
    """Read a Deployment: its replicas, whether it rolls out, its GPUs and our promises."""
    metadata, spec, status = _parts(item)
    pod_spec = mapping(mapping(spec, "template"), "spec")
    return SlimDeployment(
        namespace=text(metadata, "namespace"),
        name=text(metadata, "name"),
        uid=text(metadata, "uid"),
        replicas=whole(spec, "replicas", default=1),
        told_replicas=whole(status, "replicas"),
        rolling_out=_rolls_out(metadata, spec, status),
        rollout_stuck=_is_stuck(status),
        gpus=gpus_of(pod_spec),
        promises=from_text(texts(metadata, "annotations").get(FALLBACK_ANNOTATION)),
        template=template_facts(item),
        writer=replicas_writer(
            item, generation=whole(metadata, "generation", most=_GENERATION_MAX)
        ),
    )


def slim_replica_set(item: Json) -> SlimReplicaSet:
    """Read a ReplicaSet: which Deployment controls it."""
    metadata = mapping(item, "metadata")
    owner = _controller(metadata, "Deployment")
    return SlimReplicaSet(
        uid=text(metadata, "uid"), owner_uid=text(owner, "uid"), owner_name=text(owner, "name")
    )


def _rolls_out(metadata: Json, spec: Json, status: Json) -> bool:
    """Whether the template changed and not all replicas are of the new one yet.

    A scale-up is no roll-out: `updatedReplicas` is compared with the replicas that exist, not with
    those asked for, or a quota that refuses the last one would hold every scale-down for ever. Only
    `Recreate` is: it has a moment in which no replica of either template exists.
    """
    generation = whole(metadata, "generation", most=_GENERATION_MAX)
    if whole(status, "observedGeneration", most=_GENERATION_MAX) < generation:
        return True  # its controller has not looked yet: it may be about to
    updated = whole(status, "updatedReplicas")
    if updated < whole(status, "replicas"):
        return True
    recreate = text(mapping(spec, "strategy"), "type") == "Recreate"
    return recreate and updated < whole(spec, "replicas")


def _is_stuck(status: Json) -> bool:
    """Whether the Deployment's controller gave up waiting for progress; it goes on if there is some."""
    progressing = _conditions(status).get("Progressing", {})
    return (
        progressing.get("status") == "False"
        and progressing.get("reason") == "ProgressDeadlineExceeded"
    )


def _parts(item: Json) -> tuple[Json, Json, Json]:
    return mapping(item, "metadata"), mapping(item, "spec"), mapping(item, "status")


def _conditions(status: Json) -> dict[str, Json]:
    return {text(each, "type"): each for each in mappings(status, "conditions")}


def _controller(metadata: Json, kind: str) -> Json:
    """The reference to the controller, where it is of this kind of the group `apps`; else empty.

    Another kind may have an equal uid: whoever makes an object writes its owners, and nobody checks them.
    """
    for owner in mappings(metadata, "ownerReferences"):
        if flag(owner, "controller"):
            ours = text(owner, "kind") == kind and text(owner, "apiVersion").startswith("apps/")
            return owner if ours else {}
    return {}


def _address(status: Json) -> str:
    """The pod's address; empty: it has none yet. Requests go there, so it is an address and nothing else."""
    address = text(status, "podIP")
    if not address:
        return ""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise UnreadableError(f"podIP: no address: {quoted(address, limit=80)}") from None
    return address


def _short_texts(found: Json) -> Json:
    """Those of the fields that are texts, cut: what a message is judged by stands at its beginning."""
    return {
        key: value[:TEXT_CHARACTERS_MAX] for key, value in found.items() if isinstance(value, str)
    }


def _claim(metadata: Json) -> str:
    for owner in mappings(metadata, "ownerReferences"):
        if text(owner, "kind") == "NodeClaim":
            return text(owner, "name")
    return ""


def _scheduled_at(scheduled: Json, created_at: float) -> float:
    """When the scheduler bound the pod; one that was bound by name, without it: when it was created."""
    at = seconds(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None
    return created_at if at is None or math.isnan(at) else at


def _not_ready_since(ready: Json, began_at: float) -> float:
    """When a pod that is not ready ceased to be; NaN: it never was.

    The kubelet writes Ready=False in the very status that holds the pod's start, and that transition
    stays until there is another: only a pod that was ready has a later one.
    """
    since = seconds(ready.get("lastTransitionTime"))
    return since if since - began_at > _FIRST_STATUS_S else math.nan


def _deleting_since(metadata: Json) -> float:
    """When the deletion began: its timestamp is the end of the grace that was given."""
    grace_s = whole(metadata, "deletionGracePeriodSeconds")
    return seconds(metadata.get("deletionTimestamp")) - grace_s


def _is_evicted(conditions: dict[str, Json]) -> bool:
    """The API server itself notes why a pod is deleted, where that is an eviction."""
    target = conditions.get("DisruptionTarget", {})
    return bool(target.get("status") == "True" and target.get("reason") == "EvictionByEvictionAPI")
