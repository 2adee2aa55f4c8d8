"""The box answers as a real API server does: one story, told to both, with equal answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from simulations.box.local_cluster import LocalCluster
from tests.kube.control_plane import ControlPlane

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NS = "/api/v1/namespaces/serving"
PODS = f"{NS}/pods"
NODE = "/api/v1/nodes/n1"
DEPLOYMENTS = "/apis/apps/v1/namespaces/serving/deployments"
SCALE = f"{DEPLOYMENTS}/llama/scale"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/serving/leases"
BUDGETS = "/apis/policy/v1/namespaces/serving/poddisruptionbudgets"
MERGE, STRATEGIC = (f"application/{kind}-patch+json" for kind in ("merge", "strategic-merge"))
CONTAINER = {"name": "vllm", "image": "vllm/vllm-openai"}


class Teller:
    """Tells the story to one server, and notes its answers."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.notes: list[tuple[str, Any]] = []

    async def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **q: str
    ) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind}
        async with self.http.request(
            method, path, data=content, headers=headers, params=q
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    async def note(
        self,
        label: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        fields: tuple[str, ...] = (),
        kind: str = "application/json",
        **q: str,
    ) -> Any:
        """Make a call and note its code and, of an object some fields, of a failure the reason."""
        code, answer = await self.call(method, path, body, kind=kind, **q)
        if answer.get("kind") == "Status" and answer.get("status") == "Failure":
            causes = [c.get("reason") for c in answer.get("details", {}).get("causes", ())]
            self.notes.append((label, (code, answer.get("reason"), causes if code == 429 else [])))
        else:
            self.notes.append((label, (code, {field: at(answer, field) for field in fields})))
        return answer


def at(answer: Any, path: str) -> Any:
    """What stands at a dotted path; `absent` where nothing does."""
    for part in path.split("."):
        if isinstance(answer, list):
            answer = answer[int(part)] if part.isdigit() else [item.get(part) for item in answer]
        elif not isinstance(answer, dict) or part not in answer:
            return "absent"
        else:
            answer = answer[part]
    return answer


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "namespace": "serving"},
        "spec": {
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {
                "metadata": {"labels": {"app": "llama"}},
                "spec": {"containers": [CONTAINER]},
            },
            **spec,
        },
    }


def pod(name: str, *, node: str | None = "n1", app: str = "llama") -> dict[str, Any]:
    spec = {"containers": [CONTAINER], **({"nodeName": node} if node else {})}
    metadata = {"name": name, "namespace": "serving", "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def scales(teller: Teller) -> None:
    note = teller.note
    fields = ("spec.replicas", "metadata.generation", "spec.template.spec.restartPolicy")
    await note("create", "POST", DEPLOYMENTS, deployment(), fields=fields)
    await note("create again", "POST", DEPLOYMENTS, deployment())
    await note("get missing", "GET", f"{DEPLOYMENTS}/absent")
    wrong = deployment(selector={"matchLabels": {"app": "other"}})
    wrong["metadata"]["name"] = "wrong"
    await note("selector and labels differ", "POST", DEPLOYMENTS, wrong)
    fields = ("kind", "apiVersion", "spec.replicas", "status.replicas", "status.selector")
    scale = await note("scale", "GET", SCALE, fields=fields)
    scale["spec"]["replicas"] = 4
    await note("scale, written", "PUT", SCALE, scale, fields=("kind", "spec.replicas"))
    await note("scale, stale", "PUT", SCALE, scale)
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 5}}
    await note("scale, patched stale", "PATCH", SCALE, stale, kind=MERGE)
    body = {"spec": {"replicas": 2}}
    await note("scale, patched", "PATCH", SCALE, body, kind=MERGE, fields=("spec.replicas",))
    negative = {"spec": {"replicas": -1}}
    await note("scale, negative", "PATCH", SCALE, negative, kind=MERGE)
    await note("unknown patch type", "PATCH", SCALE, body, kind="text/plain")
    fields = ("spec.replicas", "metadata.generation")
    before = await note("get", "GET", f"{DEPLOYMENTS}/llama", fields=fields)
    await note("the same again", "PATCH", SCALE, body, kind=MERGE)
    _, after = await teller.call("GET", f"{DEPLOYMENTS}/llama")
    unchanged = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    teller.notes.append(("no change, no version", unchanged))
    annotated = {"metadata": {"annotations": {"a": "1"}}}
    fields = ("metadata.annotations", "metadata.generation")
    path = f"{DEPLOYMENTS}/llama"
    await note("annotate", "PATCH", path, annotated, kind=MERGE, fields=("metadata.annotations",))
    removed = {"metadata": {"annotations": {"a": None}}}
    await note("annotation removed", "PATCH", path, removed, kind=MERGE, fields=fields)
    await note("delete", "DELETE", path, fields=("kind", "status", "details.name"))
    await note("collection updated", "PUT", DEPLOYMENTS, deployment())
    await note("created by name", "POST", path, deployment())


