"""A fleet as the watch caches keep it, of any number of pods and models, without an API server."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.observe import Cluster
from autoscaler.kube.soundness.template import template_facts
from autoscaler.kube.watch.slim import SlimDeployment, SlimNode, SlimPod, SlimReplicaSet

NAMESPACE = "serving"
PODS_PER_NODE = 8


def documents(models: int, *, pods: int, **spec: Any) -> list[dict[str, Any]]:
    """One document a model: it may have twice the pods that it has."""
    return [
        {
            "apiVersion": "inference-autoscaler.dev/v1alpha1",
            "kind": "InferenceAutoscaler",
            "metadata": {"name": f"llama-{number}", "namespace": NAMESPACE},
            "spec": {
                "mode": "Active",
                "pools": [{"name": "main", "scaleTargetRef": {"name": f"llama-{number}"}}],
                "maxReplicas": 2 * max(1, pods // models),
                **spec,
            },
        }
        for number in range(models)
    ]


def address_of(number: int) -> str:
    """The address of a pod, one of its own on the loopback interface."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


def fill(cluster: Cluster, pods: int, *, models: int = 1, at: float) -> None:
    """Put so many ready pods, eight a node, into the caches, shared evenly by the models."""
    caches = cluster._caches.namespaces[NAMESPACE]
    each = [pods // models + (number < pods % models) for number in range(models)]
    caches.deployments._held.objects = {
        (NAMESPACE, f"llama-{number}"): SlimDeployment(
            namespace=NAMESPACE,
            name=f"llama-{number}",
            uid=f"d{number}",
            replicas=replicas,
            told_replicas=replicas,
            rolling_out=False,
            rollout_stuck=False,
            gpus=1,
            promises=(),
            template=template_facts({}),
            writer=None,
        )
        for number, replicas in enumerate(each)
    }
    caches.replica_sets._held.objects = {
        (NAMESPACE, f"rs{number}"): SlimReplicaSet(
            uid=f"rs{number}", owner_uid=f"d{number}", owner_name=f"llama-{number}"
        )
        for number in range(models)
    }
    pod = SlimPod(
        namespace=NAMESPACE,
        name="",
        uid="",
        owner_uid="",
        phase="Running",
        ip="",
        node="",
        created_at=at - 9000,
        scheduled_at=at - 9000,
        unschedulable_since=math.nan,
        ready=True,
        ready_at=at - 8000,
        not_ready_since=math.nan,
        deleting=False,
        deleting_since=math.nan,
        deletion_cost=0,
        deletion_cost_ours=False,
        grace_s=30.0,
        version=1,
    )
    caches.pods._held.objects = {
        (NAMESPACE, name): dataclasses.replace(
            pod,
            name=name,
            uid=f"uid-{name}",
            owner_uid=f"rs{number % models}",
            ip=address_of(number),
            node=f"n{number // PODS_PER_NODE}",
        )
        for number, name in ((number, f"llama-{number:05d}") for number in range(pods))
    }
    cluster._caches.nodes._held.objects = {
        ("", f"n{number}"): SlimNode(
            name=f"n{number}",
            capacity_type=CapacityType.ON_DEMAND,
            zone="",
            instance_type="",
            ready=True,
            unheard=False,
            not_ready_since=math.nan,
            unschedulable=False,
            cordoned_by_us=False,
            marked_drained=False,
            uid="",
            created_at=math.nan,
            claim="",
            gpus=PODS_PER_NODE,
            marks={},
        )
        for number in range(pods // PODS_PER_NODE + 1)
    }
    for cache in [*cluster._caches.all(), *cluster._caches.optional()]:
        cache.synced, cache.confirmed_at, cache.version = True, at + 1e6, "9"
