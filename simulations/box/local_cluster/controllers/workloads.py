"""Deployments and ReplicaSets keep their replicas; what lost its owner goes. No I/O.

Synchronous: `reconcile` looks at all objects and may be called at any time. A new pod template is not
rolled out step by step: its ReplicaSet gets all replicas at once, the old ones none.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections import Counter

from autoscaler.core.contract.deletion_cost import deletion_cost
from autoscaler.core.supply.deletion_order import DeletionCandidate, deletion_order
from simulations.box.local_cluster.api import pods as pod_api
from simulations.box.local_cluster.objects import (
    Object,
    condition,
    condition_is_true,
    is_active,
    key_of,
    moment,
    owned_by,
    owner_uid,
    set_condition,
)
from simulations.box.local_cluster.store import Store

_HASH = "pod-template-hash"


class Workloads:
    """The deployment and replica set controllers and the garbage collector."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reconcile(self) -> None:
        """One pass over everything."""
        self._collect_garbage()
        for deployment in self._store.all("deployments"):
            self._reconcile_deployment(deployment)
        for replica_set in self._store.all("replicasets"):
            self._reconcile_replica_set(replica_set)
        for deployment in self._store.all("deployments"):
            self._write_deployment_status(deployment)

    # -- deployments

    def _reconcile_deployment(self, deployment: Object) -> None:
        spec = deployment["spec"]
        template = template_hash(spec["template"])
        replica_sets = {
            replica_set["metadata"]["labels"][_HASH]: replica_set
            for replica_set in self._owned("replicasets", deployment)
        }
        if template not in replica_sets:
            replica_sets[template] = self._create_replica_set(deployment, template)
        for made_from, replica_set in replica_sets.items():
            replicas = int(spec["replicas"]) if made_from == template else 0
            resized = {**replica_set, "spec": {**replica_set["spec"], "replicas": replicas}}
            self._store.replace("replicasets", resized)

    def _create_replica_set(self, deployment: Object, template: str) -> Object:
        metadata, spec = deployment["metadata"], deployment["spec"]
        pod_template = copy.deepcopy(spec["template"])
        pod_template.setdefault("metadata", {}).setdefault("labels", {})[_HASH] = template
        selector = copy.deepcopy(spec["selector"])
        selector.setdefault("matchLabels", {})[_HASH] = template
        return self._store.create(
            "replicasets",
            {
                "metadata": {
                    "name": f"{metadata['name']}-{template}",
                    "namespace": metadata["namespace"],
                    "labels": dict(pod_template["metadata"]["labels"]),
                    "ownerReferences": owned_by(deployment),
                },
                "spec": {"replicas": 0, "selector": selector, "template": pod_template},
                "status": {"replicas": 0},
            },
        )

    def _write_deployment_status(self, deployment: Object) -> None:
        template = template_hash(deployment["spec"]["template"])
        counted = {
            replica_set["metadata"]["labels"][_HASH]: replica_set.get("status", {})
            for replica_set in self._owned("replicasets", deployment)
        }
        ready = sum(status.get("readyReplicas", 0) for status in counted.values())
        asked = int(deployment["spec"]["replicas"])

        def write(obj: Object) -> None:
            obj["status"] = {
                "observedGeneration": obj["metadata"]["generation"],
                "replicas": sum(status.get("replicas", 0) for status in counted.values()),
                "updatedReplicas": counted.get(template, {}).get("replicas", 0),
                "readyReplicas": ready,
                "availableReplicas": ready,
                "unavailableReplicas": max(0, asked - ready),
                "conditions": obj.get("status", {}).get("conditions", []),
            }
            enough = ready >= asked
            set_condition(
                obj,
                "Available",
                status="True" if enough else "False",
                at=self._store.clock(),
                reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            )

        self._store.modify("deployments", *key_of(deployment), write)

    # -- replica sets

    def _reconcile_replica_set(self, replica_set: Object) -> None:
        active = [pod for pod in self._owned("pods", replica_set) if is_active(pod)]
        missing = int(replica_set["spec"]["replicas"]) - len(active)
        for _ in range(missing):
            self._create_pod(replica_set)
        for pod in self.victims(active)[:-missing] if missing < 0 else ():
            pod_api.delete(self._store, *key_of(pod))
        active = [pod for pod in self._owned("pods", replica_set) if is_active(pod)]
        ready = sum(1 for pod in active if condition_is_true(pod, "Ready"))
        status = {
            "observedGeneration": replica_set["metadata"]["generation"],
            "replicas": len(active),
            "fullyLabeledReplicas": len(active),
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        self._store.replace("replicasets", {**replica_set, "status": status})

    def _create_pod(self, replica_set: Object) -> None:
        template = copy.deepcopy(replica_set["spec"]["template"])
        metadata = template.get("metadata", {})
        self._store.create(
            "pods",
            {
                "metadata": {
                    "generateName": f"{replica_set['metadata']['name']}-",
                    "namespace": replica_set["metadata"]["namespace"],
                    "labels": metadata.get("labels", {}),
                    "annotations": metadata.get("annotations", {}),
                    "ownerReferences": owned_by(replica_set),
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )

    def victims(self, active: list[Object]) -> list[Object]:
        """In the order in which a ReplicaSet deletes its pods on a scale-down."""
        on_node = Counter(pod["spec"].get("nodeName") for pod in self._active_of_deployment(active))
        candidates = [
            _candidate(pod, pods_on_node=on_node[pod["spec"].get("nodeName")]) for pod in active
        ]
        return [active[place] for place in deletion_order(candidates, at=self._store.clock())]

    def _active_of_deployment(self, active: list[Object]) -> list[Object]:
        """The active pods of all ReplicaSets of the Deployment that these belong to."""
        own = {owner_uid(pod) for pod in active}
        replica_sets = self._store.all("replicasets")
        deployments = {owner_uid(each) for each in replica_sets if each["metadata"]["uid"] in own}
        related = {
            each["metadata"]["uid"] for each in replica_sets if owner_uid(each) in deployments
        }
        found = [pod for pod in self._store.all("pods") if owner_uid(pod) in related]
        return [pod for pod in found if is_active(pod)] or active

    # -- owners

    def _collect_garbage(self) -> None:
        for resource, owners in (("replicasets", "deployments"), ("pods", "replicasets")):
            alive = {owner["metadata"]["uid"] for owner in self._store.all(owners)}
            for obj in self._store.all(resource):
                owner = owner_uid(obj)
                if owner is None or owner in alive or "deletionTimestamp" in obj["metadata"]:
                    continue
                if resource == "pods":
                    pod_api.delete(self._store, *key_of(obj))
                else:
                    self._store.remove(resource, *key_of(obj))

    def _owned(self, resource: str, owner: Object) -> list[Object]:
        uid = owner["metadata"]["uid"]
        namespace = owner["metadata"]["namespace"]
        return [obj for obj in self._store.all(resource, namespace) if owner_uid(obj) == uid]


def _candidate(pod: Object, *, pods_on_node: int) -> DeletionCandidate:
    metadata, status = pod["metadata"], pod.get("status", {})
    ready = condition(pod, "Ready") or {}
    is_ready = ready.get("status") == "True"
    restarts = [each.get("restartCount", 0) for each in status.get("containerStatuses", ())]
    return DeletionCandidate(
        uid=metadata["uid"],
        bound="nodeName" in pod["spec"],
        phase=status.get("phase", ""),
        ready=is_ready,
        cost=deletion_cost(metadata.get("annotations") or {}),
        pods_on_node=pods_on_node,
        ready_at=moment(ready["lastTransitionTime"]) if is_ready else math.nan,
        restarts=max(restarts, default=0),
        created_at=moment(metadata["creationTimestamp"]),
    )


def template_hash(template: Object) -> str:
    """Names the ReplicaSet of a pod template."""
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:9]
