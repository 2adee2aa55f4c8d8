"""Sources that contradict each other are unknown until they agree; owners are of one namespace."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.kube.api.client import ApiError
from autoscaler.kube.scale_targets import PROMISES_HELD_S
from autoscaler.kube.watch.held import REREAD_S_MIN
from autoscaler.kube.watch.timing import Timing
from autoscaler.kube.watch.unreadable import may_be_named_by
from autoscaler.kube.watch.watch import ResourceCache
from tests.kube.api_server import listing
from tests.kube.scene import Json, deployment, fleet, model, node, owned, pod, replica_set
from tests.kube.watched import AT, Begin, Scene

FOUR = {"observedGeneration": 1, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4}
READY = "2026-03-01T12:02:00Z"


def objects() -> list[Json]:
    """A model of four pods on two nodes, its sources in agreement."""
    return [
        node("n0"),
        node("n1"),
        deployment("llama", replicas=4, status=FOUR),
        replica_set("llama-1", owner="llama"),
        *(
            pod(f"llama-{n}", owner="llama-1", node=f"n{n % 2}", ready_since=READY)
            for n in range(4)
        ),
    ]


def held(scene: Scene) -> str:
    """Why the model is not in the observation; empty: it is."""
    seen = scene.observe()
    assert len(seen.models) + len(seen.doubts) == 1
    return seen.doubts[0].message if seen.doubts else ""


async def relist(scene: Scene, place: str, items: list[Any], version: int = 0) -> None:
    """Let every list of one resource be this from now on, and let it be listed."""
    usual = scene.server.always["list"]
    answer = listing(items, version=str(version or scene.held.version))

    async def step(request: Any) -> Any:
        return await (answer if request.path.endswith(place) else usual)(request)

    scene.server.always["list"] = step
    (cache,) = (c for c in scene.cluster._caches.all() if c.resource.plural == place.strip("/"))
    scene.at += 1
    try:
        await cache._list()  # as after a version that is too old
    except ApiError as error:
        cache._set_problem(str(error))  # what the cache's own loop would do


def pods_of(scene: Scene) -> ResourceCache[Any]:
    """The cache of pods."""
    (cache,) = (c for c in scene.cluster._caches.all() if c.resource.plural == "pods")
    return cache


async def test_where_they_agree_nothing_is_doubted(begin: Begin):
    scene = await begin(fleet("llama"), *objects())
    assert held(scene) == ""
    assert len(scene.model.replicas) == 4
    assert scene.cluster.problems() == ()


@pytest.mark.parametrize(
    ("place", "items", "words"),
    [
        pytest.param("/pods", [], ["counts 4", "0 are listed"], id="no pods"),
        pytest.param("/pods", objects()[4:6], ["counts 4", "2 are listed"], id="half of the pods"),
        pytest.param("/replicasets", [], ["counts 4", "0 are listed"], id="no ReplicaSets"),
        pytest.param("/deployments", [], ["is not listed", "'llama-1' is"], id="no Deployments"),
        pytest.param("/pods", [None], ["pod #1", "cannot be read"], id="pods are null"),
        pytest.param("/deployments", ["x"], ["is not listed"], id="Deployments are texts"),
        pytest.param(
            "/deployments",
            [{**deployment("llama"), "spec": {"replicas": "4"}}],
            ["is there and cannot be read", "replicas"],
            id="replicas are a text",
        ),
        pytest.param(
            "/pods",
            [*objects()[4:7], {**objects()[7], "status": ["x"]}],
            ["pod llama-3", "status: a mapping"],
            id="one pod's status is a list",
        ),
    ],
)
async def test_a_list_that_contradicts_the_others_holds_the_model_until_they_agree(
    begin: Begin, place: str, items: list[Any], words: list[str]
):
    scene = await begin(fleet("llama"), *objects())
    usual = scene.server.always["list"]
    await relist(scene, place, items)
    message = held(scene)
    for word in words:
        assert word in message
    assert any(message in problem for problem in scene.cluster.problems())
    assert scene.observe().interruptions == (), "nothing is lost for it"
    scene.server.always["list"] = usual
    (cache,) = (c for c in scene.cluster._caches.all() if c.resource.plural == place.strip("/"))
    await cache._list()
    assert held(scene) == ""
    assert len(scene.model.replicas) == 4


async def test_what_stays_in_doubt_is_listed_anew(begin: Begin):
    """Garbled on its way, and still readable: nothing of it changes for hours, and no watch would mend it."""
    scene = await begin(fleet("llama"), *objects())
    usual = scene.server.always["list"]
    orphan = objects()[7]
    orphan["metadata"]["ownerReferences"] = None
    await relist(scene, "/pods", [*objects()[4:7], orphan])
    assert "counts 4 replicas, and 3 are listed" in held(scene)
    scene.server.always["list"] = usual
    scene.at += REREAD_S_MIN - 1
    scene.held.put(pod("somebody-elses", owner="x"))
    await scene.until(lambda: ("serving", "somebody-elses") in pods_of(scene).objects)
    assert held(scene), "it may be the moment between two watches"
    scene.at += 1
    scene.held.put(pod("another", owner="x"))
    await scene.until(lambda: not held(scene))
    assert len(scene.model.replicas) == 4


async def test_a_doubt_that_no_list_ends_is_looked_into_ever_more_seldom(begin: Begin):
    scene = await begin(fleet("llama"), *objects()[:-1])  # its controller does not run
    pods, lists = pods_of(scene), []
    for number in range(200):
        assert held(scene)
        before = scene.server.count("list")
        scene.at += 5
        if pods._held.is_reread_due:
            await pods._list()
            lists.append(number * 5)
            assert scene.server.count("list") == before + 1
    pauses_s = [after - before for before, after in pairwise(lists)]
    assert pauses_s[:4] == [30, 60, 120, 240]
    assert lists[0] == 10


async def test_pods_being_deleted_are_still_there(begin: Begin):
    """The controller has counted two, and four are listed: as in the middle of any scale-down."""
    items = objects()
    items[2]["status"] = {**FOUR, "replicas": 2}
    scene = await begin(fleet("llama"), *items)
    assert held(scene) == ""
    leaving = pod("llama-3", owner="llama-1", node="n1", deleting=True)
    scene.held.put(leaving)
    await scene.until(lambda: bool(scene.model.replicas.deleting.any()))
    assert held(scene) == ""


def garbled(item: Json, **metadata: Any) -> Json:
    return {**item, "status": "x", "metadata": {**item["metadata"], **metadata}}


@pytest.mark.parametrize(
    ("item", "holds"),
    [
        pytest.param(garbled(pod("new", owner="llama-1")), ["llama"], id="a pod of its set"),
        pytest.param(garbled(pod("new", owner="qwen-1")), ["qwen"], id="a pod of the other's set"),
        pytest.param(garbled(pod("x", owner="who")), [], id="a pod of a stranger"),
        pytest.param(garbled(pod("x", owner="who"), ownerReferences=[]), [], id="a pod of nobody"),
        pytest.param(
            garbled(pod("llama-77bc-4zx8k", owner="llama-77bc")),
            ["llama"],
            id="a pod of a set that is not known yet",
        ),
        pytest.param(
            garbled(pod("qwen-1-4zx8k", owner="who"), ownerReferences="x"),
            ["qwen"],
            id="a pod of whom only the name can be read",
        ),
        pytest.param(
            garbled(pod("llama-spot-77bc-4zx8k", owner="who"), ownerReferences="x"),
            [],
            id="a pod of a Deployment whose name begins alike",
        ),
        pytest.param(
            {**replica_set("llama-77bc", owner="llama"), "metadata": {
                "namespace": "serving", "name": "llama-77bc", "uid": "u", "ownerReferences": {}}},
            ["llama"],
            id="a set of which only the name can be read",
        ),
        pytest.param({**pod("x", owner="who"), "metadata": None}, ["llama", "qwen"], id="anybody's"),
    ],
)  # fmt: skip
async def test_what_is_new_and_unreadable_holds_those_it_could_belong_to(
    begin: Begin, item: Json, holds: list[str]
):
    both = FleetSpec(models=(model("llama"), model("qwen", name="qwen")))
    known = [*objects(), deployment("qwen"), replica_set("qwen-1", owner="qwen")]
    scene = await begin(both, *known)
    place = "/pods" if item["kind"] == "Pod" else "/replicasets"
    listed = [each for each in known if each["kind"] == item["kind"]]
    await relist(scene, place, [*listed, item])
    seen = scene.observe()
    assert [each.model for each in seen.doubts] == [f"serving/{name}" for name in holds]
    assert scene.cluster.unreadable_objects == 1
    assert any("cannot be read" in problem for problem in scene.cluster.problems()), "it is said"
    if holds == ["llama", "qwen"]:
        assert "it cannot be told whose it is" in seen.doubts[0].message


def test_names_that_controllers_make():
    assert may_be_named_by("llama-77bc", "llama", parts=1)
    assert may_be_named_by("llama-77bc-4zx8k", "llama", parts=2)
    assert not may_be_named_by("llama-77bc-4zx8k", "llama", parts=1)
    assert not may_be_named_by("llama", "llama", parts=1)
    assert not may_be_named_by("llamas-77bc", "llama", parts=1)
    long = "l" * 70
    assert may_be_named_by(f"{long}-77bc"[:58] + "4zx8k", long, parts=2), "the API server cuts it"
    assert not may_be_named_by(f"{long}-77bc"[:58] + "4zx8k", "m" * 70, parts=2)


async def test_a_list_of_nodes_that_is_suddenly_empty_is_not_believed(begin: Begin):
    scene = await begin(fleet("llama"), *objects(), timing=Timing(backoff_s_max=0.5))
    await relist(scene, "/nodes", [])
    seen = scene.observe()
    assert seen.nodes.exists.all()
    assert seen.nodes.name == ("n0", "n1")
    assert seen.interruptions == ()
    assert scene.noticed == []
    assert "it is empty, and 2 were known" in scene.cluster._caches.nodes.problem


async def test_where_no_node_was_ever_listed_none_is_gone(begin: Begin):
    scene = await begin(fleet("llama"), *objects()[2:])
    scene.held.version += 100
    seen = scene.observe()
    assert seen.nodes.exists.all()
    assert seen.interruptions == ()
    (problem,) = scene.cluster.problems()
    assert "none is listed, and pods are bound" in problem


async def test_a_node_that_cannot_be_read_is_neither_gone_nor_forgotten(begin: Begin):
    scene = await begin(fleet("llama"), *objects())
    broken = {**node("n0"), "status": ["x"]}
    scene.held.put(broken)
    await scene.until(lambda: scene.cluster.unreadable_objects == 1)
    seen = scene.observe()
    assert seen.nodes.name == ("n0", "n1")
    assert seen.nodes.exists.all()
    assert seen.nodes.ready.all()
    assert held(scene) == "", "what was known of it stays"


async def test_a_node_that_is_listed_without_a_name_may_be_any_that_is_missing(begin: Begin):
    scene = await begin(fleet("llama"), *objects())
    scene.held.version += 100
    nameless = {"metadata": "", "spec": {}, "status": {}}
    await relist(scene, "/nodes", [nameless, node("n1")])
    seen = scene.observe()
    assert seen.nodes.exists.all()
    assert seen.interruptions == (), "nothing is raised on a guess"


# -- who belongs to whom


def reference(kind: str, uid: str, **more: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": "x",
        "uid": uid,
        "controller": True,
        **more,
    }


async def test_a_set_of_another_namespace_owns_nothing_here(begin: Begin):
    """As tried: a ReplicaSet in A names the uid of B's Deployment, with pods that claim to be busy."""
    both = FleetSpec(models=(model("llama"), model("qwen", namespace="other", name="qwen")))
    forged = replica_set("forged", owner="llama", namespace="other")
    scene = await begin(
        both,
        *objects(),
        deployment("qwen", namespace="other"),
        forged,
        *(pod(f"forged-{n}", owner="forged", namespace="other", node="n0") for n in range(3)),
    )
    llama, qwen = sorted(scene.observe().models, key=lambda each: each.model, reverse=True)
    assert llama.replicas.name == tuple(f"llama-{n}" for n in range(4))
    assert len(qwen.replicas) == 0


