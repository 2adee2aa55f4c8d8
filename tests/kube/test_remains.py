"""What is left behind on a real API server, and what others wrote: the one goes, the other stays."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from autoscaler.agent import notice
from autoscaler.core.contract import commands
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.plain import part, parts
from autoscaler.kube.api.resources import (
    DEPLOYMENTS,
    INFERENCE_AUTOSCALERS,
    LEASES,
    NODES,
    PODS,
    ApiResource,
)
from autoscaler.kube.remains import ON_NODES, Remnant, acting_holder, find_remnants, remove
from autoscaler.migration.saved_copy import CONFIG_MAPS, PREDECESSOR_ANNOTATION, write_config_map
from tests.kube.control_plane import NAMESPACE, ControlPlane, create, running_control_plane
from tests.kube.definition import install
from tests.kube.soundness.targets import sound
from tests.require import ROOT
from tests.test_cli import call
from tests.test_settings import document

LEASE = (NAMESPACE, "inference-autoscaler")
OF_AGENTS = (notice.NOTICE_ANNOTATION, notice.ALIVE_ANNOTATION)
OF_RESOURCES = {
    commands.PAUSED_ANNOTATION,
    commands.PAUSED_REPLICAS_ANNOTATION,
    PREDECESSOR_ANNOTATION,
}
"""They are on objects that are ours, and go with these."""
FOREIGN = {"example.com/theirs": "x"}


def test_each_annotation_of_ours_is_known_here():
    """One that is added has to be taken away too, or to be said why not."""
    constant = re.compile(r'^\w+_ANNOTATION = "(.+)"$', re.MULTILINE)
    sources = [path.read_text() for path in sorted((ROOT / "autoscaler").rglob("*.py"))]
    written = {name for text in sources for name in constant.findall(text)}
    ours = {name for name in written if name.startswith("inference-autoscaler.dev/")}
    known = {*ON_NODES, *OF_AGENTS, commands.FALLBACK_ANNOTATION, OWN_COST_ANNOTATION}
    assert ours == known | OF_RESOURCES


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async def set_up(made: ControlPlane, admin: Client) -> None:
        await made.set_up(admin)
        await install(admin)

    with running_control_plane(tmp_path_factory.mktemp("remains"), set_up) as made:
        yield made


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await control_plane.admin() as made:
        yield made


async def found(admin: Client) -> list[str]:
    unread: list[str] = []
    remnants = await find_remnants(
        admin, of_agents=OF_AGENTS, namespaces=(), lease=LEASE, unread=unread
    )
    assert unread == []
    return [str(each) for each in remnants]


async def put(
    admin: Client, resource: ApiResource, name: str, body: dict[str, Any], **annotations: str
) -> None:
    made = {**copy.deepcopy(body)}
    made["metadata"] = {**made.get("metadata", {}), "name": name}
    made["metadata"]["annotations"] = {**FOREIGN, **annotations}
    namespace = NAMESPACE if resource.namespaced else ""
    made["metadata"].pop("namespace", None)
    await create(admin, resource, made, namespace=namespace)


def pod() -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "vllm", "image": "i"}]}}


async def everything(admin: Client) -> dict[str, Any]:
    """Annotations and cordons of all objects, by what they are."""
    told = {}
    for resource in (NODES, DEPLOYMENTS, PODS):
        for item in parts(await admin.call("list", resource), "items"):
            about = part(item, "metadata")
            told[resource.plural, about["name"]] = (
                dict(part(about, "annotations")),
                part(item, "spec").get("unschedulable"),
                part(item, "spec").get("replicas"),
            )
    return told


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_all_that_is_ours_goes_and_all_else_stays(
    admin: Client, control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
):
    at = "2026-12-01T02:00:00Z"
    cordon, drained = commands.CORDON_ANNOTATION, commands.DRAINED_ANNOTATION
    await put(admin, NODES, "ours", {"spec": {"unschedulable": True}}, **{cordon: at, drained: at})
    await put(admin, NODES, "theirs", {"spec": {"unschedulable": True}})
    marks = {OF_AGENTS[0]: "{}", OF_AGENTS[1]: "IMDS", commands.INTERRUPTION_ANNOTATION: at}
    await put(admin, NODES, "marked", {"spec": {"unschedulable": True}}, **marks)
    body = {"apiVersion": "apps/v1", **sound()}
    body["spec"]["replicas"] = 3
    await put(admin, DEPLOYMENTS, "owed", body, **{commands.FALLBACK_ANNOTATION: "[]"})
    await put(admin, DEPLOYMENTS, "plain", body)
    await put(admin, PODS, "chosen", pod(), **{COST_ANNOTATION: "-5", OWN_COST_ANNOTATION: "-5"})
    await put(admin, PODS, "changed", pod(), **{COST_ANNOTATION: "7", OWN_COST_ANNOTATION: "-5"})
    await put(admin, PODS, "costly", pod(), **{COST_ANNOTATION: "9"})
    lease = {"metadata": {"name": LEASE[1]}, "spec": {"holderIdentity": "pod-1"}}
    await create(admin, LEASES, lease, namespace=LEASE[0])

    here = (
        "--lease-namespace",
        NAMESPACE,
        "--kubeconfig",
        control_plane.folder / "admin.kubeconfig",
    )
    before = await everything(admin)
    code, out, err = await asyncio.to_thread(call, capsys, "uninstall", *here)
    assert (code, await everything(admin)) == (0, before)
    assert "--yes takes it away; nothing was changed" in err
    prefix = "inference-autoscaler.dev"
    assert sorted(out.splitlines()) == [
        f"left: deployments {NAMESPACE}/owed: {prefix}/fallback",
        f"left: leases {NAMESPACE}/inference-autoscaler",
        f"left: nodes marked: {prefix}/interruption, {prefix}/notice, {prefix}/node-agent",
        f"left: nodes ours: {prefix}/cordoned, {prefix}/drained, and it is cordoned by us",
        f"left: pods {NAMESPACE}/changed: {prefix}/deletion-cost",
        f"left: pods {NAMESPACE}/chosen: {prefix}/deletion-cost",
    ]

    code, out, _ = await asyncio.to_thread(call, capsys, "uninstall", "--yes", *here)
    assert (code, out.count("removed: ")) == (0, 6)
    assert await found(admin) == []
    after = await everything(admin)
    assert {key for key in before if before[key] != after[key]} == {
        ("nodes", "ours"),
        ("nodes", "marked"),
        ("deployments", "owed"),
        ("pods", "chosen"),
        ("pods", "changed"),
    }
    assert after["nodes", "ours"] == (FOREIGN, None, None)
    assert after["nodes", "marked"] == (FOREIGN, True, None), "that cordon is somebody else's"
    assert after["deployments", "owed"] == (FOREIGN, None, 3)
    assert after["pods", "chosen"][0] == FOREIGN
    assert after["pods", "changed"][0] == {**FOREIGN, COST_ANNOTATION: "7"}, "not our cost any more"
    code, out, _ = await asyncio.to_thread(call, capsys, "uninstall", "--yes", *here)
    assert (code, out) == (0, "nothing is left\n")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nothing_is_taken_away_under_a_daemon_that_acts(
    admin: Client, control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
):
    record = {"holderIdentity": "pod-1_ab", "renewTime": "2026-12-01T02:00:00.000000Z"}
    name = "acting"
    await create(admin, LEASES, {"metadata": {"name": name}, "spec": record}, namespace=NAMESPACE)

    async def renew() -> None:
        for second in range(60):
            body = {"spec": {"renewTime": f"2026-12-01T02:00:{second:02}.500000Z"}}
            await admin.call(
                "patch",
                LEASES,
                namespace=NAMESPACE,
                name=name,
                body=body,
                content_type=MERGE_PATCH,
            )
            await asyncio.sleep(0.5)

    renewing = asyncio.create_task(renew())
    here = ("--lease-namespace", NAMESPACE, "--lease-name", name)
    where = ("--kubeconfig", control_plane.folder / "admin.kubeconfig")
    code, out, err = await asyncio.to_thread(call, capsys, "uninstall", "--yes", *here, *where)
    renewing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await renewing
    assert (code, out) == (1, "")
    assert "pod-1_ab acts: it renews the Lease serving/acting" in err
    assert await admin.call("get", LEASES, namespace=NAMESPACE, name=name)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_what_was_there_before_a_takeover_is_kept_until_it_is_asked_for(
    admin: Client, control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
):
    body = document()
    body["metadata"]["annotations"] = {PREDECESSOR_ANNOTATION: "configmap/llama-predecessor"}
    made = await create(admin, INFERENCE_AUTOSCALERS, body, namespace=NAMESPACE)
    hpa = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "llama"}, "spec": {"a": 1}}
    place = await write_config_map(admin, made, [hpa])
    assert place == "configmap/llama-predecessor"
    other = {"metadata": {"name": "theirs"}, "data": {}}
    await create(admin, CONFIG_MAPS, other, namespace=NAMESPACE)

    here = ("--lease-namespace", NAMESPACE, "--lease-name", "none", "--namespaces", NAMESPACE)
    where = ("--kubeconfig", control_plane.folder / "admin.kubeconfig")
    code, out, err = await asyncio.to_thread(call, capsys, "uninstall", "--yes", *here, *where)
    copy = "configmaps serving/llama-predecessor"
    assert (code, out) == (
        0,
        f"kept: {copy}: what scaled a target before a takeover; --copies takes it too\n",
    )
    assert "serving/llama was taken over, and is not given back: autoscaler handback llama" in err
    arguments = ("uninstall", "--yes", "--copies", *here, *where)
    code, out, _ = await asyncio.to_thread(call, capsys, *arguments)
    assert (code, out) == (0, f"removed: {copy}\n")
    left = parts(await admin.call("list", CONFIG_MAPS, namespace=NAMESPACE), "items")
    assert [part(each, "metadata")["name"] for each in left] == ["theirs"]


class Renewed:
    """An API server with a Lease that is read again and again, as its holder writes it."""

    server = "https://x"

    def __init__(self, *records: dict[str, str] | None) -> None:
        self.records = list(records)

    async def call(self, *_: Any, **__: Any) -> Any:
        record = self.records.pop(0)
        if record is None:
            raise ApiError("get leases: not found", status=404)
        return {"spec": record}


HELD = {"holderIdentity": "pod-1_ab", "renewTime": "2026-12-01T02:00:00.000000Z"}


@pytest.mark.parametrize(
    ("first", "second", "holder"),
    [
        pytest.param(None, None, "", id="there is none"),
        pytest.param({**HELD, "holderIdentity": ""}, HELD, "", id="it was given back"),
        pytest.param(HELD, HELD, "", id="its holder is dead"),
        pytest.param(HELD, None, "", id="it went meanwhile"),
        pytest.param(HELD, {**HELD, "renewTime": "1999"}, "pod-1_ab", id="renewed, by any clock"),
    ],
)
async def test_who_renews_a_lease_acts(first: Any, second: Any, holder: str):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    client: Any = Renewed(first, second)
    assert await acting_holder(client, lease=LEASE, sleep=sleep) == holder
    assert slept == ([3.0] if first and first["holderIdentity"] else [])


class Refusing:
    """An API server that refuses whoever asks."""

    server = "https://x"

    async def call(self, verb: str, resource: Any, **_: Any) -> Any:
        raise ApiError(f"{verb} {resource.plural}: refused", status=403)


async def test_what_may_not_be_looked_at_is_said_and_not_taken_for_nothing():
    unread: list[str] = []
    client: Any = Refusing()
    assert (
        await find_remnants(
            client, of_agents=OF_AGENTS, namespaces=("a", "b"), lease=LEASE, unread=unread
        )
        == []
    )
    assert unread == [
        "list nodes: refused",
        *["list deployments: refused"] * 2,
        *["list pods: refused"] * 2,
        "get leases: refused",
    ]


async def test_what_is_gone_meanwhile_is_gone_and_a_refusal_is_an_error():
    lease = Remnant(resource=LEASES, namespace=NAMESPACE, name="x", annotations=())
    gone: Any = Renewed(None)
    await remove(gone, lease)
    refusing: Any = Refusing()
    with pytest.raises(ApiError):
        await remove(refusing, lease)
