"""The API server of the cluster in a box, as HTTP clients and kubernetes_asyncio see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from simulations.box.local_cluster import ApiFault, ApiFaultKind, LocalCluster

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llama", "namespace": "serving"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "llama"}},
        "template": {
            "metadata": {"labels": {"app": "llama"}},
            "spec": {"containers": [{"name": "vllm", "image": "vllm/vllm-openai"}]},
        },
    },
}
SCALE = "/apis/apps/v1/namespaces/serving/deployments/llama/scale"
PODS = "/api/v1/namespaces/serving/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}


def pod(name: str, *, node: str = "", ready: bool = True, labels: dict[str, str] | None = None):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "serving", "labels": labels or {"app": "llama"}},
        "spec": {"containers": [], **({"nodeName": node} if node else {})},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    async with LocalCluster(controllers=False) as made:
        yield made


@pytest.fixture
async def http(cluster: LocalCluster) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(cluster.api.url, timeout=timeout) as session:
        yield session


async def call(
    http: aiohttp.ClientSession, method: str, path: str, body: Any = None, **kwargs: Any
) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body)
    async with http.request(method, path, data=content, **kwargs) as answer:
        return answer.status, await answer.json()


class Watch:
    """A watch whose events are read one by one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> dict[str, Any] | None:
        line = await self.answer.content.readline()
        return json.loads(line) if line else None

    async def kinds(self, count: int) -> list[tuple[str, str]]:
        found = []
        for _ in range(count):
            event = await self.next()
            assert event is not None
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
        return found


@asynccontextmanager
async def watch(http: aiohttp.ClientSession, path: str, **query: str) -> AsyncIterator[Watch]:
    async with http.get(path, params={"watch": "true", **query}) as answer:
        yield Watch(answer)


# -- reading


async def test_what_clients_ask_first(http: aiohttp.ClientSession):
    for path, kind in (
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/api/v1", "APIResourceList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
    ):
        status, answer = await call(http, "GET", path)
        assert (status, answer["kind"]) == (200, kind)
    assert (await call(http, "GET", "/version"))[1]["gitVersion"].startswith("v1.")
    status, answer = await call(http, "GET", "/apis/batch/v1/jobs")
    assert (status, answer["kind"], answer["reason"]) == (404, "Status", "NotFound")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"labelSelector": "app=llama"}, ["a", "b"]),
        ({"labelSelector": "app!=llama"}, ["c"]),
        ({"labelSelector": "app in (llama,qwen),tier"}, ["b"]),
        ({"labelSelector": "!tier"}, ["a", "c"]),
        ({"labelSelector": "app notin (llama)"}, ["c"]),
        ({"fieldSelector": "spec.nodeName=n1"}, ["a"]),
        ({"fieldSelector": "spec.nodeName!=n1,metadata.name=c"}, ["c"]),
        ({"limit": "1"}, ["a", "b", "c"]),
    ],
)
async def test_selectors(
    cluster: LocalCluster, http: aiohttp.ClientSession, query: dict[str, str], names: list[str]
):
    cluster.apply(pod("a", node="n1"))
    cluster.apply(pod("b", labels={"app": "llama", "tier": "spot"}))
    cluster.apply(pod("c", labels={"app": "mistral"}))
    _, answer = await call(http, "GET", "/api/v1/pods", params=query)
    assert [o["metadata"]["name"] for o in answer["items"]] == names


async def test_bad_selectors_are_refused(http: aiohttp.ClientSession):
    for query in ({"labelSelector": "a=b=c"}, {"fieldSelector": "spec.color=red"}):
        status, answer = await call(http, "GET", PODS, params=query)
        assert (status, answer["reason"]) == (400, "BadRequest")


# -- watching


async def test_a_watch_from_no_version_is_refused_before_it_begins(http: aiohttp.ClientSession):
    for name in ("resourceVersion", "timeoutSeconds"):
        status, answer = await call(http, "GET", PODS, params={"watch": "true", name: "2026-01-01"})
        assert (status, answer["reason"]) == (400, "BadRequest")