@pytest.mark.parametrize(
    ("of_set", "of_pod"),
    [
        pytest.param(reference("StatefulSet", "uid-llama"), None, id="a StatefulSet of that uid"),
        pytest.param(
            reference("Deployment", "uid-llama", apiVersion="evil.example/v1"), None, id="group"
        ),
        pytest.param(
            reference("Deployment", "uid-llama", controller=False), None, id="no controller"
        ),
        pytest.param(None, reference("Job", "uid-llama-1"), id="a Job of that uid"),
        pytest.param(None, reference("ReplicaSet", "uid-llama-1", controller=False), id="an owner"),
        pytest.param(None, reference("Deployment", "uid-llama"), id="the Deployment itself"),
        pytest.param(None, reference("ReplicaSet", ""), id="no uid"),
    ],
)
async def test_owners_are_of_the_kind_that_makes_them(
    begin: Begin, of_set: Json | None, of_pod: Json | None
):
    theirs = replica_set("theirs", owner="llama")
    theirs["metadata"]["ownerReferences"] = [of_set or owned("Deployment", "llama")]
    stray = pod("stray", owner="theirs" if of_set else "llama-1")
    if of_pod is not None:
        stray["metadata"]["ownerReferences"] = [of_pod]
    scene = await begin(fleet("llama"), *objects(), theirs, stray)
    assert scene.model.replicas.name == tuple(f"llama-{n}" for n in range(4))


