"""What the daemon's account may change, shown on a real API server with the policies of `deploy/base`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
    Annotate,
    CordonNode,
    MarkNodeDrained,
    SetReplicas,
    UncordonNode,
)
from autoscaler.core.contract.spec import ScaleTarget
from autoscaler.kube.api import access
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client, client_of
from autoscaler.kube.api.permissions import PERMISSIONS
from autoscaler.kube.api.resources import DEPLOYMENTS, NODES, ApiResource
from autoscaler.kube.perform.perform import perform
from tests.agent.test_rights import POLICIES, POLICY_BINDINGS
from tests.deploy.manifests import DEPLOY, of_kind, render
from tests.kube.control_plane import (
    ACCOUNTS,
    BINDINGS,
    NAMESPACE,
    ROLES,
    ControlPlane,
    binding,
    create,
    role,
    running_control_plane,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ACCOUNT = "inference-autoscaler"
COMMON: dict[str, Any] = {"id": "1.1", "model": "serving/llama"}
TARGET = ScaleTarget(namespace=NAMESPACE, name="llama")
LLAMA: dict[str, Any] = {"namespace": NAMESPACE, "name": "llama"}


async def set_up(made: ControlPlane, admin: Client) -> None:
    await made.set_up(admin)
    await create(admin, ACCOUNTS, {"metadata": {"name": ACCOUNT}}, namespace=NAMESPACE)
    await create(admin, ROLES, role(ACCOUNT, PERMISSIONS))
    await create(admin, BINDINGS, binding(ACCOUNT, to=ACCOUNT))
    base = render(DEPLOY / "base")
    for kind, resource in (
        ("ValidatingAdmissionPolicy", POLICIES),
        ("ValidatingAdmissionPolicyBinding", POLICY_BINDINGS),
    ):
        for each in of_kind(base, kind):
            await create(admin, resource, each)
    labels = {"app": "llama"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "vllm", "image": "vllm"}]},
    }
    await create(
        admin,
        DEPLOYMENTS,
        {
            "metadata": {"name": "llama", "annotations": {"theirs": "kept"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
        namespace=NAMESPACE,
    )
    taint = {"key": "theirs", "effect": "NoSchedule"}
    for name, cordoned in (("spot-1", False), ("theirs", True)):
        await create(
            admin,
            NODES,
            {
                "metadata": {"name": name, "annotations": {"theirs": "kept"}},
                "spec": {"taints": [taint], "unschedulable": cordoned},
            },
        )


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_control_plane(tmp_path_factory.mktemp("admission"), set_up) as made:
        yield made


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await control_plane.admin() as made:
        yield made


@pytest.fixture
async def kube(
    control_plane: ControlPlane, admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """The daemon's account, once the policies are in force: the server takes a moment to hear of them."""
    environment = await control_plane.mount_account(admin, tmp_path, account=ACCOUNT)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with client_of(await access.in_cluster(tmp_path)) as made:
        for resource, place in ((DEPLOYMENTS, LLAMA), (NODES, {"name": "spot-1"})):
            async with asyncio.timeout(60):
                for number in count():
                    probe = {"metadata": {"labels": {"probe": f"n{number}"}}}
                    try:
                        await patch(made, resource, probe, **place)
                    except ApiError as error:
                        assert "nothing else of it" in str(error)  # noqa: PT017  the loop's end
                        break
                    await asyncio.sleep(0.2)
            await patch(admin, resource, {"metadata": {"labels": {"probe": None}}}, **place)
        yield made


async def patch(by: Client, resource: ApiResource, change: Any, **place: Any) -> None:
    await by.call("patch", resource, body=change, content_type=MERGE_PATCH, **place)


async def do(kube: Client, kind: Any, **fields: Any) -> None:
    command = kind(**COMMON, expires_at=time.time() + 30, **fields)
    await perform(kube, command, now=time.time)


