"""The whole daemon beside others who scale, on a real API server: the real HPA controller, GitOps, and a person.

No Deployment's controller runs: each model has one replica that the test made, under so much load that the daemon
asks for more of them as soon as it may.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.app import Daemon, DaemonOptions, first_config
from autoscaler.core.contract.commands import Command, SetReplicas
from autoscaler.core.contract.decision import Condition
from autoscaler.daemon.actuator import CommandEnding
from autoscaler.daemon.loop import Listener
from autoscaler.kube.api import access
from autoscaler.kube.api.client import Client, client_of
from autoscaler.kube.api.permissions import PERMISSIONS
from autoscaler.kube.api.resources import DEPLOYMENTS, NODES, PODS, REPLICA_SETS
from tests.daemon.live import Pods
from tests.daemon.test_resources_live import Kubectl
from tests.kube.control_plane import (
    ACCOUNT,
    ACCOUNTS,
    BINDINGS,
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
from tests.kube.test_control_plane import owned
from tests.test_settings import document

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CONTROLLERS = "serviceaccount-controller,horizontal-pod-autoscaler-controller"
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z"}
MOST = 4
"""What the daemon asks for under that load: the maximum."""


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async def set_up(_made: ControlPlane, admin: Client) -> None:
        await create(admin, NAMESPACES, {"metadata": {"name": NAMESPACE}})
        await create(admin, ACCOUNTS, {"metadata": {"name": ACCOUNT}}, namespace=NAMESPACE)
        await create(admin, ROLES, role(ACCOUNT, PERMISSIONS))
        await create(admin, BINDINGS, binding(ACCOUNT, to=ACCOUNT))
        await create(admin, NODES, {"metadata": {"name": "n"}})
        await set_status(admin, NODES, "n", {"conditions": [READY]})

    with running_control_plane(
        tmp_path_factory.mktemp("conflicts"),
        set_up,
        WITHOUT="kube-scheduler",
        KCM_ARGS=f"--controllers={CONTROLLERS} --horizontal-pod-autoscaler-sync-period=1s",
    ) as made:
        yield made


class Counting(Listener):
    """Counts the scales that the API server took from the daemon, by Deployment."""

    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()

    def command_ended(self, command: Command, ending: CommandEnding) -> None:
        if isinstance(command, SetReplicas) and ending.accepted:
            self.writes[command.scale_target.name] += 1


class Room:
    """One model, its only replica, and who else scales it."""

    def __init__(self, control_plane: ControlPlane, admin: Client, folder: Path) -> None:
        self.kubectl = Kubectl(control_plane)
        self.counting = Counting()
        self.pods = Pods()
        self.name = ""
        self._control_plane, self._admin, self._folder = control_plane, admin, folder

    async def set_up(self, name: str) -> None:
        self.name = name
        self.pods.running, self.pods.waiting = 200, 200
        await self.pods.start()
        await self.kubectl.apply(self.manifest(replicas=1))
        made = await self._admin.call("get", DEPLOYMENTS, namespace=NAMESPACE, name=name)
        told = {"observedGeneration": 1, "replicas": 1}
        await set_status(self._admin, DEPLOYMENTS, name, told, namespace=NAMESPACE)
        spec, labels = made["spec"], {"app": name}
        replica_set = await create(
            self._admin,
            REPLICA_SETS,
            {
                "metadata": {"name": f"{name}-1", "ownerReferences": [owned(made)]},
                "spec": {key: spec[key] for key in ("replicas", "selector", "template")},
            },
            namespace=NAMESPACE,
        )
        metadata = {
            "name": f"{name}-1-a",
            "labels": labels,
            "ownerReferences": [owned(replica_set)],
        }
        containers = {"containers": [{"name": "vllm", "image": "vllm"}], "nodeName": "n"}
        async with asyncio.timeout(30):  # until the default account is there
            while True:
                with contextlib.suppress(Exception):
                    await create(
                        self._admin, PODS, {"metadata": metadata, "spec": containers},
                        namespace=NAMESPACE,
                    )  # fmt: skip
                    break
                await asyncio.sleep(0.2)
        running = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [READY]}
        await set_status(self._admin, PODS, f"{name}-1-a", running, namespace=NAMESPACE)

    def manifest(self, *, replicas: int) -> dict[str, Any]:
        labels = {"app": self.name}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "vllm", "image": "vllm"}]},
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": template,
            },
        }

    @contextlib.asynccontextmanager
    async def daemon(self, **spec: Any) -> AsyncIterator[Daemon]:
        """One that runs as a pod would, with the rights of the table."""
        environment = await self._control_plane.mount_account(
            self._admin, self._folder, account=ACCOUNT
        )
        config = self._folder / "config.yaml"
        made = document(
            pools=[{"name": "pool", "scaleTargetRef": {"name": self.name}}],
            metrics={"port": self.pods.port, "periodSeconds": 1},
            maxReplicas=MOST,
            **spec,
        )
        made["metadata"]["name"] = self.name
        config.write_text(yaml.safe_dump(made))
        options = DaemonOptions(config=config, tick_s=0.5, dcgm_selector="", leader_elect=False)
        stop = asyncio.Event()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            granted = await access.in_cluster(self._folder)
        async with client_of(granted) as client:
            running = Daemon(
                options, config=first_config(options), client=client, listeners=[self.counting]
            )
            task = asyncio.create_task(running.run(stop))
            try:
                yield running
            finally:
                stop.set()
                await task

    @property
    def writes(self) -> int:
        return self.counting.writes[self.name]

    async def replicas(self) -> int:
        found = await self._admin.call("get", DEPLOYMENTS, namespace=NAMESPACE, name=self.name)
        return int(found["spec"]["replicas"])

    async def until_replicas(self, replicas: int) -> None:
        async with asyncio.timeout(60):
            while await self.replicas() != replicas:
                await asyncio.sleep(0.1)

    def condition(self, daemon: Daemon) -> Condition | None:
        decision = daemon.telemetry.status.decisions.get(f"{NAMESPACE}/{self.name}")
        conditions = () if decision is None else decision.conditions
        return next((each for each in conditions if each.type == "Conflicted"), None)

    async def until_reason(self, daemon: Daemon, reason: str) -> str:
        async with asyncio.timeout(60):
            while True:
                said = self.condition(daemon)
                if said is not None and said.reason == reason:
                    return said.message
                await asyncio.sleep(0.05)


Begin = Callable[[str], Any]


@pytest.fixture
async def begin(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Begin]:
    async with await control_plane.admin() as admin, contextlib.AsyncExitStack() as stack:

        async def start(name: str) -> Room:
            room = Room(control_plane, admin, tmp_path)
            stack.push_async_callback(room.pods.stop)
            await room.set_up(name)
            return room

        yield start


async def test_the_real_hpa_controller_is_never_fought(begin: Begin):
    room: Room = await begin("hpa")
    await room.kubectl.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "old", "namespace": NAMESPACE},
            "spec": {
                "minReplicas": 2,
                "maxReplicas": 2,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "hpa"},
            },
        }
    )
    await room.until_replicas(2)  # it is running
    async with room.daemon() as daemon:
        message = await room.until_reason(daemon, "HorizontalPodAutoscaler")
        assert "HorizontalPodAutoscaler/serving/old (since 2" in message
        assert "kubectl -n serving delete hpa old" in message
        await asyncio.sleep(15.0)
        assert (room.writes, await room.replicas()) == (0, 2)
        # Once it is deleted, as it was told, its last number is nobody's wish.
        await room.kubectl("-n", NAMESPACE, "delete", "hpa", "old")
        await room.until_reason(daemon, "NoConflict")
        await room.until_replicas(MOST)
        assert room.writes == 1


async def test_an_hpa_that_comes_later_is_left_alone_from_then_on(begin: Begin):
    room: Room = await begin("later")
    async with room.daemon() as daemon:
        await room.until_replicas(MOST)
        await room.kubectl(
            "-n", NAMESPACE, "autoscale", "deployment", "later", "--min=1", "--max=2"
        )
        await room.until_replicas(2)
        await room.until_reason(daemon, "HorizontalPodAutoscaler")
        await asyncio.sleep(5.0)
        assert (room.writes, await room.replicas()) == (1, 2)


async def test_a_persons_scale_is_respected_and_a_restart_knows_of_it(begin: Begin):
    room: Room = await begin("person")
    async with room.daemon() as daemon:
        await room.until_replicas(MOST)  # whoever made it is no rival
        await room.kubectl("-n", NAMESPACE, "scale", "deployment", "person", "--replicas=2")
        message = await room.until_reason(daemon, "ManualScale")
        assert message.startswith("kubectl set Deployment/serving/person to 2 replicas by 2")
        await asyncio.sleep(5.0)
        assert (room.writes, await room.replicas()) == (1, 2)
    async with room.daemon() as daemon:
        await room.until_reason(daemon, "ManualScale")
        await asyncio.sleep(3.0)
        assert (room.writes, await room.replicas()) == (1, 2)
    async with room.daemon(manualScale={"holdSeconds": 1}):
        await room.until_replicas(MOST)


async def test_gitops_that_applies_every_two_seconds_is_answered_once_at_most(begin: Begin):
    room: Room = await begin("gitops")
    git = yaml.safe_dump(room.manifest(replicas=1))

    async def reconcile() -> None:
        while True:
            await room.kubectl(
                "apply", "--server-side", "--force-conflicts",
                "--field-manager=kustomize-controller", "-f", "-", stdin=git,
            )  # fmt: skip
            await asyncio.sleep(2.0)

    await room.kubectl.apply(room.manifest(replicas=1))
    async with room.daemon() as daemon:
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(reconcile())
            message = await room.until_reason(daemon, "OtherWriter")
            assert "kustomize-controller set Deployment/serving/gitops to 1 replicas by" in message
            await asyncio.sleep(15.0)
            loop.cancel()
        assert room.writes == 1
        assert await room.replicas() == 1
