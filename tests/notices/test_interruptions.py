"""Nodes that are taken away, through real watches: told at once, and in every observation while it lasts."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.state import NODE_STATUS, Interruption, InterruptionKind
from tests.kube.scene import CREATED_AT, Json, deployment, fleet, node, pod, replica_set
from tests.kube.watched import AT, SPOT, Begin, Scene

SPOT_ITN = {"key": "aws-node-termination-handler/spot-itn", "value": "x", "effect": "NoSchedule"}


def replica_on(name: str, node_name: str) -> Json:
    return pod(name, owner="llama-1", node=node_name, ready_since="2026-03-01T12:02:00Z")


@pytest.fixture
async def spot(begin: Begin) -> Scene:
    """Two spot nodes, one replica each, and an empty third one."""
    return await begin(
        fleet("llama"),
        deployment("llama"),
        replica_set("llama-1", owner="llama"),
        node("n1", labels=SPOT),
        node("n2", labels=SPOT),
        node("n3", labels=SPOT),
        replica_on("llama-a", "n1"),
        replica_on("llama-b", "n2"),
    )


async def test_a_mark_is_told_at_once_and_stands_with_its_first_date(spot: Scene):
    spot.held.put(node("n1", labels=SPOT, taints=[SPOT_ITN]))
    await spot.until(lambda: bool(spot.noticed))
    expected = Interruption(
        node="n1",
        kind=InterruptionKind.TERMINATION,
        source="aws-node-termination-handler",
        noticed_at=AT,
        deadline_at=AT + 120,
    )
    assert spot.noticed == [expected]
    assert spot.observe().interruptions == (expected,)

    spot.at = AT + 40  # the node is written again, with the same mark: the same notice
    spot.held.put(node("n1", labels=SPOT, taints=[SPOT_ITN], unschedulable=True))
    await spot.until(lambda: bool(spot.observe().nodes.unschedulable[0]))
    assert spot.observe().interruptions == (expected,)
    assert spot.noticed == [expected]


async def test_a_mark_that_is_taken_off_is_withdrawn_and_may_come_again(spot: Scene):
    spot.held.put(node("n1", labels=SPOT, taints=[SPOT_ITN]))
    await spot.until(lambda: bool(spot.observe().interruptions))
    spot.held.put(node("n1", labels=SPOT))
    await spot.until(lambda: not spot.observe().interruptions)
    spot.at = AT + 500
    spot.held.put(node("n1", labels=SPOT, taints=[SPOT_ITN]))
    await spot.until(lambda: len(spot.noticed) == 2)
    assert spot.noticed[1].noticed_at == AT + 500


async def test_a_mark_on_a_node_without_replicas_is_seen_too(spot: Scene):
    """What starts next would land there."""
    spot.held.put(node("n3", labels=SPOT, taints=[SPOT_ITN]))
    await spot.until(lambda: bool(spot.noticed))
    assert spot.observe().nodes.name == ("n1", "n2", "n3")
    assert [each.node for each in spot.observe().interruptions] == ["n3"]


@pytest.mark.parametrize("ready", ["False", "Unknown"])
async def test_a_node_that_is_not_ready_is_lost_and_told_at_once(spot: Scene, ready: str):
    spot.held.put(node("n2", labels=SPOT, ready=ready, ready_since="2026-03-01T12:09:30Z"))
    await spot.until(lambda: bool(spot.noticed))
    lost = Interruption(
        node="n2",
        kind=InterruptionKind.LOST,
        source=NODE_STATUS,
        noticed_at=CREATED_AT + 570,
        deadline_at=None,
    )
    assert spot.noticed == [lost]
    seen = spot.observe()
    assert seen.interruptions == (lost,)
    assert seen.nodes.ready.tolist() == [True, False]
    assert seen.nodes.exists.tolist() == [True, True]


async def test_a_node_that_is_not_ready_and_carries_nothing_of_ours_is_no_matter(spot: Scene):
    spot.held.put(node("n3", ready="Unknown"), node("n1", labels=SPOT, unschedulable=True))
    await spot.until(lambda: bool(spot.observe().nodes.unschedulable[0]))
    assert spot.observe().interruptions == ()
    assert spot.noticed == []


async def test_a_node_that_is_gone_is_lost_since_that_was_seen(spot: Scene):
    spot.held.drop(node("n2"))
    await spot.until(lambda: bool(spot.noticed))
    seen = spot.observe()
    (lost,) = seen.interruptions
    assert (lost.node, lost.kind, lost.noticed_at) == ("n2", InterruptionKind.LOST, AT)
    assert seen.nodes.name == ("n1", "n2")
    assert seen.nodes.exists.tolist() == [True, False]
    assert seen.nodes.ready.tolist() == [True, False]
    spot.at = AT + 20
    assert spot.observe().interruptions == (lost,), "its date stays"
    spot.held.drop(pod("llama-b", owner="llama-1"))
    await spot.pods(1)
    assert spot.observe().interruptions == ()


async def test_a_doomed_node_that_goes_has_happened(spot: Scene):
    spot.held.put(node("n2", labels=SPOT, taints=[SPOT_ITN]))
    await spot.until(lambda: bool(spot.noticed))
    spot.held.drop(node("n2"))
    await spot.until(lambda: not spot.observe().nodes.exists[1])
    (lost,) = spot.observe().interruptions
    assert lost.kind is InterruptionKind.LOST


async def test_a_pod_on_a_node_too_new_to_be_known_is_not_lost(spot: Scene):
    """The watches of pods and nodes run apart: a pod may be heard of before its node."""
    spot.held.put(replica_on("llama-c", "n4"))
    await spot.pods(3)
    seen = spot.observe()
    assert seen.interruptions == ()
    assert seen.nodes.name == ("n1", "n2", "n4")
    assert seen.nodes.exists.all()
    assert seen.nodes.ready.all()
    spot.held.bookmark()  # the nodes are in step beyond the pod's version: it is not there
    await spot.until(lambda: bool(spot.observe().interruptions))
    assert [each.node for each in spot.observe().interruptions] == ["n4"]


async def test_while_nodes_are_not_known_freshly_none_is_said_to_be_gone(spot: Scene):
    """An API server that comes back with half its nodes must not double a fleet."""
    nodes = spot.cluster._caches.nodes
    spot.held.drop(node("n2"))
    await spot.until(lambda: ("", "n2") not in nodes.objects)
    spot.at = AT + 31
    assert spot.observe().interruptions == ()
    assert spot.observe().nodes.exists.all()
    spot.at = AT + 30
    (lost,) = spot.observe().interruptions
    spot.at = AT + 31
    assert spot.observe().interruptions == (lost,), "what was certain is not forgotten"


async def test_a_lost_node_stays_lost_while_its_pods_are_written(spot: Scene):
    """The garbage collector marks them deleted: newer than anything the cache of nodes has seen."""
    spot.held.drop(node("n2"))
    await spot.until(lambda: bool(spot.observe().interruptions))
    spot.held.put(pod("llama-b", owner="llama-1", node="n2", deleting=True))
    await spot.until(lambda: bool(spot.model.replicas.deleting[1]))
    assert [each.node for each in spot.observe().interruptions] == ["n2"]
    spot.held.put(node("n2", labels=SPOT))
    await spot.until(lambda: not spot.observe().interruptions)


async def test_a_kubelet_that_shuts_down_is_a_notice_not_a_loss(spot: Scene):
    told = node("n1", labels=SPOT, ready="False", ready_since="2026-03-01T12:09:50Z")
    told["status"]["conditions"][0] |= {
        "reason": "KubeletNotReady",
        "message": "[container runtime is down, node is shutting down]",
    }
    spot.held.put(told)
    await spot.until(lambda: bool(spot.noticed))
    (notice,) = spot.observe().interruptions
    assert notice.kind is InterruptionKind.TERMINATION
    assert (notice.source, notice.deadline_at) == ("kubelet", CREATED_AT + 590 + 30)
    assert spot.noticed == [notice]


async def test_of_two_marks_the_sooner_deadline_counts_and_is_told(spot: Scene):
    spot.held.put(node("n1", labels=SPOT, taints=[SPOT_ITN]))
    await spot.until(lambda: len(spot.noticed) == 1)
    rehearsal = {"inference-autoscaler.dev/interruption": "2026-03-01T12:11:00Z"}
    spot.held.put(node("n1", labels=SPOT, taints=[SPOT_ITN], annotations=rehearsal))
    await spot.until(lambda: len(spot.noticed) == 2)
    assert spot.noticed[1].source == "rehearsal"
    assert spot.observe().interruptions == (spot.noticed[1],)
    spot.held.put(node("n1", labels=SPOT, taints=[SPOT_ITN]))
    await spot.until(lambda: spot.observe().interruptions == (spot.noticed[0],))


async def test_a_deadline_that_cannot_be_read_is_said(spot: Scene):
    spot.held.put(node("n1", annotations={"inference-autoscaler.dev/interruption": "soon"}))
    await spot.until(lambda: bool(spot.noticed))
    (problem,) = spot.interruptions.problems
    assert "node n1: the deadline of rehearsal cannot be read in 'soon'" in problem