async def test_watch_from_a_list(cluster: LocalCluster, http: aiohttp.ClientSession):
    cluster.apply(pod("a"))
    _, listed = await call(http, "GET", PODS)
    version = listed["metadata"]["resourceVersion"]
    async with watch(http, PODS, resourceVersion=version) as seen:
        cluster.apply(pod("b"))
        cluster.apply(pod("a", node="n1"))
        cluster.store.remove("pods", "serving", "b")
        cluster.apply({**pod("z"), "metadata": {"name": "z", "namespace": "elsewhere"}})
        cluster.store.remove("pods", "serving", "a")
        assert await seen.kinds(4) == [
            ("ADDED", "b"),
            ("MODIFIED", "a"),
            ("DELETED", "b"),
            ("DELETED", "a"),
        ]


async def test_watch_from_nowhere_begins_with_what_there_is(
    cluster: LocalCluster, http: aiohttp.ClientSession
):
    cluster.apply(pod("a"))
    async with watch(http, PODS, resourceVersion="0") as seen:
        assert await seen.kinds(1) == [("ADDED", "a")]


async def test_leaving_a_selection_is_a_deletion(
    cluster: LocalCluster, http: aiohttp.ClientSession
):
    cluster.apply(pod("a"))
    async with watch(http, PODS, labelSelector="app=llama") as seen:
        assert await seen.kinds(1) == [("ADDED", "a")]
        cluster.apply(pod("a", labels={"app": "other"}))
        cluster.apply(pod("a", labels={"app": "llama"}))
        assert await seen.kinds(2) == [("DELETED", "a"), ("ADDED", "a")]


async def test_bookmarks_and_the_end_of_a_watch():
    async with (
        LocalCluster(controllers=False, bookmark_every_s=0.05) as cluster,
        aiohttp.ClientSession(cluster.api.url) as http,
        watch(
            http, PODS, resourceVersion="1", allowWatchBookmarks="true", timeoutSeconds="1"
        ) as seen,
    ):
        first = await seen.next()
        assert first is not None
        assert first["type"] == "BOOKMARK"
        assert first["object"]["metadata"]["resourceVersion"] == str(cluster.store.version)
        while await seen.next():
            pass  # it ends by itself


async def test_a_version_before_the_window_is_an_error_event():
    async with (
        LocalCluster(controllers=False, window=3) as cluster,
        aiohttp.ClientSession(cluster.api.url) as http,
    ):
        for n in range(5):
            cluster.apply(pod(f"p{n}"))
        async with watch(http, PODS, resourceVersion="1") as seen:
            event = await seen.next()
            assert event is not None
            assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
            assert await seen.next() is None


# -- writing


async def test_scale_is_read_and_written(cluster: LocalCluster, http: aiohttp.ClientSession):
    cluster.apply(DEPLOYMENT)
    _, scale = await call(http, "GET", SCALE)
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"]["selector"] == "app=llama"
    scale["spec"]["replicas"] = 5
    status, written = await call(http, "PUT", SCALE, scale)
    assert (status, written["spec"]["replicas"]) == (200, 5)
    assert written["metadata"]["resourceVersion"] != scale["metadata"]["resourceVersion"]
    stored = cluster.store.get("deployments", "serving", "llama")
    assert (stored["spec"]["replicas"], stored["metadata"]["generation"]) == (5, 2)


async def test_a_stale_scale_conflicts(cluster: LocalCluster, http: aiohttp.ClientSession):
    cluster.apply(DEPLOYMENT)
    _, scale = await call(http, "GET", SCALE)
    await call(http, "PATCH", SCALE, {"spec": {"replicas": 3}}, headers=MERGE)
    scale["spec"]["replicas"] = 9
    status, answer = await call(http, "PUT", SCALE, scale)
    assert (status, answer["reason"]) == (409, "Conflict")
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}}
    status, _ = await call(http, "PATCH", SCALE, stale, headers=MERGE)
    assert status == 409
    assert cluster.store.get("deployments", "serving", "llama")["spec"]["replicas"] == 3