async def nodes(teller: Teller) -> None:
    note = teller.note
    node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}}
    await note("create", "POST", "/api/v1/nodes", node, fields=("metadata.name",))
    patch = {
        "metadata": {"annotations": {"a": "1", "b": "2"}},
        "spec": {"unschedulable": True, "taints": [{"key": "x", "effect": "NoSchedule"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    fields = ("metadata.annotations", "spec.unschedulable", "status.conditions")
    await note("cordon; status is another path's", "PATCH", NODE, patch, kind=MERGE, fields=fields)
    fields = ("metadata.annotations", "spec.unschedulable")
    lifted = {"metadata": {"annotations": {"a": None}}, "spec": {"unschedulable": None}}
    await note("uncordon", "PATCH", NODE, lifted, kind=MERGE, fields=fields)
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"unschedulable": True}}
    await note("stale", "PATCH", NODE, stale, kind=MERGE)


async def leases(teller: Teller) -> None:
    note = teller.note
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "one", "namespace": "serving"},
        "spec": {
            "holderIdentity": "a",
            "leaseDurationSeconds": 10,
            "acquireTime": "2026-11-30T22:00:00.000000Z",
            "renewTime": "2026-11-30T22:00:00.000001Z",
            "leaseTransitions": 0,
        },
    }
    made = await note("lease", "POST", LEASES, body, fields=("kind", "spec"))
    await note("lease, again", "POST", LEASES, body)
    uid = made["metadata"]["uid"]
    made["spec"]["renewTime"] = "2026-11-30T22:00:02.000000Z"
    await note("renewed", "PUT", f"{LEASES}/one", made, fields=("spec",))
    await note("renewed, stale", "PUT", f"{LEASES}/one", made)
    now = await note("read", "GET", f"{LEASES}/one", fields=("spec",))
    teller.notes.append(("the same object", now["metadata"]["uid"] == uid))
    other = {**now, "metadata": {**now["metadata"], "uid": "00000000-0000-4000-8000-000000000000"}}
    await note("another's uid", "PUT", f"{LEASES}/one", other)
    given = {**now, "spec": {**now["spec"], "holderIdentity": ""}}
    given = await note("given back", "PUT", f"{LEASES}/one", given, fields=("spec",))
    await teller.call("DELETE", f"{LEASES}/one")
    await note("written when it is gone", "PUT", f"{LEASES}/one", given)
    await note("it is gone", "GET", f"{LEASES}/one")
    await teller.call("POST", LEASES, body)
    await note("written when it is another", "PUT", f"{LEASES}/one", given)


async def endings(teller: Teller) -> None:
    note, call = teller.note, teller.call
    grace = ("kind", "metadata.deletionGracePeriodSeconds")
    for name in ("a", "b", "c", "d"):
        await note(f"create {name}", "POST", PODS, pod(name), fields=("status.phase",))
    await note("unbound", "POST", PODS, pod("u", node=None), fields=("spec.nodeName",))
    await note("unbound goes at once", "DELETE", f"{PODS}/u", fields=("kind",))
    await note("it is gone", "GET", f"{PODS}/u")
    wrong = {"preconditions": {"uid": "another"}}
    await note("another uid", "DELETE", f"{PODS}/a", wrong)
    await note("delete", "DELETE", f"{PODS}/a", fields=grace)
    await note("shorter", "DELETE", f"{PODS}/a", {"gracePeriodSeconds": 5}, fields=grace)
    await note("longer", "DELETE", f"{PODS}/a", {"gracePeriodSeconds": 20}, fields=grace)
    await note("at once", "DELETE", f"{PODS}/a", gracePeriodSeconds="0", fields=("kind",))
    await note("gone", "DELETE", f"{PODS}/a")
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    for name in ("b", "c", "d"):
        await call("PATCH", f"{PODS}/{name}/status", ready, kind=STRATEGIC)

    async def evict(label: str, name: str, **options: Any) -> None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": "serving"},
            "deleteOptions": options,
        }
        await note(label, "POST", f"{PODS}/{name}/eviction", body, fields=("kind", "status"))

    await evict("evict", "b", gracePeriodSeconds=7)
    conditions = "status.conditions.reason"
    await note("evicted", "GET", f"{PODS}/b", fields=("metadata.deletionGracePeriodSeconds",))
    _, evicted = await call("GET", f"{PODS}/b")
    teller.notes.append(("why", "EvictionByEvictionAPI" in at(evicted, conditions)))
    await evict("evict what is not there", "none")
    await evict("evict another uid", "c", preconditions={"uid": "another"})
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "keep", "namespace": "serving"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "llama"}}},
    }
    await note("budget", "POST", BUDGETS, budget, fields=("spec.minAvailable",))
    # what the disruption controller would write; the box counts for itself
    used_up = {
        "observedGeneration": 1,
        "disruptionsAllowed": 0,
        "currentHealthy": 2,
        "desiredHealthy": 2,
        "expectedPods": 2,
    }
    await call("PATCH", f"{BUDGETS}/keep/status", {"status": used_up}, kind=MERGE)
    await evict("evict beyond the budget", "c")
    await evict("evict what is ending already", "b")
    budget["metadata"]["name"] = "keep-too"
    await call("POST", BUDGETS, budget)
    await evict("evict under two budgets", "c")


