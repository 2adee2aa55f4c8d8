"""Which pod a scale-down takes: Kubernetes' order, rule by rule."""

from __future__ import annotations

import random
from typing import Any

import pytest

from simulations.box.local_cluster.controllers.workloads import Workloads
from simulations.box.local_cluster.objects import owned_by, timestamp
from simulations.box.local_cluster.store import Store

NOW = 1_000_000.0


def pod(name: str, **changes: Any) -> dict[str, Any]:
    """A pod that was created an hour ago, on a node of its own, and became ready a minute later."""
    age_s, ready_s = changes.get("age_s", 3600.0), changes.get("ready_s", 3540.0)
    ready = {"type": "Ready", "status": "True" if changes.get("ready", True) else "False"}
    ready["lastTransitionTime"] = timestamp(NOW - ready_s)
    node = changes.get("node", f"node-of-{name}")
    annotations = {}
    if "cost" in changes:
        annotations["controller.kubernetes.io/pod-deletion-cost"] = str(changes["cost"])
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": timestamp(NOW - age_s),
            "annotations": annotations,
        },
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": changes.get("phase", "Running"),
            "conditions": [ready],
            "containerStatuses": [{"restartCount": changes.get("restarts", 0)}],
        },
    }


@pytest.mark.parametrize(
    ("rule", "taken", "kept"),
    [
        ("bound to no node", {"node": None, "cost": 9}, {"phase": "Pending", "ready": False}),
        ("pending", {"phase": "Pending", "ready": False, "cost": 9}, {"ready": False}),
        ("not ready", {"ready": False, "cost": 9}, {"cost": -9}),
        ("of a lower deletion cost", {"cost": -1}, {"ready_s": 60.0}),
        ("ready for a shorter time", {"ready_s": 60.0}, {"restarts": 5}),
        ("restarted more often", {"restarts": 5}, {"age_s": 3541.0}),
        ("newer", {"age_s": 3541.0, "ready_s": 3540.0}, {"age_s": 90_000.0}),
    ],
)
def test_the_pod_that_is_taken_first(rule: str, taken: dict[str, Any], kept: dict[str, Any]):
    workloads = Workloads(Store(rng=random.Random(0), clock=lambda: NOW))
    for names in (("a", "b"), ("b", "a")):  # whatever their names are
        victims = workloads.victims([pod(names[1], **kept), pod(names[0], **taken)])
        assert victims[0]["metadata"]["name"] == names[0], rule


def test_the_pod_that_shares_its_node_is_taken_first():
    workloads = Workloads(Store(rng=random.Random(0), clock=lambda: NOW))
    active = [pod("alone"), pod("x", node="crowded"), pod("y", node="crowded")]
    victims = [victim["metadata"]["name"] for victim in workloads.victims(active)]
    assert victims == ["x", "y", "alone"]


def test_ages_count_by_powers_of_two():
    """Ready for 300 and 400 s is the same age, so that the newest is not always the one."""
    workloads = Workloads(Store(rng=random.Random(0), clock=lambda: NOW))
    active = [pod("b", ready_s=300.0), pod("a", ready_s=400.0)]
    assert workloads.victims(active)[0]["metadata"]["name"] == "a"


def test_within_a_power_of_two_the_uid_decides_whatever_the_restarts():
    workloads = Workloads(Store(rng=random.Random(0), clock=lambda: NOW))
    active = [pod("b", ready_s=300.0, restarts=9), pod("a", ready_s=400.0)]
    assert workloads.victims(active)[0]["metadata"]["name"] == "a"


def test_a_cost_that_is_no_number_is_as_if_it_were_not_there():
    workloads = Workloads(Store(rng=random.Random(0), clock=lambda: NOW))
    active = [pod("a", cost="-1e9"), pod("b", cost="-1")]
    assert workloads.victims(active)[0]["metadata"]["name"] == "b"


def test_pods_of_the_deployments_other_replica_sets_count_on_a_node():
    store = Store(rng=random.Random(0), clock=lambda: NOW)
    made = store.create("deployments", {"metadata": {"name": "llama", "namespace": "serving"}})
    old, new = (
        store.create(
            "replicasets",
            {
                "metadata": {
                    "name": name,
                    "namespace": "serving",
                    "ownerReferences": owned_by(made),
                }
            },
        )
        for name in ("llama-old", "llama-new")
    )

    def put(name: str, owner: dict[str, Any], node: str) -> dict[str, Any]:
        item = pod(name, node=node)
        item["metadata"] |= {"namespace": "serving", "ownerReferences": owned_by(owner)}
        return store.create("pods", item)

    put("left", old, "shared")
    active = [put("a", new, "empty"), put("z", new, "shared")]
    assert Workloads(store).victims(active)[0]["metadata"]["name"] == "z"