# -- promises that cannot be read


@pytest.mark.parametrize(
    "text",
    [
        "by hand",
        "[" * 2000,
        '[{"node":"n","replicas":1,"since":' + "9" * 400 + "}]",
        '[{"node":"n","replicas":1,"since":1e300}]',
        '[{"node":"n","replicas":' + "9" * 5000 + ',"since":1}]',
    ],
)
async def test_junk_holds_its_pool_for_a_bounded_time_and_is_said(begin: Begin, text: str):
    items = objects()
    items[2]["metadata"]["annotations"] = {FALLBACK_ANNOTATION: text}
    scene = await begin(fleet("llama"), *items)
    (pool,) = scene.model.pools
    assert not pool.promises_readable
    assert pool.promises == ()
    (problem,) = scene.cluster.problems()
    assert FALLBACK_ANNOTATION in problem
    scene.at = AT + PROMISES_HELD_S - 1
    assert not scene.model.pools[0].promises_readable
    scene.at = AT + PROMISES_HELD_S
    assert scene.model.pools[0].promises_readable, "held long enough"
    assert scene.model.pools[0].promises == ()
    items[2]["metadata"]["annotations"] = {}
    scene.held.put(items[2])
    await scene.until(lambda: scene.model is not None and scene.cluster.problems() == ())
    items[2]["metadata"]["annotations"] = {FALLBACK_ANNOTATION: text}
    scene.held.put(items[2])
    await scene.until(lambda: not scene.model.pools[0].promises_readable)
