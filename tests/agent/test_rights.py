"""What the agent may do, shown on a real API server with the manifests of `deploy/components/node-agent`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.dialects.aws import AwsMetadata
from autoscaler.agent.dialects.contract import Terms
from autoscaler.agent.exchange import Address
from autoscaler.agent.marking import Marking
from autoscaler.agent.notice import (
    ALIVE_ANNOTATION,
    NOTICE_ANNOTATION,
    NoticeKind,
    Told,
    read_notice,
)
from autoscaler.agent.own_node import NodeError, OwnNode
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client, connect
from autoscaler.kube.api.resources import NODES, PODS, ApiResource
from tests.deploy.manifests import DEPLOY, render
from tests.kube.control_plane import (
    ACCOUNTS,
    BINDINGS,
    NAMESPACES,
    ROLES,
    ControlPlane,
    create,
    running_control_plane,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAME = "inference-autoscaler-node-agent"
NAMESPACE = "inference-autoscaler"
OWN, OTHER = "node-a", "node-b"
ADMISSION = "admissionregistration.k8s.io"
POLICIES = ApiResource(
    group=ADMISSION, version="v1", plural="validatingadmissionpolicies", namespaced=False
)
POLICY_BINDINGS = ApiResource(
    group=ADMISSION, version="v1", plural="validatingadmissionpolicybindings", namespaced=False
)
DAEMON_SETS = ApiResource(group="apps", version="v1", plural="daemonsets", namespaced=True)
QUOTAS = ApiResource(group="", version="v1", plural="resourcequotas", namespaced=True)
SECRETS = ApiResource(group="", version="v1", plural="secrets", namespaced=True)
NAMESPACED_KINDS = {
    "DaemonSet": DAEMON_SETS,
    "ResourceQuota": QUOTAS,
    "ServiceAccount": ACCOUNTS,
}
CLUSTER_KINDS = {
    "ClusterRole": ROLES,
    "ClusterRoleBinding": BINDINGS,
    "ValidatingAdmissionPolicy": POLICIES,
    "ValidatingAdmissionPolicyBinding": POLICY_BINDINGS,
}
NOTICE = '{"kind":"Risk","source":"aws-imds","noticed":"2026-04-24T17:09:44Z"}'


def manifests(folder: Path) -> list[dict[str, Any]]:
    """What the component adds."""
    shutil.copytree(DEPLOY / "components" / "node-agent", folder / "node-agent")
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump({"kind": "Kustomization", "components": ["node-agent"]})
    )
    return list(render(folder))


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    documents = manifests(tmp_path_factory.mktemp("component"))

    async def set_up(_made: ControlPlane, admin: Client) -> None:
        await create(admin, NAMESPACES, {"metadata": {"name": NAMESPACE}})
        for each in documents:
            if each["kind"] in CLUSTER_KINDS:
                await create(admin, CLUSTER_KINDS[each["kind"]], each)
            else:
                resource = NAMESPACED_KINDS[each["kind"]]
                await create(admin, resource, each, namespace=NAMESPACE)
        for name in (OWN, OTHER):
            taint = {"key": "kept", "effect": "NoSchedule"}
            await create(
                admin,
                NODES,
                {
                    "metadata": {
                        "name": name,
                        "labels": {"kept": "yes"},
                        "annotations": {"kept": "yes"},
                    },
                    "spec": {"taints": [taint], "providerID": f"aws:///zone/{name}"},
                },
            )
        await create(
            admin,
            PODS,
            {
                "metadata": {"name": "agent"},
                "spec": {
                    "nodeName": OWN,
                    "serviceAccountName": NAME,
                    "containers": [{"name": "agent", "image": "agent"}],
                },
            },
            namespace=NAMESPACE,
        )

    with running_control_plane(tmp_path_factory.mktemp("control-plane"), set_up) as made:
        yield made


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await control_plane.admin() as made:
        yield made


async def mount(admin: Client, control_plane: ControlPlane, folder: Path, *, bound: bool) -> Path:
    """A token as the kubelet has it made, bound to the pod, or one that is bound to nothing."""
    spec: dict[str, Any] = {"expirationSeconds": 3600}
    if bound:
        pod = await admin.call("get", PODS, name="agent", namespace=NAMESPACE)
        uid = pod["metadata"]["uid"]
        spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": "agent", "uid": uid}
    answer = await admin.call(
        "create", ACCOUNTS, namespace=NAMESPACE, name=NAME, subresource="token", body={"spec": spec}
    )
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(answer["status"]["token"])
    shutil.copy(control_plane.folder / "pki" / "ca.crt", folder / "ca.crt")
    return folder


def address(admin: Client) -> Address:
    host, port = admin.server.removeprefix("https://").rsplit(":", 1)
    return Address(host, int(port))


@pytest.fixture
async def account(admin: Client, control_plane: ControlPlane, tmp_path: Path) -> Path:
    """The mounted account, once the policy is in force: the server takes a moment to hear of it."""
    folder = await mount(admin, control_plane, tmp_path / "account", bound=True)
    other = OwnNode(OTHER, server=address(admin), account=folder)
    async with asyncio.timeout(60):
        while True:
            try:
                await asyncio.to_thread(other.annotate, {NOTICE_ANNOTATION: None})
            except NodeError as error:
                if "its own Node" in str(error):
                    return folder
            await asyncio.sleep(0.05)


@pytest.fixture
async def agent(account: Path, admin: Client, tmp_path: Path) -> AsyncIterator[Client]:
    """Any call, with the agent's token."""
    kubeconfig = {
        "clusters": [
            {
                "name": "it",
                "cluster": {
                    "server": admin.server,
                    "certificate-authority": str(account / "ca.crt"),
                },
            }
        ],
        "users": [{"name": "it", "user": {"token": (account / "token").read_text()}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    async with await connect(str(path)) as made:
        yield made


async def annotations(admin: Client, node: str) -> dict[str, str]:
    found = await admin.call("get", NODES, name=node)
    return dict(found["metadata"].get("annotations") or {})


async def patch(agent: Client, node: str, change: Any, **more: Any) -> None:
    await agent.call("patch", NODES, name=node, body=change, content_type=MERGE_PATCH, **more)


async def test_the_agent_marks_its_own_node_and_clears_it(admin: Client, account: Path):
    node = OwnNode(OWN, server=address(admin), account=account)
    lines: list[tuple[str, Any]] = []
    board = NoticeBoard("aws-imds", ["a"], now=lambda: 1000.0)
    marking = Marking(
        node, board, AwsMetadata(Terms()), log=lambda event, **more: lines.append((event, more))
    )
    board.answered("a", Told(kind=NoticeKind.TERMINATION, deadline_at=1_777_050_704.0))
    await asyncio.to_thread(marking.step)
    marked = await annotations(admin, OWN)
    notice = read_notice(marked.pop(NOTICE_ANNOTATION))
    assert notice == board.notice()
    assert marked["kept"] == "yes"
    assert marked[ALIVE_ANNOTATION] == "aws-imds"
    board.answered("a", None)
    await asyncio.to_thread(marking.step)
    await asyncio.to_thread(marking.leave)
    assert not {NOTICE_ANNOTATION, ALIVE_ANNOTATION} & set(await annotations(admin, OWN))
    assert [event for event, _ in lines] == ["notice.marked", "notice.cleared"]


async def test_a_look_is_answered_with_the_node_and_writes_nothing(admin: Client, account: Path):
    before = await admin.call("get", NODES, name=OWN)
    view = await asyncio.to_thread(OwnNode(OWN, server=address(admin), account=account).look)
    assert view.provider_id == f"aws:///zone/{OWN}"
    assert view.annotations["kept"] == "yes"
    after = await admin.call("get", NODES, name=OWN)
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


@pytest.mark.parametrize("change", [{}, {"metadata": {"annotations": {NOTICE_ANNOTATION: NOTICE}}}])
async def test_another_node_is_refused_even_to_look_at(admin: Client, agent: Client, change: Any):
    before = await annotations(admin, OTHER)
    with pytest.raises(ApiError, match="its own Node, and its token is of node-a"):
        await patch(agent, OTHER, change)
    assert await annotations(admin, OTHER) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"annotations": {"x": "y"}}, "annotations", id="another annotation"),
        pytest.param({"annotations": {"kept": "no"}}, "annotations", id="a changed one"),
        pytest.param({"annotations": {"kept": None}}, "annotations", id="a removed one"),
        pytest.param({"annotations": None}, "annotations", id="all removed"),
        pytest.param(
            {"annotations": {"inference-autoscaler.dev/drained": "x"}},
            "annotations",
            id="one of the daemon's",
        ),
        pytest.param(
            {"annotations": {NOTICE_ANNOTATION: NOTICE, "x": "y"}}, "annotations", id="ours too"
        ),
        pytest.param({"annotations": {NOTICE_ANNOTATION: "x" * 513}}, "512", id="a page"),
        pytest.param({"annotations": {ALIVE_ANNOTATION: "x" * 513}}, "512", id="another page"),
        pytest.param({"labels": {"x": "y"}}, "metadata", id="a label"),
        pytest.param({"labels": {"kept": None}}, "metadata", id="a label removed"),
        pytest.param({"finalizers": ["x.dev/y"]}, "metadata", id="a finalizer"),
        pytest.param(
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]},
            "metadata",
            id="an owner",
        ),
    ],
)
async def test_other_metadata_of_its_own_node_is_refused(agent: Client, change: Any, message: str):
    with pytest.raises(ApiError, match=message) as refused:
        await patch(agent, OWN, {"metadata": change})
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "spec",
    [
        {"unschedulable": True},
        {"taints": [{"key": "x", "effect": "NoExecute"}]},
        {"taints": None},
    ],
)
async def test_the_spec_of_its_own_node_is_refused(agent: Client, spec: Any):
    with pytest.raises(ApiError, match="spec") as refused:
        await patch(agent, OWN, {"spec": spec})
    assert refused.value.status == 403