async def lists(teller: Teller) -> None:
    note = teller.note
    for name, app in (("l1", "x"), ("l2", "x"), ("l3", "y"), ("l4", "y"), ("l5", "z")):
        await teller.call("POST", PODS, pod(name, app=app))

    async def listed(label: str, **query: str) -> None:
        code, answer = await teller.call("GET", PODS, **query)
        names = [item["metadata"]["name"] for item in answer.get("items", ())]
        teller.notes.append((label, (code, answer["kind"], names)))

    only = "app in (x,y,z)"
    await listed("selected", labelSelector=only)
    await listed("not", labelSelector="app notin (x,llama),app!=y")
    await listed("exists", labelSelector="app,!none")
    await listed("field", fieldSelector="metadata.name=l3")
    await listed(
        "field, not", fieldSelector="metadata.name!=l3,spec.nodeName=n1", labelSelector=only
    )
    await note("bad label selector", "GET", PODS, labelSelector="a=b=c")
    await note("bad field selector", "GET", PODS, fieldSelector="spec.color=red")


async def watches(teller: Teller) -> None:
    _, listed = await teller.call("GET", PODS)
    query = {
        "watch": "true",
        "resourceVersion": listed["metadata"]["resourceVersion"],
        "labelSelector": "app=watched",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "3",
    }
    async with teller.http.get(PODS, params=query) as stream:
        await teller.call("POST", PODS, pod("w1", app="watched"))
        await teller.call("POST", PODS, pod("other", app="other"))
        relabel = {"metadata": {"labels": {"app": "gone"}}}
        await teller.call("PATCH", f"{PODS}/w1", relabel, kind=MERGE)
        relabel = {"metadata": {"labels": {"app": "watched", "more": "1"}}}
        await teller.call("PATCH", f"{PODS}/w1", relabel, kind=MERGE)
        relabel = {"metadata": {"labels": {"more": "2"}}}
        await teller.call("PATCH", f"{PODS}/w1", relabel, kind=MERGE)
        await teller.call("DELETE", f"{PODS}/w1", gracePeriodSeconds="0")
        events = [json.loads(line) async for line in stream.content]
    told = [
        (event["type"], event["object"]["metadata"].get("labels", {}))
        for event in events
        if event["type"] != "BOOKMARK"
    ]
    teller.notes.append(("events", told))
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    teller.notes.append(("versions grow", versions == sorted(versions)))
    teller.notes.append(("ends with a bookmark", events[-1]["type"] == "BOOKMARK"))
    query = {"watch": "true", "resourceVersion": "1", "timeoutSeconds": "1"}
    async with teller.http.get(NS.rpartition("/")[0], params=query) as stream:
        teller.notes.append(("watch of all namespaces", stream.status))


STORIES = (scales, nodes, leases, endings, lists, watches)


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    control_plane = ControlPlane(folder)
    await control_plane.script("start")
    try:
        kubeconfig = yaml.safe_load((folder / "admin.kubeconfig").read_text())
        context = ssl.create_default_context(cafile=str(folder / "pki" / "ca.crt"))
        context.load_cert_chain(folder / "pki" / "admin.crt", folder / "pki" / "admin.key")
        connector = aiohttp.TCPConnector(ssl=context)
        server = kubeconfig["clusters"][0]["cluster"]["server"]
        async with aiohttp.ClientSession(server, connector=connector) as http:
            await named(http, "/api/v1/namespaces", "serving")
            await named(http, f"{NS}/serviceaccounts", "default")
            yield http
    finally:
        await control_plane.script("stop")


@asynccontextmanager
async def box() -> AsyncIterator[aiohttp.ClientSession]:
    async with LocalCluster(controllers=False) as cluster:
        cluster.apply({"kind": "Namespace", "metadata": {"name": "serving"}})
        async with aiohttp.ClientSession(cluster.api.url) as http:
            yield http


async def named(http: aiohttp.ClientSession, path: str, name: str) -> None:
    async with http.post(path, json={"metadata": {"name": name}}) as answer:
        assert answer.status in {201, 409}, await answer.text()


async def test_the_box_answers_as_a_real_api_server_does(tmp_path: Path):
    async with real(tmp_path / "real") as real_http, box() as box_http:
        for story in STORIES:
            tellers = [Teller(http) for http in (real_http, box_http)]
            await asyncio.gather(*(story(teller) for teller in tellers))
            said = [[(story.__name__, *note) for note in teller.notes] for teller in tellers]
            differences = [
                (real_note, box_note)
                for real_note, box_note in zip(*said, strict=True)
                if real_note != box_note
            ]
            assert differences == []