async def test_all_that_the_daemon_writes_is_let_through(kube: Client, admin: Client):
    await do(kube, SetReplicas, scale_target=TARGET, replicas=3)
    promise = '[{"node":"spot-1","replicas":1,"since":1772366400}]'
    await do(kube, Annotate, scale_target=TARGET, key=FALLBACK_ANNOTATION, value=promise)
    told = await admin.call("get", DEPLOYMENTS, **LLAMA)
    assert told["spec"]["replicas"] == 3
    assert told["metadata"]["annotations"] == {"theirs": "kept", FALLBACK_ANNOTATION: promise}
    await do(kube, Annotate, scale_target=TARGET, key=FALLBACK_ANNOTATION, value=None)

    await do(kube, CordonNode, node="spot-1")
    await do(kube, MarkNodeDrained, node="spot-1")
    told = await admin.call("get", NODES, name="spot-1")
    assert told["spec"]["unschedulable"]
    assert {CORDON_ANNOTATION, DRAINED_ANNOTATION} < told["metadata"]["annotations"].keys()
    await do(kube, UncordonNode, node="spot-1")
    told = await admin.call("get", NODES, name="spot-1")
    assert "unschedulable" not in told["spec"]
    assert told["metadata"]["annotations"] == {"theirs": "kept"}


CONTAINERS = [{"name": "vllm", "image": "evil"}]
ON_DEPLOYMENTS: dict[str, Any] = {
    "image": {"spec": {"template": {"spec": {"containers": CONTAINERS}}}},
    "replicas past the scale": {"spec": {"replicas": 9}},
    "strategy": {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
    "another annotation": {"metadata": {"annotations": {"more": "1"}}},
    "theirs changed": {"metadata": {"annotations": {"theirs": "2"}}},
    "theirs taken": {"metadata": {"annotations": {"theirs": None}}},
    "beside ours": {"metadata": {"annotations": {FALLBACK_ANNOTATION: "[]", "more": "1"}}},
    "label": {"metadata": {"labels": {"app": "other"}}},
    "finalizer": {"metadata": {"finalizers": ["example.com/hold"]}},
}
ON_NODES: dict[str, Any] = {
    "taint": {"spec": {"taints": [{"key": "evil", "effect": "NoExecute"}]}},
    "no taint": {"spec": {"taints": None}},
    "provider": {"spec": {"providerID": "aws:///zone/i-1"}},
    "label": {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}},
    "another annotation": {"metadata": {"annotations": {"more": "1"}}},
    "theirs taken": {"metadata": {"annotations": {"theirs": None}}},
    "under a cordon": {
        "metadata": {"annotations": {CORDON_ANNOTATION: "x"}, "labels": {"more": "1"}},
        "spec": {"unschedulable": True},
    },
}


@pytest.mark.parametrize("change", ON_DEPLOYMENTS.values(), ids=ON_DEPLOYMENTS)
async def test_of_a_deployment_nothing_else_is_written(kube: Client, admin: Client, change: Any):
    before = await admin.call("get", DEPLOYMENTS, **LLAMA)
    with pytest.raises(ApiError, match="the autoscaler may"):
        await patch(kube, DEPLOYMENTS, change, **LLAMA)
    after = await admin.call("get", DEPLOYMENTS, **LLAMA)
    assert (after["spec"], after["metadata"]["annotations"]) == (
        before["spec"],
        before["metadata"]["annotations"],
    )
    await patch(admin, DEPLOYMENTS, {"metadata": {"labels": {"anybody": "1"}}}, **LLAMA)


@pytest.mark.parametrize("change", ON_NODES.values(), ids=ON_NODES)
async def test_of_a_node_nothing_else_is_written(kube: Client, change: Any):
    with pytest.raises(ApiError, match="the autoscaler may"):
        await patch(kube, NODES, change, name="spot-1")


async def test_a_cordon_of_somebody_else_stays(kube: Client):
    with pytest.raises(ApiError, match="uncordons only what it has cordoned itself"):
        await patch(kube, NODES, {"spec": {"unschedulable": None}}, name="theirs")
    mine = {"metadata": {"annotations": {CORDON_ANNOTATION: "x"}}, "spec": {"unschedulable": None}}
    with pytest.raises(ApiError, match="uncordons only what it has cordoned itself"):
        await patch(kube, NODES, mine, name="theirs")
