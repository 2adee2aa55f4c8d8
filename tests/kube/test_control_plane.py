"""The room on a real API server, as a pod with the rights of our table and no more.

No controllers run: what they would write (a Deployment's pods, a budget's status) the test writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
    Annotate,
    CordonNode,
    DeletePod,
    EvictPod,
    MarkNodeDrained,
    SetDeletionCost,
    SetReplicas,
    UncordonNode,
)
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION
from autoscaler.core.contract.spec import FleetSpec, ScaleTarget
from autoscaler.errors import ActuationError
from autoscaler.kube.api import access, client
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.permissions import DELETION_COSTS, PERMISSIONS
from autoscaler.kube.api.resources import DEPLOYMENTS, NODES, PODS, REPLICA_SETS, ApiResource
from autoscaler.kube.observe import Cluster
from autoscaler.kube.perform.perform import perform
from autoscaler.kube.watch.timing import Timing
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.interruptions import Interruptions
from autoscaler.notices.rehearse import rehearse
from autoscaler.sources.pages.turns import at_once
from tests.kube.control_plane import (
    ACCOUNT,
    ACCOUNTS,
    BINDINGS,
    BUDGETS,
    NAMESPACE,
    NAMESPACES,
    ROLES,
    ControlPlane,
    binding,
    create,
    role,
    running_control_plane,
    set_status,
)
from tests.kube.scene import fleet, model
from tests.kube.watched import until_listed
from tests.require import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COMMON: dict[str, Any] = {"id": "1.1", "model": "serving/llama"}
TARGET = ScaleTarget(namespace=NAMESPACE, name="llama")
CONTAINER = {"name": "vllm", "image": "vllm", "resources": {"limits": {"nvidia.com/gpu": "2"}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control-plane")


@pytest.fixture(scope="module")
def control_plane(folder: Path) -> Any:
    with running_control_plane(folder, ControlPlane.set_up) as made:
        yield made


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await control_plane.admin() as made:
        yield made


PodClient = Callable[[str], Awaitable[Client]]


@pytest.fixture
async def as_pod(
    control_plane: ControlPlane, admin: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PodClient]:
    """Connects as a pod does: a service account, TLS, RBAC."""

    async with contextlib.AsyncExitStack() as stack:

        async def connect(account: str) -> Client:
            environment = await control_plane.mount_account(admin, tmp_path, account=account)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            granted = await access.in_cluster(tmp_path)
            return await stack.enter_async_context(client.client_of(granted))

        yield connect


@pytest.fixture
async def kube(as_pod: PodClient) -> Client:
    """With the rights of our table, everywhere."""
    return await as_pod(ACCOUNT)


class Watching:
    def __init__(
        self, kube: Client, timing: Timing | None = None, *, spec: FleetSpec | None = None
    ) -> None:
        self.spec = spec or fleet("llama")
        self.noticed: list[Any] = []
        self.cluster = Cluster(
            kube,
            self.spec,
            now=time.time,
            age_s_max=30.0,
            timing=timing,
        )
        self.interruptions = Interruptions(NOTICE_SOURCES)
        self.cluster.subscribe_to_nodes(self._nodes_changed)

    def _nodes_changed(self, changes: Any, after: float) -> None:
        self.noticed += self.interruptions.nodes_changed(
            changes, at=time.time(), after=after, has_replicas_on=self.cluster.has_replicas_on
        )

    def observe(self) -> Any:
        at = time.time()
        objects = self.cluster.objects(self.spec, at=at)
        return at_once(
            self.cluster.observe(
                objects, number=1, at=at, interruptions=(), samples={}, framebuffers={}, gpus={}
            )
        )

    async def until(self, holds: Callable[[], Any], *, timeout_s: float = 120) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Watching]:
        task = asyncio.create_task(self.cluster.run())
        try:
            yield self
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def watching(kube: Client) -> AsyncIterator[Watching]:
    async with Watching(kube).running() as made:
        await until_listed(made.cluster)  # before, no model can be told
        yield made


async def do(kube: Client, kind: Any, **fields: Any) -> None:
    command = kind(**COMMON, expires_at=time.time() + 30, **fields)
    await perform(kube, command, now=time.time)


@pytest.fixture(scope="module")
def scene(control_plane: ControlPlane) -> None:
    """A Deployment with one pod of its own, on a spot node."""

    async def make() -> None:
        async with await control_plane.admin() as admin:
            labels = {"app": "llama"}
            template = {"metadata": {"labels": labels}, "spec": {"containers": [CONTAINER]}}
            selector = {"matchLabels": labels}
            owner = await create(
                admin,
                DEPLOYMENTS,
                {
                    "metadata": {"name": "llama"},
                    "spec": {"replicas": 1, "selector": selector, "template": template},
                },
                namespace=NAMESPACE,
            )
            replica_set = await create(
                admin,
                REPLICA_SETS,
                {
                    "metadata": {"name": "llama-1", "ownerReferences": [owned(owner)]},
                    "spec": {"replicas": 1, "selector": selector, "template": template},
                },
                namespace=NAMESPACE,
            )
            node_labels = {"karpenter.sh/capacity-type": "spot"}
            await create(admin, NODES, {"metadata": {"name": "spot-1", "labels": node_labels}})
            ready = {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": "2026-03-01T12:00:00Z",
            }
            await set_status(admin, NODES, "spot-1", {"conditions": [ready]})
            for name in ("llama-1-a", "llama-1-b"):
                pod = {
                    "metadata": {
                        "name": name,
                        "labels": labels,
                        "ownerReferences": [owned(replica_set)],
                    },
                    "spec": {"nodeName": "spot-1", "containers": [CONTAINER]},
                }
                await create(admin, PODS, pod, namespace=NAMESPACE)
                told = {"phase": "Running", "podIP": "10.1.2.3", "conditions": [ready]}
                await set_status(admin, PODS, name, told, namespace=NAMESPACE)

    asyncio.run(make())


def owned(owner: dict[str, Any]) -> dict[str, Any]:
    kind = "ReplicaSet" if owner.get("kind") == "ReplicaSet" else "Deployment"
    metadata = owner["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


@pytest.mark.usefixtures("scene")
async def test_a_pod_with_the_rights_of_the_table_can_do_all_and_no_more(
    kube: Client, admin: Client, watching: Watching
):
    assert watching.cluster.problems() == ()
    seen = watching.observe()
    (model,) = seen.models
    assert (model.pools[0].current_replicas, model.pools[0].gpus_per_replica) == (1, 2)
    assert model.pools[0].rolling_out, "no controller has looked at it"
    assert model.replicas.name == ("llama-1-a", "llama-1-b")
    assert model.replicas.ready.all()
    assert [t.ip for t in watching.cluster.scrape_targets(watching.spec)] == ["10.1.2.3"] * 2
    assert seen.nodes.capacity_type[0].value == "Spot"

    await do(kube, SetReplicas, scale_target=TARGET, replicas=4)
    await watching.until(lambda: watching.observe().models[0].pools[0].current_replicas == 4)
    promise = '[{"node":"spot-1","replicas":1,"since":1772366400}]'
    await do(kube, Annotate, scale_target=TARGET, key=FALLBACK_ANNOTATION, value=promise)
    await watching.until(lambda: watching.observe().models[0].pools[0].promises)
    await do(kube, Annotate, scale_target=TARGET, key=FALLBACK_ANNOTATION, value=None)
    await watching.until(lambda: not watching.observe().models[0].pools[0].promises)

    deadline_at = await rehearse(admin, "spot-1", in_s=60, at=time.time())
    await watching.until(lambda: watching.noticed)
    assert watching.noticed[0].deadline_at == deadline_at
    await do(kube, CordonNode, node="spot-1")
    await watching.until(lambda: bool(watching.observe().nodes.cordoned_by_us[0]))
    assert watching.observe().nodes.unschedulable.all()
    await do(kube, MarkNodeDrained, node="spot-1")
    await watching.until(lambda: bool(watching.observe().nodes.marked_drained[0]))
    await do(kube, UncordonNode, node="spot-1")
    await watching.until(lambda: not watching.observe().nodes.unschedulable.any())
    told = await admin.call("get", NODES, name="spot-1")
    assert {CORDON_ANNOTATION, DRAINED_ANNOTATION}.isdisjoint(told["metadata"]["annotations"])
    assert "unschedulable" not in told["spec"]

    with pytest.raises(ApiError, match="lacks the verb `list` on `namespaces`") as it:
        await kube.call("list", NAMESPACES)
    assert "system:serviceaccount:serving:autoscaler" in str(it.value)


COMPONENT = ROOT / "deploy" / "components" / "deletion-cost" / "policy.yaml"
POLICIES, POLICY_BINDINGS = (
    ApiResource(group="admissionregistration.k8s.io", version="v1", plural=plural, namespaced=False)
    for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
)


@pytest.mark.usefixtures("scene")
async def test_without_the_right_to_deletion_costs_it_is_forbidden(kube: Client):
    with pytest.raises(ActuationError, match="lacks the verb `get` on `pods`") as it:
        await do(kube, SetDeletionCost, namespace=NAMESPACE, pod="llama-1-a", cost=-1)
    assert it.value.reason == "Forbidden"


@pytest.mark.usefixtures("scene")
async def test_deletion_costs_with_the_component_reach_two_annotations_and_nothing_else(
    admin: Client, as_pod: PodClient
):
    account, pod = "costs", {"namespace": NAMESPACE, "name": "llama-1-b"}
    await create(admin, ACCOUNTS, {"metadata": {"name": account}}, namespace=NAMESPACE)
    await create(admin, ROLES, role(account, [*PERMISSIONS, *DELETION_COSTS]))
    await create(admin, BINDINGS, binding(account, to=account))
    text = COMPONENT.read_text().replace(
        "serviceaccount:inference-autoscaler:inference-autoscaler",
        f"serviceaccount:{NAMESPACE}:{account}",
    )
    policy, bound = yaml.safe_load_all(text)
    await create(admin, POLICIES, policy)
    await create(admin, POLICY_BINDINGS, bound)
    kube = await as_pod(account)

    async def patch(by: Client, **metadata: Any) -> None:
        await by.call("patch", PODS, **pod, body={"metadata": metadata}, content_type=MERGE_PATCH)

    async with asyncio.timeout(60):  # a policy is in force some moments after it was written
        while True:
            try:
                await patch(kube, annotations={"probe": str(time.time())})
            except ApiError as error:
                assert "no other annotation" in str(error)  # noqa: PT017  the loop's end
                break
            await asyncio.sleep(0.2)
    await patch(admin, annotations={"probe": None, "theirs": "kept"})

    await do(kube, SetDeletionCost, namespace=NAMESPACE, pod="llama-1-b", cost=-7)
    told = (await admin.call("get", PODS, **pod))["metadata"]["annotations"]
    assert told == {"theirs": "kept", COST_ANNOTATION: "-7", OWN_COST_ANNOTATION: "-7"}
    for refused in (
        {"annotations": {"theirs": None}},
        {"annotations": {"theirs": "changed"}},
        {"annotations": {"new": "1", COST_ANNOTATION: "-8"}},
        {"labels": {"app": "other"}},
        {"labels": {"more": "1"}},
        {"finalizers": ["example.com/hold"]},
        {"ownerReferences": None},
    ):
        with pytest.raises(ApiError, match="the autoscaler may change a pod's deletion cost"):
            await patch(kube, **refused)
    image = {"spec": {"containers": [{"name": "vllm", "image": "theirs"}]}}
    with pytest.raises(ApiError, match="and nothing else"):
        await kube.call(
            "patch",
            PODS,
            **pod,
            body=image,
            content_type="application/strategic-merge-patch+json",
        )
    await patch(admin, labels={"more": "1"})  # nobody else is bound
    await patch(admin, annotations={COST_ANNOTATION: "4"})
    with pytest.raises(ActuationError, match="somebody else has set") as it:
        await do(kube, SetDeletionCost, namespace=NAMESPACE, pod="llama-1-b", cost=-7)
    assert it.value.reason == "Conflict"
    await patch(admin, annotations={COST_ANNOTATION: "-7"})
    await do(kube, SetDeletionCost, namespace=NAMESPACE, pod="llama-1-b", cost=None)
    assert (await admin.call("get", PODS, **pod))["metadata"]["annotations"] == {"theirs": "kept"}


@pytest.mark.usefixtures("scene")
async def test_eviction_asks_the_budget_and_deletion_does_not(
    kube: Client, admin: Client, watching: Watching
):
    await watching.until(lambda: len(watching.observe().models[0].replicas) == 2)
    selector = {"matchLabels": {"app": "llama"}}
    await create(
        admin,
        BUDGETS,
        {"metadata": {"name": "keep"}, "spec": {"minAvailable": 2, "selector": selector}},
        namespace=NAMESPACE,
    )
    status = {"observedGeneration": 1, "expectedPods": 2, "currentHealthy": 2, "desiredHealthy": 2}
    await set_status(
        admin, BUDGETS, "keep", {**status, "disruptionsAllowed": 0}, namespace=NAMESPACE
    )
    pod = {"namespace": NAMESPACE, "pod": "llama-1-a", "grace_s": 17}
    with pytest.raises(ActuationError, match="the disruption budget keep refuses") as it:
        await do(kube, EvictPod, **pod)
    assert it.value.reason == "DisruptionBudget"
    await set_status(
        admin, BUDGETS, "keep", {**status, "disruptionsAllowed": 1}, namespace=NAMESPACE
    )
    await do(kube, EvictPod, **pod)
    told = await admin.call("get", PODS, namespace=NAMESPACE, name="llama-1-a")
    assert told["metadata"]["deletionGracePeriodSeconds"] == 17
    await watching.until(lambda: watching.observe().models[0].replicas.deleting.tolist()[0])

    await do(kube, DeletePod, namespace=NAMESPACE, pod="llama-1-b", grace_s=9)
    told = await admin.call("get", PODS, namespace=NAMESPACE, name="llama-1-b")
    assert told["metadata"]["deletionGracePeriodSeconds"] == 9
    other = DeletePod(
        **COMMON, expires_at=time.time() + 30, namespace=NAMESPACE, pod="llama-1-b", grace_s=1
    )
    await perform(kube, other, now=time.time, uid_of=lambda _namespace, _name: "another")
    told = await admin.call("get", PODS, namespace=NAMESPACE, name="llama-1-b")
    assert told["metadata"]["deletionGracePeriodSeconds"] == 9, "another pod's uid: left alone"
    await do(kube, EvictPod, namespace=NAMESPACE, pod="no-such-pod", grace_s=1)


@pytest.mark.usefixtures("scene")
async def test_a_scale_written_in_between_is_a_conflict(kube: Client):
    place: dict[str, Any] = {"namespace": NAMESPACE, "name": "llama", "subresource": "scale"}
    stale = await kube.call("get", DEPLOYMENTS, **place)
    replicas = stale["spec"]["replicas"] + 1
    await do(kube, SetReplicas, scale_target=TARGET, replicas=replicas)
    with pytest.raises(ApiError) as it:
        await kube.call("update", DEPLOYMENTS, **place, body=stale)
    assert it.value.status == 409


@pytest.mark.usefixtures("scene")
async def test_a_namespace_without_a_role_binding_is_left_out_until_it_has_one(
    control_plane: ControlPlane, admin: Client, as_pod: PodClient
):
    """One team's missing binding makes nobody else blind."""
    account, unbound = "apart", "unbound"
    await create(admin, NAMESPACES, {"metadata": {"name": unbound}})
    await control_plane.set_up_apart(admin, account)
    await control_plane.let_in(admin, account, namespace=NAMESPACE)
    both = FleetSpec(models=(model("llama"), model("qwen", namespace=unbound, name="qwen")))
    kube = await as_pod(account)
    async with Watching(kube, Timing(backoff_s_max=1.0), spec=both).running() as watching:
        await watching.until(lambda: watching.cluster.cluster_at > 0)
        assert [each.model for each in watching.observe().models] == ["serving/llama"]
        (right,) = watching.cluster.refusals().values()
        assert "lacks the verb `list` on" in right
        await control_plane.let_in(admin, account, namespace=unbound)
        await watching.until(lambda: not watching.cluster.refusals())
        await watching.until(lambda: watching.cluster.cluster_at > 0)
        assert [each.model for each in watching.observe().models] == [
            "serving/llama",
            "unbound/qwen",
        ]