async def test_what_is_not_taken(cluster: LocalCluster, http: aiohttp.ClientSession):
    cluster.apply(DEPLOYMENT)
    status, answer = await call(http, "PATCH", SCALE, {"spec": {"replicas": -1}}, headers=MERGE)
    assert (status, answer["reason"]) == (422, "Invalid")
    for kind in ("json-patch+json", "apply-patch+yaml"):
        headers = {"Content-Type": f"application/{kind}"}
        assert (await call(http, "PATCH", SCALE, {}, headers=headers))[0] == 415
    assert (await call(http, "PATCH", SCALE, {}, headers=MERGE, params={"dryRun": "All"}))[0] == 400
    assert (await call(http, "PUT", SCALE.removesuffix("/scale"), DEPLOYMENT))[0] == 405
    assert (await call(http, "POST", "/api/v1/namespaces/absent/pods", pod("a")))[0] == 404


async def test_patches_of_a_node(cluster: LocalCluster, http: aiohttp.ClientSession):
    metadata = {"name": "n1", "annotations": {"a": "1", "b": "2"}}
    cluster.apply({"kind": "Node", "metadata": metadata, "spec": {}})
    patch = {
        "metadata": {"annotations": {"a": None, "c": "3"}},
        "spec": {"unschedulable": True, "taints": [{"key": "x", "effect": "NoSchedule"}]},
        "status": {"conditions": []},  # not this path's to change
    }
    status, node = await call(http, "PATCH", "/api/v1/nodes/n1", patch, headers=MERGE)
    assert status == 200
    assert node["metadata"]["annotations"] == {"b": "2", "c": "3"}
    assert node["spec"]["unschedulable"] is True
    assert "status" not in node


async def test_a_strategic_patch_merges_containers_by_name(
    cluster: LocalCluster, http: aiohttp.ClientSession
):
    """As `kubectl apply` of a changed manifest sends it."""
    cluster.apply(DEPLOYMENT)
    containers = [{"name": "vllm", "args": ["--port=1"]}, {"name": "side", "image": "s"}]
    patch = {"$setElementOrder/containers": [{"name": "vllm"}], "containers": containers}
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    _, patched = await call(
        http,
        "PATCH",
        SCALE.removesuffix("/scale"),
        {"spec": {"template": {"spec": patch}}},
        headers=headers,
    )
    spec = patched["spec"]["template"]["spec"]
    assert [name for name in spec if name.startswith("$")] == []
    assert spec["containers"] == [
        {"name": "vllm", "image": "vllm/vllm-openai", "args": ["--port=1"]},
        {"name": "side", "image": "s"},
    ]


async def test_a_write_that_changes_nothing_makes_no_version(
    cluster: LocalCluster, http: aiohttp.ClientSession
):
    cluster.apply(DEPLOYMENT)
    version = cluster.store.version
    await call(http, "PATCH", SCALE, {"spec": {"replicas": 2}}, headers=MERGE)
    assert cluster.store.version == version


async def test_deleting_a_pod_takes_its_grace(cluster: LocalCluster, http: aiohttp.ClientSession):
    cluster.apply(pod("bound", node="n1"))
    cluster.apply(pod("waiting"))
    status, answer = await call(http, "DELETE", f"{PODS}/bound")
    assert status == 200
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 30
    assert "deletionTimestamp" in answer["metadata"]
    _, answer = await call(http, "DELETE", f"{PODS}/bound", {"gracePeriodSeconds": 5})
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 5
    _, answer = await call(http, "DELETE", f"{PODS}/bound", {"gracePeriodSeconds": 20})
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 5  # it only ever shrinks
    wrong = {"preconditions": {"uid": "another"}}
    assert (await call(http, "DELETE", f"{PODS}/bound", wrong))[0] == 409
    await call(http, "DELETE", f"{PODS}/waiting")  # no kubelet holds it
    await call(http, "DELETE", f"{PODS}/bound", params={"gracePeriodSeconds": "0"})
    assert cluster.store.all("pods") == []


# -- eviction


def eviction(name: str, grace_s: int | None = None) -> dict[str, Any]:
    options = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": "serving"},
        "deleteOptions": options,
    }


def budget(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "serving"},
        "spec": {"selector": {"matchLabels": {"app": "llama"}}, **spec},
    }


