"""Tables of what is read from objects, with what a server may also send beside what it should."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
)
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION
from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.api.timestamps import rfc3339, seconds
from autoscaler.kube.watch.gpus import gpus_of
from autoscaler.kube.watch.slim import (
    capacity_type,
    slim_deployment,
    slim_node,
    slim_pod,
    slim_replica_set,
)
from tests.kube.scene import CREATED, CREATED_AT, condition, deployment, node, pod, replica_set

SPOT, ON_DEMAND = CapacityType.SPOT, CapacityType.ON_DEMAND


@pytest.mark.parametrize(
    ("labels", "taints", "expected"),
    [
        ({"karpenter.sh/capacity-type": "spot"}, [], SPOT),
        ({"karpenter.sh/capacity-type": "on-demand"}, [], ON_DEMAND),
        ({"karpenter.sh/capacity-type": "reserved"}, [], ON_DEMAND),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, [], SPOT),
        ({"eks.amazonaws.com/capacityType": "ON_DEMAND"}, [], ON_DEMAND),
        ({"eks.amazonaws.com/capacityType": "CAPACITY_BLOCK"}, [], ON_DEMAND),
        ({"cloud.google.com/gke-spot": "true"}, [], SPOT),
        ({"cloud.google.com/gke-preemptible": "true"}, [], SPOT),
        ({"cloud.google.com/gke-provisioning": "preemptible"}, [], SPOT),
        ({"cloud.google.com/gke-provisioning": "spot"}, [], SPOT),
        ({"cloud.google.com/gke-provisioning": "standard"}, [], ON_DEMAND),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, [], SPOT),
        ({"kubernetes.azure.com/scalesetpriority": "regular"}, [], ON_DEMAND),
        ({}, [{"key": "kubernetes.azure.com/scalesetpriority", "value": "spot"}], SPOT),
        ({"node.kubernetes.io/lifecycle": "spot"}, [], SPOT),
        ({"lifecycle": "Ec2Spot"}, [], SPOT),
        ({"karpenter.sh/capacity-type": "novel", "lifecycle": "spot"}, [], SPOT),
        ({"karpenter.sh/capacity-type": "novel"}, [], None),
        ({}, [], None),
    ],
)
def test_capacity_types_of_all_clouds(labels: Any, taints: Any, expected: CapacityType | None):
    assert capacity_type(labels, taints) is expected


def containers(*limits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"containers": [{"resources": {"limits": each}} for each in limits], **more}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(containers({"nvidia.com/gpu": "1"}), 1, id="one"),
        pytest.param(containers({"nvidia.com/gpu": 8, "cpu": "64"}), 8, id="a number"),
        pytest.param(containers({"nvidia.com/gpu": "1"}, {"nvidia.com/gpu": "2"}), 3, id="two"),
        pytest.param(containers({"amd.com/gpu": "4"}), 4, id="amd"),
        pytest.param(containers({"nvidia.com/gpu.shared": "1"}), 1, id="time-sliced"),
        pytest.param(containers({"nvidia.com/mig-1g.10gb": "2"}), 2, id="mig"),
        pytest.param(containers({"nvidia.com/mig-3g.20gb.me": "1"}), 1, id="mig, media"),
        pytest.param(containers({"gpu.intel.com/i915": "1"}), 1, id="intel"),
        pytest.param(containers({"aliyun.com/gpu": "1"}), 1, id="another vendor"),
        pytest.param(
            containers({"nvidia.com/gpu": "1", "nvidia.com/gpumem": "3000"}), 1, id="share in MiB"
        ),
        pytest.param(containers({"cpu": "4", "memory": "16Gi"}), 0, id="none asked"),
        pytest.param(containers({"rdma/hca": "1", "vpc.amazonaws.com/efa": "4"}), 0, id="no gpus"),
        pytest.param({}, 0, id="no containers"),
        pytest.param({"containers": None}, 0, id="null"),
        pytest.param({"containers": [{}]}, 0, id="no resources"),
        pytest.param(
            {"containers": [{"resources": {"requests": {"nvidia.com/gpu": "2"}}}]}, 2, id="request"
        ),
        pytest.param(
            containers(
                {"nvidia.com/gpu": "1"},
                initContainers=[{"resources": {"limits": {"nvidia.com/gpu": "2"}}}],
            ),
            2,
            id="an init container needs more, before",
        ),
        pytest.param(
            containers(
                {"nvidia.com/gpu": "1"},
                initContainers=[
                    {"restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
                ],
            ),
            2,
            id="a sidecar needs it beside",
        ),
        pytest.param(containers(resourceClaims=[{"name": "gpu"}]), None, id="claims: unknown"),
    ],
)
def test_gpus_of_a_template(spec: dict[str, Any], expected: int | None):
    assert gpus_of(spec) == expected


def test_a_deployment():
    told = slim_deployment(
        deployment("d", replicas=3, annotations={FALLBACK_ANNOTATION: "not ours"})
    )
    assert (told.namespace, told.name, told.uid) == ("serving", "d", "uid-d")
    assert (told.replicas, told.gpus, told.rolling_out, told.promises) == (3, 1, False, None)
    assert slim_deployment(deployment("d", replicas=None)).replicas == 1, "the API's default"
    assert slim_deployment(deployment("d", replicas=0)).replicas == 0


@pytest.mark.parametrize(
    ("status", "strategy", "expected"),
    [
        pytest.param(
            {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 4}, "", False, id="settled"
        ),
        pytest.param(
            {"observedGeneration": 1, "replicas": 4, "updatedReplicas": 4},
            "",
            True,
            id="not looked at yet",
        ),
        pytest.param({}, "", True, id="never looked at"),
        pytest.param(
            {"observedGeneration": 2, "replicas": 5, "updatedReplicas": 1}, "", True, id="surge"
        ),
        pytest.param(
            {"observedGeneration": 2, "replicas": 4}, "", True, id="none updated: omitted"
        ),
        pytest.param(
            {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2},
            "",
            False,
            id="a scale-up that quota stops",
        ),
        pytest.param({"observedGeneration": 2}, "Recreate", True, id="recreate: between the two"),
        pytest.param({"observedGeneration": 2}, "", False, id="scaled up from zero"),
    ],
)
def test_a_roll_out_is_told_from_a_scale_up(
    status: dict[str, int], strategy: str, *, expected: bool
):
    body = deployment("d", replicas=4, generation=2, status=status, strategy=strategy)
    assert slim_deployment(body).rolling_out is expected


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("False", "ProgressDeadlineExceeded", True),
        ("False", "FailedCreate", False),
        ("True", "ReplicaSetUpdated", False),
        ("Unknown", "DeploymentPaused", False),
    ],
)
def test_a_roll_out_that_its_controller_gave_up(status: str, reason: str, *, expected: bool):
    told = {"conditions": [condition("Progressing", status, since=CREATED, reason=reason)]}
    assert slim_deployment(deployment("d", status=told)).rollout_stuck is expected
    assert not slim_deployment(deployment("d", status={})).rollout_stuck


def test_a_ready_pod():
    told = slim_pod(pod("p", owner="rs", node="n", ready_since="2026-03-01T12:02:00Z"))
    assert (told.owner_uid, told.node, told.phase, told.ip) == (
        "uid-rs",
        "n",
        "Running",
        "10.0.0.1",
    )
    assert (told.created_at, told.scheduled_at, told.ready_at) == (
        CREATED_AT,
        CREATED_AT + 5,
        CREATED_AT + 120,
    )
    assert told.ready
    assert not told.deleting
    assert told.grace_s == 60.0
    assert math.isnan(told.unschedulable_since)


def test_a_pod_that_starts_and_one_that_goes():
    starting = slim_pod(pod("p", owner="rs", node="n", grace_s=None))
    assert not starting.ready
    assert math.isnan(starting.ready_at)
    assert starting.grace_s == 30.0, "the API's default"
    assert slim_pod(pod("p", owner="rs", node="n", deleting=True)).deleting


@pytest.mark.parametrize(
    ("started", "transition", "expected"),
    [
        pytest.param("12:00:06", "12:00:06", None, id="never ready: it was written with the start"),
        pytest.param("12:00:06", "12:00:07", None, id="never ready: over the edge of a second"),
        pytest.param("12:00:06", "12:03:00", CREATED_AT + 180, id="it was, until then"),
        pytest.param("", "12:03:00", CREATED_AT + 180, id="no start is told: it was bound at 5 s"),
        pytest.param("", "12:00:05", None, id="no start is told: written as it was bound"),
        pytest.param("12:00:06", "soon", None, id="no moment"),
    ],
)
def test_since_when_a_pod_is_not_ready_any_more(
    started: str, transition: str, expected: float | None
):
    body = pod("p", owner="rs", node="n")
    if started:
        body["status"]["startTime"] = f"2026-03-01T{started}Z"
    body["status"]["conditions"][1]["lastTransitionTime"] = f"2026-03-01T{transition}Z"
    told = slim_pod(body)
    assert not told.ready
    np.testing.assert_equal(told.not_ready_since, math.nan if expected is None else expected)
    ready = slim_pod(pod("p", owner="rs", node="n", ready_since="2026-03-01T12:02:00Z"))
    assert math.isnan(ready.not_ready_since)


@pytest.mark.parametrize(
    ("annotations", "cost", "ours"),
    [
        (None, 0, False),
        ({}, 0, False),
        ({COST_ANNOTATION: "-3"}, -3, False),
        ({COST_ANNOTATION: "-3", OWN_COST_ANNOTATION: "-3"}, -3, True),
        ({COST_ANNOTATION: "4", OWN_COST_ANNOTATION: "-3"}, 4, False),
        ({COST_ANNOTATION: "4e9", OWN_COST_ANNOTATION: "4e9"}, 0, True),
    ],
)
def test_a_deletion_cost_and_whose_it_is(annotations: Any, cost: int, *, ours: bool):
    item = pod("a", owner="rs", node="n")
    item["metadata"]["annotations"] = annotations
    slim = slim_pod(item)
    assert (slim.deletion_cost, slim.deletion_cost_ours) == (cost, ours)


def test_a_pod_that_no_node_takes_and_one_that_nobody_has_looked_at():
    refused = slim_pod(pod("p", owner="rs", unschedulable_since="2026-03-01T12:01:00Z"))
    assert refused.unschedulable_since == CREATED_AT + 60
    assert math.isnan(refused.scheduled_at)
    fresh = slim_pod(pod("p", owner="rs"))
    assert math.isnan(fresh.unschedulable_since)
    assert math.isnan(fresh.scheduled_at)
    gated = pod("p", owner="rs")
    gated["status"]["conditions"] = [
        condition("PodScheduled", "False", since=CREATED, reason="SchedulingGated")
    ]
    assert math.isnan(slim_pod(gated).unschedulable_since), "it wants no node yet"


def test_a_pod_bound_by_name_counts_as_scheduled_when_it_was_made():
    bound = pod("p", owner="rs", node="n")
    bound["status"]["conditions"] = []
    assert slim_pod(bound).scheduled_at == CREATED_AT


def test_only_the_controller_owns():
    body = pod("p", owner="rs")
    body["metadata"]["ownerReferences"].insert(0, {"kind": "X", "uid": "other"})
    assert slim_pod(body).owner_uid == "uid-rs"
    body["metadata"]["ownerReferences"] = [{"kind": "X", "uid": "other"}]
    assert slim_pod(body).owner_uid == ""
    assert slim_replica_set(replica_set("rs", owner="d")).owner_uid == "uid-d"


def test_a_node():
    told = slim_node(
        node(
            "n",
            labels={"cloud.google.com/gke-spot": "true"},
            annotations={CORDON_ANNOTATION: CREATED, "other/thing": "x" * 10_000},
            unschedulable=True,
        )
    )
    assert (told.name, told.capacity_type) == ("n", SPOT)
    assert told.ready
    assert told.unschedulable
    assert told.cordoned_by_us
    assert not told.marked_drained
    assert slim_node(node("n", annotations={DRAINED_ANNOTATION: CREATED})).marked_drained
    assert math.isnan(told.not_ready_since)
    assert told.marks["metadata"]["annotations"] == {CORDON_ANNOTATION: CREATED}


@pytest.mark.parametrize("ready", ["False", "Unknown"])
def test_a_node_that_is_not_ready(ready: str):
    told = slim_node(node("n", ready=ready, ready_since="2026-03-01T12:00:40Z"))
    assert not told.ready
    assert told.not_ready_since == CREATED_AT + 40


def test_a_node_that_has_not_said_yet_is_no_lost_one():
    assert slim_node(node("n", ready="")).ready


def test_a_heartbeat_changes_nothing_of_ours():
    one, two = node("n"), node("n")
    two["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-03-01T14:00:00Z"
    two["metadata"]["resourceVersion"] = "99"
    assert slim_node(one) == slim_node(two)
    two["status"]["conditions"][0]["status"] = "Unknown"
    assert slim_node(one) != slim_node(two)


@pytest.mark.parametrize("slim", [slim_pod, slim_node, slim_deployment, slim_replica_set])
@pytest.mark.parametrize(
    "item",
    [
        {},
        {"metadata": None, "spec": None, "status": None},
        {"metadata": {"ownerReferences": None, "labels": None, "annotations": None}},
        {"spec": {"taints": None, "template": None, "containers": None}},
        {"status": {"conditions": None}},
        {"metadata": {"creationTimestamp": "soon", "resourceVersion": "x9"}},
    ],
)
def test_what_is_absent_or_null_is_unknown_or_the_default(slim: Any, item: dict[str, Any]):
    slim(item)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T12:00:00Z", CREATED_AT),
        ("2026-03-01T12:00:00.250000Z", CREATED_AT + 0.25),
        ("2026-03-01T14:00:00+02:00", CREATED_AT),
        ("2026-03-01T12:00:00", math.nan),
        ("99999-01-01T00:00:00Z", math.nan),
        ("9999-12-31T23:59:59Z", math.nan),
        ("0001-01-01T00:00:00+14:00", math.nan),
        ("1969-12-31T23:59:59Z", math.nan),
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-03-01T12:00:00Z" + " " * 9999, math.nan),
        ("soon", math.nan),
        ("", math.nan),
        (None, math.nan),
        (12, math.nan),
    ],
)
def test_times(text: Any, expected: float):
    assert seconds(text) == pytest.approx(expected, nan_ok=True)


def test_a_time_written_is_read_back():
    assert rfc3339(CREATED_AT) == CREATED
    assert seconds(rfc3339(CREATED_AT)) == CREATED_AT