@pytest.mark.usefixtures("scene")
async def test_an_api_server_that_dies_is_waited_for_and_nothing_is_forgotten(
    control_plane: ControlPlane, kube: Client
):
    async with Watching(kube, Timing(backoff_s_max=1.0)).running() as watching:
        await until_listed(watching.cluster)
        await watching.until(lambda: watching.observe().models[0].pools[0].rivals is not None)
        before = watching.observe()
        await control_plane.script("kill", "kube-apiserver")
        await watching.until(lambda: len(watching.cluster.problems()) == 4)
        during = watching.observe()
        assert during.cluster_at <= time.time()
        assert during.models[0].replicas.name == before.models[0].replicas.name
        assert during.models[0].pools == before.models[0].pools
        assert during.interruptions == before.interruptions, "a blip is no loss of nodes"
        with pytest.raises(ActuationError, match="check that the API server runs") as it:
            await do(kube, SetReplicas, scale_target=TARGET, replicas=9)
        assert it.value.reason == "Unavailable"
        await control_plane.script("restart", "kube-apiserver")
        back_at = time.time()
        await watching.until(lambda: watching.cluster.cluster_at > back_at)
        assert watching.cluster.problems() == ()
        # HPAs are an optional read: they may be listed a moment after the rest
        await watching.until(lambda: watching.observe().models[0].pools[0].rivals is not None)
        assert watching.observe().models[0].pools == before.models[0].pools