async def test_eviction_begins_a_deletion(cluster: LocalCluster, http: aiohttp.ClientSession):
    cluster.apply(pod("a", node="n1"))
    status, _ = await call(http, "POST", f"{PODS}/a/eviction", eviction("a", 7))
    assert status == 201
    evicted = cluster.store.get("pods", "serving", "a")
    assert evicted["metadata"]["deletionGracePeriodSeconds"] == 7
    reasons = {c["type"]: c.get("reason") for c in evicted["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"
    assert (await call(http, "POST", f"{PODS}/b/eviction", eviction("b")))[0] == 404


async def test_a_used_up_budget_refuses(cluster: LocalCluster, http: aiohttp.ClientSession):
    for name in ("a", "b"):
        cluster.apply(pod(name, node="n1"))
    cluster.apply(budget("keep", minAvailable=1))
    assert (await call(http, "POST", f"{PODS}/a/eviction", eviction("a")))[0] == 201
    status, answer = await call(http, "POST", f"{PODS}/b/eviction", eviction("b"))
    assert (status, answer["reason"]) == (429, "TooManyRequests")
    cause = answer["details"]["causes"][0]
    assert cause["reason"] == "DisruptionBudget"
    assert "keep needs 1 healthy pods and has 1 currently" in cause["message"]


async def test_budgets_and_pods_that_are_not_ready(
    cluster: LocalCluster, http: aiohttp.ClientSession
):
    cluster.apply(pod("loading", node="n1", ready=False))
    cluster.apply(budget("keep", minAvailable=1))
    assert (await call(http, "POST", f"{PODS}/loading/eviction", eviction("loading")))[0] == 429
    cluster.apply(budget("keep", minAvailable=1, unhealthyPodEvictionPolicy="AlwaysAllow"))
    assert (await call(http, "POST", f"{PODS}/loading/eviction", eviction("loading")))[0] == 201


async def test_two_budgets_are_a_server_error(cluster: LocalCluster, http: aiohttp.ClientSession):
    cluster.apply(pod("a", node="n1"))
    cluster.apply(budget("one", maxUnavailable="50%"))
    cluster.apply(budget("two", maxUnavailable=1))
    assert (await call(http, "POST", f"{PODS}/a/eviction", eviction("a")))[0] == 500


# -- faults


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        (ApiFaultKind.BAD_GATEWAY, 502, "text/html"),
        (ApiFaultKind.UNAVAILABLE, 503, "application/json"),
        (ApiFaultKind.FORBIDDEN, 403, "application/json"),
        (ApiFaultKind.CONFLICT, 409, "application/json"),
        (ApiFaultKind.GONE, 410, "application/json"),
        (ApiFaultKind.SLOW, 200, "application/json"),
    ],
)
async def test_answers_of_a_bad_day(
    cluster: LocalCluster,
    http: aiohttp.ClientSession,
    kind: ApiFaultKind,
    status: int,
    content_type: str,
):
    cluster.apply(DEPLOYMENT)
    fault = ApiFault(kind=kind, verbs=frozenset({"get"}), resource="deployments/scale", times=1)
    cluster.faults.inject(fault)
    async with http.get(PODS) as other:
        assert other.status == 200
    async with http.get(SCALE) as answer:
        assert (answer.status, answer.content_type) == (status, content_type)
    async with http.get(SCALE) as answer:
        assert answer.status == 200  # it struck once
    assert fault.hits == 1


@pytest.mark.parametrize(("kind", "pods"), [(ApiFaultKind.RESET, 0), (ApiFaultKind.ANSWER_LOST, 1)])
async def test_a_reset_before_or_after_the_deed(
    cluster: LocalCluster, http: aiohttp.ClientSession, kind: ApiFaultKind, pods: int
):
    cluster.apply(DEPLOYMENT)
    cluster.faults.inject(ApiFault(kind=kind, times=1))
    with pytest.raises(aiohttp.ClientError):
        await call(http, "POST", PODS, pod("a"))  # aiohttp repeats a GET by itself
    assert len(cluster.store.all("pods")) == pods