async def test_a_notice_that_stands_beside_a_taint_is_refused_whole(admin: Client, agent: Client):
    change = {
        "metadata": {"annotations": {NOTICE_ANNOTATION: NOTICE}},
        "spec": {"unschedulable": True},
    }
    with pytest.raises(ApiError, match="spec"):
        await patch(agent, OWN, change)
    assert NOTICE_ANNOTATION not in await annotations(admin, OWN)


async def test_everything_else_is_refused(agent: Client):
    calls: list[tuple[str, ApiResource, dict[str, Any]]] = [
        ("get", NODES, {"name": OWN}),
        ("get", NODES, {"name": OTHER}),
        ("list", NODES, {}),
        ("delete", NODES, {"name": OWN}),
        ("create", NODES, {"body": {"metadata": {"name": "node-c"}}}),
        ("list", PODS, {"namespace": NAMESPACE}),
        ("get", PODS, {"name": "agent", "namespace": NAMESPACE}),
        ("delete", PODS, {"name": "agent", "namespace": NAMESPACE}),
        ("list", SECRETS, {"namespace": NAMESPACE}),
        ("get", SECRETS, {"name": "x", "namespace": "kube-system"}),
        ("list", NAMESPACES, {}),
    ]
    for verb, resource, more in calls:
        with pytest.raises(ApiError) as refused:
            await agent.call(verb, resource, **more)
        assert refused.value.status == 403, (verb, resource.plural)
    with pytest.raises(ApiError) as refused:
        await patch(agent, OWN, {"status": {"phase": "x"}}, subresource="status")
    assert refused.value.status == 403


