"""Caches that nothing hangs on: absent, refused, installed later, taken away; the daemon is never blind for it."""

from __future__ import annotations

import pytest

from autoscaler.kube.watch import optional
from autoscaler.kube.watch.optional import Readability
from autoscaler.notices.mark import Watched
from tests.kube.api_server import refuse
from tests.kube.scene import deployment, fleet, node, pod, replica_set
from tests.kube.watched import AT, SPOT, Begin, Scene
from tests.notices.scene import claim, said

EVENTS, CLAIMS = "/events", "/nodeclaims"


@pytest.fixture
async def scene(begin: Begin) -> Scene:
    return await begin(
        fleet("llama"),
        deployment("llama"),
        replica_set("llama-1", owner="llama"),
        node("n1", labels=SPOT),
        pod("llama-a", owner="llama-1", node="n1", ready_since="2026-03-01T12:02:00Z"),
    )


async def test_an_event_about_a_node_is_told_at_once(scene: Scene):
    await scene.until(
        lambda: set(scene.cluster.readable_notices().values()) == {Readability.READABLE}
    )
    scene.held.put(said("SpotInterrupted", uid=""))
    await scene.until(lambda: bool(scene.noticed))
    (it,) = scene.observe().interruptions
    assert (it.node, it.source, it.deadline_at) == ("n1", "karpenter", AT + 120)
    # What says nothing to us is known to be there, and no more.
    scene.held.put(said("NodeReady", by="kubelet"))
    nodes, claims = scene.cluster._caches.events
    await scene.until(lambda: len(nodes.objects) == 2)
    assert sorted(map(bool, nodes.objects.values())) == [False, True]
    assert claims.objects == {}


async def test_an_event_about_a_claim_is_told_of_its_node(scene: Scene):
    scene.held.put(claim(node="n1"))
    scene.held.put(said("SpotInterrupted", kind="NodeClaim", about="pool-abc"))
    await scene.until(lambda: bool(scene.noticed))
    assert scene.observe().interruptions[0].node == "n1"


async def test_a_pod_that_is_evicted_from_a_cordoned_node_shows_a_drain(scene: Scene):
    """The node termination handler as its chart ships it."""
    scene.held.put(node("n1", labels=SPOT, unschedulable=True))
    evicted = pod("llama-a", owner="llama-1", node="n1", deleting=True)
    evicted["metadata"]["deletionTimestamp"] = "2026-03-01T12:10:30Z"
    evicted["metadata"]["deletionGracePeriodSeconds"] = 60
    evicted["status"]["conditions"].append(
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    )
    scene.held.put(evicted)
    await scene.until(lambda: bool(scene.observe().interruptions))
    (it,) = scene.observe().interruptions
    assert (it.node, it.source, it.noticed_at) == ("n1", "drain", AT - 30)
    assert scene.noticed == [it]


@pytest.mark.parametrize("why", ["DeletionByTaintManager", ""])
async def test_a_pod_that_goes_for_another_reason_shows_none(scene: Scene, why: str):
    """A scale-down takes pods from cordoned nodes too."""
    scene.held.put(node("n1", labels=SPOT, unschedulable=True))
    going = pod("llama-a", owner="llama-1", node="n1", deleting=True)
    if why:
        going["status"]["conditions"].append(
            {"type": "DisruptionTarget", "status": "True", "reason": why}
        )
    scene.held.put(going)
    await scene.until(lambda: bool(scene.model.replicas.deleting[0]))
    await scene.until(lambda: bool(scene.observe().nodes.unschedulable[0]))
    assert scene.observe().interruptions == ()


@pytest.mark.parametrize(
    ("place", "code", "reason", "readability"),
    [
        (CLAIMS, 404, "NotFound", Readability.ABSENT),
        (CLAIMS, 403, "Forbidden", Readability.FORBIDDEN),
        (EVENTS, 403, "Forbidden", Readability.FORBIDDEN),
    ],
)
async def test_what_is_absent_or_refused_blinds_nobody(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    code: int,
    reason: str,
    readability: Readability,
):
    monkeypatch.setattr(optional, "LOOK_AGAIN_S", 0.01)  # tests do not wait for a minute
    plural = place.strip("/")
    scene.held.put(claim(node="n1", reason="Drifted"))
    await scene.until(lambda: bool(scene.noticed))
    scene.held.refuse(place, refuse(code, reason, "no"))
    await scene.until(lambda: scene.cluster.readable_notices()[plural] is readability)
    assert scene.cluster.problems() == ()
    assert scene.cluster.failures_total == 0
    assert plural in scene.cluster.optional_problems()
    assert scene.cluster.cluster_at > 0
    assert scene.observe().models[0].replicas.name == ("llama-a",)
    if readability is Readability.ABSENT:
        # The CRD is gone, and with it what its objects said.
        await scene.until(lambda: scene.observe().interruptions == ())
    scene.held.answer_again()
    await scene.until(lambda: scene.cluster.readable_notices()[plural] is Readability.READABLE)
    assert scene.cluster.optional_problems() == {}
    await scene.until(lambda: bool(scene.observe().interruptions))


async def test_what_is_absent_is_looked_for_seldom(scene: Scene):
    cache = scene.cluster._caches.claims
    cache.absent = True
    assert 45.0 <= cache._pause_s(None) <= 60.0
    cache.absent, cache.forbidden = False, True
    assert 45.0 <= cache._pause_s(None) <= 60.0
    cache.forbidden = False
    cache.failures = 1
    assert cache._pause_s(None) <= 10.0


def test_kinds_are_named_as_their_resources():
    assert [str(each) for each in Watched] == ["nodes", "events", "nodeclaims"]