async def test_a_hanging_request_goes_on_when_the_fault_is_lifted(
    cluster: LocalCluster, http: aiohttp.ClientSession
):
    cluster.apply(DEPLOYMENT)
    with cluster.faults.during(ApiFault(kind=ApiFaultKind.HANG)) as fault:
        hanging = asyncio.create_task(call(http, "GET", SCALE))
        await cluster.faults.hit(fault)
        assert not hanging.done()
    status, _ = await hanging
    assert status == 200


async def test_an_open_watch_ends_with_a_word(cluster: LocalCluster, http: aiohttp.ClientSession):
    async with watch(http, PODS, resourceVersion=str(cluster.store.version)) as seen:
        cluster.faults.inject(ApiFault(kind=ApiFaultKind.GONE, verbs=frozenset({"watch"}), times=1))
        event = await seen.next()
        assert event is not None
        assert event["object"]["code"] == 410
        assert await seen.next() is None


async def test_an_open_watch_is_cut(cluster: LocalCluster, http: aiohttp.ClientSession):
    async with watch(http, PODS, resourceVersion=str(cluster.store.version)) as seen:
        fault = ApiFault(kind=ApiFaultKind.RESET, verbs=frozenset({"watch"}), times=1)
        cluster.faults.inject(fault)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await seen.next()


async def test_a_silent_watch_says_nothing_until_the_fault_is_lifted(
    cluster: LocalCluster, http: aiohttp.ClientSession
):
    version = str(cluster.store.version)
    async with watch(http, PODS, resourceVersion=version, timeoutSeconds="600") as seen:
        with cluster.faults.during(
            ApiFault(kind=ApiFaultKind.HANG, verbs=frozenset({"watch"}))
        ) as fault:
            await cluster.faults.hit(fault)
            cluster.apply(pod("a"))
            reading = asyncio.create_task(seen.kinds(1))
            status, _ = await call(http, "GET", PODS)  # only the watch is dead
            assert status == 200
            assert not reading.done()
        assert await reading == [("ADDED", "a")]


async def test_the_api_server_goes_and_comes_back(cluster: LocalCluster):
    cluster.apply(DEPLOYMENT)
    async with aiohttp.ClientSession() as http:
        async with watch(http, f"{cluster.api.url}{PODS}") as seen:
            await cluster.api.stop()
            with pytest.raises((aiohttp.ClientError, AssertionError)):
                await seen.kinds(1)
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(f"{cluster.api.url}{SCALE}")
        port = cluster.api.port
        await cluster.api.start()
        assert cluster.api.port == port
        async with http.get(f"{cluster.api.url}{SCALE}") as answer:
            assert answer.status == 200


# -- the real client


@pytest.mark.slow
async def test_kubernetes_asyncio_reads_watches_and_writes(cluster: LocalCluster):
    from kubernetes_asyncio import client, config, watch

    cluster.apply(DEPLOYMENT)
    cluster.apply(pod("a", node="n1"))
    configuration = client.Configuration()
    await config.load_kube_config(
        config_file=str(cluster.kubeconfig), client_configuration=configuration
    )
    async with client.ApiClient(configuration) as api:
        apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
        scale = await apps.read_namespaced_deployment_scale("llama", "serving")
        scale.spec.replicas = 4
        written = await apps.replace_namespaced_deployment_scale("llama", "serving", scale)
        assert written.spec.replicas == 4
        with pytest.raises(client.ApiException) as conflict:
            await apps.replace_namespaced_deployment_scale("llama", "serving", scale)
        assert conflict.value.status == 409
        pods = await core.list_namespaced_pod("serving")
        async with watch.Watch() as events:
            stream = events.stream(
                core.list_namespaced_pod,
                "serving",
                resource_version=pods.metadata.resource_version,
                timeout_seconds=30,
            )
            body = client.V1Eviction(metadata=client.V1ObjectMeta(name="a", namespace="serving"))
            await core.create_namespaced_pod_eviction("a", "serving", body)
            event = await anext(stream)
            assert event["type"] == "MODIFIED"
    verbs = [(r.verb, r.resource) for r in cluster.api.requests]
    assert ("create", "pods/eviction") in verbs
