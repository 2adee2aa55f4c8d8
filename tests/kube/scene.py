"""Objects of a serving namespace, as an API server would hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoscaler.core.contract.spec import FleetSpec, ModelSpec, PoolSpec, ScaleTarget
from autoscaler.core.contract.state import CapacityType

Json = dict[str, Any]
NAMESPACE = "serving"
CREATED = "2026-03-01T12:00:00Z"
CREATED_AT = 1_772_366_400.0


def fleet(*pools: str, namespace: str = NAMESPACE, name: str = "llama") -> FleetSpec:
    """One model; each pool is named as its Deployment; `spot…` ones are spot."""
    return FleetSpec(models=(model(*pools, namespace=namespace, name=name),))


def model(*pools: str, namespace: str = NAMESPACE, name: str = "llama") -> ModelSpec:
    return ModelSpec(
        namespace=namespace,
        name=name,
        pools=tuple(
            PoolSpec(
                name=pool,
                target=ScaleTarget(namespace=namespace, name=pool),
                capacity_type=(
                    CapacityType.SPOT if pool.startswith("spot") else CapacityType.ON_DEMAND
                ),
            )
            for pool in pools
        ),
    )


def deployment(
    name: str,
    *,
    replicas: int | None = 2,
    namespace: str = NAMESPACE,
    uid: str = "",
    annotations: Mapping[str, str] | None = None,
    pod_spec: Mapping[str, Any] | None = None,
    generation: int = 1,
    status: Mapping[str, Any] | None = None,
    strategy: str = "RollingUpdate",
) -> Json:
    settled = {"observedGeneration": generation}  # no pod is counted, whichever the test puts there
    gpu = {"containers": [{"name": "vllm", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": uid or f"uid-{name}",
            "generation": generation,
            "annotations": dict(annotations or {}),
        },
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": {"app": "llama"}},
            "strategy": {"type": strategy},
            "template": {"metadata": {"labels": {"app": "llama"}}, "spec": dict(pod_spec or gpu)},
        },
        "status": dict(settled if status is None else status),
    }


def replica_set(name: str, *, owner: str, namespace: str = NAMESPACE) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{name}",
            "ownerReferences": [owned("Deployment", owner)],
        },
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "llama"}}, "template": {}},
        "status": {},
    }


def pod(
    name: str,
    *,
    owner: str,
    node: str = "",
    namespace: str = NAMESPACE,
    ready_since: str = "",
    unschedulable_since: str = "",
    deleting: bool = False,
    phase: str = "Running",
    ip: str = "10.0.0.1",
    grace_s: int | None = 60,
) -> Json:
    conditions: list[Json] = []
    if node:
        conditions.append(condition("PodScheduled", "True", since="2026-03-01T12:00:05Z"))
    elif unschedulable_since:
        conditions.append(
            condition("PodScheduled", "False", since=unschedulable_since, reason="Unschedulable")
        )
    if node:
        conditions.append(condition("Ready", str(bool(ready_since)), since=ready_since or CREATED))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": CREATED,
            "labels": {"app": "llama"},
            "ownerReferences": [owned("ReplicaSet", owner)],
            **({"deletionTimestamp": "2026-03-01T12:30:00Z"} if deleting else {}),
        },
        "spec": {
            "containers": [{"name": "vllm", "image": "vllm"}],
            **({"nodeName": node} if node else {}),
            **({} if grace_s is None else {"terminationGracePeriodSeconds": grace_s}),
        },
        "status": {
            "phase": phase if node else "Pending",
            "conditions": conditions,
            **({"podIP": ip} if node and ip else {}),
        },
    }


def node(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    conditions: Sequence[Json] = (),
    ready: str = "True",
    ready_since: str = CREATED,
    unschedulable: bool = False,
) -> Json:
    told = [] if not ready else [condition("Ready", ready, since=ready_since)]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": {"taints": list(taints), **({"unschedulable": True} if unschedulable else {})},
        "status": {"conditions": [*told, *conditions]},
    }


def condition(kind: str, status: str, *, since: str, reason: str = "R", message: str = "") -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
        "lastHeartbeatTime": "2026-03-01T13:00:00Z",
    }


def owned(kind: str, name: str) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": name,
        "uid": f"uid-{name}",
        "controller": True,
    }