async def test_more_rights_on_nodes_help_it_no_further(admin: Client, agent: Client):
    """Somebody binds the account to a role of all rights on Nodes: the policy still holds."""
    wide = {
        "metadata": {"name": "wide"},
        "rules": [{"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["*"]}],
    }
    await create(admin, ROLES, wide)
    await create(
        admin,
        BINDINGS,
        {
            "metadata": {"name": "wide"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "wide",
            },
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
    )
    try:
        async with asyncio.timeout(60):
            while True:  # until the binding is in force
                try:
                    await agent.call("get", NODES, name=OWN)
                    break
                except ApiError:
                    await asyncio.sleep(0.05)
        for verb, more in (
            ("delete", {"name": OTHER}),
            ("delete", {"name": OWN}),
            ("create", {"body": {"metadata": {"name": "node-c"}}}),
        ):
            with pytest.raises(ApiError, match="node agent"):
                await agent.call(verb, NODES, **more)
        with pytest.raises(ApiError, match="node agent"):
            await patch(agent, OWN, {"status": {"phase": "x"}}, subresource="status")
    finally:
        await admin.call("delete", BINDINGS, name="wide")
        await admin.call("delete", ROLES, name="wide")


@pytest.mark.usefixtures("account")
async def test_a_token_that_is_bound_to_no_pod_changes_nothing(
    admin: Client, control_plane: ControlPlane, tmp_path: Path
):
    loose = await mount(admin, control_plane, tmp_path / "loose", bound=False)
    node = OwnNode(OWN, server=address(admin), account=loose)
    with pytest.raises(NodeError, match="its token is of no Node"):
        await asyncio.to_thread(node.annotate, {NOTICE_ANNOTATION: NOTICE})


async def test_others_are_not_held_by_the_policy(admin: Client):
    await patch(admin, OTHER, {"metadata": {"annotations": {"x": "y"}, "labels": {"x": "y"}}})
    assert (await annotations(admin, OTHER))["x"] == "y"
    await patch(admin, OTHER, {"metadata": {"annotations": {"x": None}, "labels": {"x": None}}})
