"""Which pods are the replicas of which pool: by owner references (Deployment, ReplicaSet, pod).

Two Deployments of one model share their labels, and a selector would count each one's pods twice. Owner
and owned are of one namespace, all the way up: what stands in a reference was written by whoever made
the object, and nobody checks that the owner agrees.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.contract.spec import FleetSpec, PoolSpec
from autoscaler.kube.api.resources import DEPLOYMENTS, SCALE_TARGETS
from autoscaler.kube.watch.caches import NamespaceCaches
from autoscaler.kube.watch.slim import SlimDeployment, SlimPod

OVER = frozenset({"Succeeded", "Failed"})
"""Phases of pods that are no replicas any more: their ReplicaSet replaces them."""


def deployment_of(
    pool: PoolSpec, namespaces: Mapping[str, NamespaceCaches]
) -> SlimDeployment | None:
    """What is kept of a pool's scale target; None: it is not there."""
    target = pool.target
    caches = namespaces.get(target.namespace)
    if caches is None or SCALE_TARGETS.get((target.api_version, target.kind)) != DEPLOYMENTS:
        return None
    return caches.deployments.objects.get((target.namespace, target.name))


def replicas_of(
    fleet: FleetSpec, namespaces: Mapping[str, NamespaceCaches]
) -> list[list[tuple[int, SlimPod]]]:
    """For each model its replicas as (index of the pool, pod), in no order."""
    places: dict[tuple[str, str], tuple[int, int]] = {}
    for i, model in enumerate(fleet.models):
        for j, pool in enumerate(model.pools):
            deployment = deployment_of(pool, namespaces)
            if deployment is not None and deployment.uid:
                places[pool.target.namespace, deployment.uid] = (i, j)
    rows: list[list[tuple[int, SlimPod]]] = [[] for _ in fleet.models]
    for namespace, caches in namespaces.items():
        owners = {
            replica_set.uid: places[namespace, replica_set.owner_uid]
            for replica_set in caches.replica_sets.objects.values()
            if (namespace, replica_set.owner_uid) in places and replica_set.uid
        }
        for pod in caches.pods.objects.values():
            place = owners.get(pod.owner_uid)
            if place is not None and pod.phase not in OVER:
                rows[place[0]].append((place[1], pod))
    return rows
