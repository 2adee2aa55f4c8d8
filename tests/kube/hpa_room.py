"""A control plane whose HPA controller scales by a metric of the test's, one model, and the daemon beside it.

The controllers are Kubernetes's own, but for nodes: the test binds pods and says that they are ready, as a kubelet
would. The metric comes by the aggregated API, as from any adapter. KEDA is played: what its operator does to the HPA of a
ScaledObject, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.resources import DEPLOYMENTS, NODES, PODS, ApiResource
from autoscaler.migration.cluster import HPAS, SCALED_OBJECTS
from autoscaler.migration.scaled_object import PAUSED
from tests.daemon.live import Pods
from tests.kube.control_plane import NAMESPACE, NAMESPACES, ControlPlane, create, set_status
from tests.kube.definition import DEFINITIONS, install
from tests.require import ROOT

METRIC = "vllm_num_requests_waiting"
EXTERNAL = "external.metrics.k8s.io"
SERVICES = ApiResource(group="", version="v1", plural="services", namespaced=True)
API_SERVICES = ApiResource(
    group="apiregistration.k8s.io", version="v1", plural="apiservices", namespaced=False
)
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T12:00:00Z"}
CONTROLLERS = "*,-node-lifecycle-controller,-pod-garbage-collector-controller"
AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [update, patch]
  resources: [{group: apps, resources: [deployments/scale]}]
- level: None
"""
HPA_CONTROLLER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
DAEMON = "admin"
"""Who it is to the API server: nobody else of that name writes a scale."""
SCALED_OBJECT_DEFINITION = {
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {
            "kind": "ScaledObject",
            "listKind": "ScaledObjectList",
            "plural": "scaledobjects",
            "singular": "scaledobject",
        },
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
"""As much of KEDA's as a ScaledObject needs to be stored."""


async def install_scaled_objects(admin: Client) -> None:
    """Apply it, and wait until ScaledObjects are answered for."""
    await create(admin, DEFINITIONS, SCALED_OBJECT_DEFINITION)
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(ApiError):
                await admin.call("list", SCALED_OBJECTS)
                return
            await asyncio.sleep(0.1)


class HpaRoom:
    """All of it."""

    def __init__(self, control_plane: ControlPlane, admin: Client, folder: Path) -> None:
        self.control_plane, self.admin, self.folder = control_plane, admin, folder
        self.kubeconfig = control_plane.folder / "admin.kubeconfig"
        self.pods = Pods()
        self.waiting = 20
        """What the HPA is told."""
        self.history: list[int] = []
        """Replicas asked for, each change of them."""
        self.debug_port = 0
        self._daemon: Any = None
        self._ends = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._runner = web.AppRunner(self._adapter(), access_log=None, shutdown_timeout=0.2)

    # -- what there is

    async def set_up(self) -> None:
        self.pods.running = 30
        await self.pods.start()
        await create(self.admin, NAMESPACES, {"metadata": {"name": NAMESPACE}})
        await create(self.admin, NODES, {"metadata": {"name": "n"}})
        await set_status(self.admin, NODES, "n", {"conditions": [READY]})
        await install(self.admin)
        await install_scaled_objects(self.admin)
        await self._serve_metric()
        labels = {"app": "llama"}
        command = ["vllm", "serve", "llama", "--port", str(self.pods.port)]
        container = {
            "name": "vllm",
            "image": "vllm/vllm-openai:v0.18.1",
            "command": command,
            "resources": {"limits": {"nvidia.com/gpu": "1"}},
        }
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        body = {"metadata": {"name": "llama"}, "spec": spec}
        await create(self.admin, DEPLOYMENTS, body, namespace=NAMESPACE)
        self._tasks.append(asyncio.create_task(self._kubelet()))
        self._watching = asyncio.create_task(self._note())

    def hpa(self, name: str = "llama", **metadata: Any) -> dict[str, Any]:
        """Five waiting a replica, and no window on the way down: it takes away what it can at once."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
        external = {
            "metric": {"name": METRIC},
            "target": {"type": "AverageValue", "averageValue": "5"},
        }
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, **metadata},
            "spec": {
                "scaleTargetRef": target,
                "minReplicas": 2,
                "maxReplicas": 6,
                "metrics": [{"type": "External", "external": external}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
        }

    async def _serve_metric(self) -> None:
        """An adapter of metrics, behind the aggregator: a Service that is a name leads to loopback."""
        await self._runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pki = self.control_plane.folder / "pki"
        context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        port = self._runner.addresses[0][1]
        outside = {"type": "ExternalName", "externalName": "localhost"}
        await create(
            self.admin,
            SERVICES,
            {"metadata": {"name": "adapter"}, "spec": outside},
            namespace=NAMESPACE,
        )
        spec = {
            "group": EXTERNAL,
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": NAMESPACE, "name": "adapter", "port": port},
        }
        body = {"metadata": {"name": f"v1beta1.{EXTERNAL}"}, "spec": spec}
        await create(self.admin, API_SERVICES, body)

    def _adapter(self) -> web.Application:
        async def resources(_: web.Request) -> web.Response:
            told = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{EXTERNAL}/v1beta1",
                "resources": [
                    {
                        "name": METRIC,
                        "namespaced": True,
                        "kind": "ExternalMetricValueList",
                        "verbs": ["get"],
                        "singularName": "",
                    }
                ],
            }
            return web.json_response(told)

        async def values(_: web.Request) -> web.Response:
            item = {
                "metricName": METRIC,
                "timestamp": "2026-03-01T12:00:00Z",
                "value": str(self.waiting),
            }
            told = {
                "kind": "ExternalMetricValueList",
                "apiVersion": f"{EXTERNAL}/v1beta1",
                "metadata": {},
                "items": [item],
            }
            return web.json_response(told)

        application = web.Application()
        application.router.add_get(f"/apis/{EXTERNAL}/v1beta1", resources)
        application.router.add_get(
            f"/apis/{EXTERNAL}/v1beta1/namespaces/{NAMESPACE}/{METRIC}", values
        )
        return application

    # -- what goes on beside the test

    async def _kubelet(self) -> None:
        """Bind what is pending and say that it is ready; what is deleted is gone."""
        while not self._ends.is_set():
            with contextlib.suppress(ApiError):
                page = await self.admin.call("list", PODS, namespace=NAMESPACE)
                for pod in page["items"]:
                    await self._play(pod)
            await asyncio.sleep(0.2)

    async def _play(self, pod: dict[str, Any]) -> None:
        name, metadata = pod["metadata"]["name"], pod["metadata"]
        where = {"namespace": NAMESPACE, "name": name}
        if "deletionTimestamp" in metadata:
            now = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
            await self.admin.call("delete", PODS, **where, body=now)
        elif not pod["spec"].get("nodeName"):
            body = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name},
                "target": {"kind": "Node", "name": "n"},
            }
            await self.admin.call("create", PODS, **where, subresource="binding", body=body)
        elif pod["status"].get("phase") != "Running":
            ready = {**READY, "lastTransitionTime": metadata["creationTimestamp"]}
            told = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]}
            await set_status(self.admin, PODS, name, told, namespace=NAMESPACE)

    async def _note(self) -> None:
        """Watch the replicas that are asked for: every version of the Deployment, none is missed."""
        query = {"watch": "true", "timeoutSeconds": "300"}
        async with self.admin.stream(
            DEPLOYMENTS, namespace=NAMESPACE, query=query, silence_s=300
        ) as chunks:
            rest = b""
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    replicas = json.loads(line)["object"]["spec"]["replicas"]
                    if self.history[-1:] != [replicas]:
                        self.history.append(replicas)

    async def keda(self, name: str) -> None:
        """What KEDA's operator does to the HPA of a ScaledObject: none while it is paused, else one with its minimum."""

        async def operate() -> None:
            while not self._ends.is_set():
                with contextlib.suppress(ApiError):
                    await self._reconcile(name)
                await asyncio.sleep(0.3)

        self._tasks.append(asyncio.create_task(operate()))

    async def _reconcile(self, name: str) -> None:
        where = {"namespace": NAMESPACE, "name": f"keda-hpa-{name}"}
        item = await self.admin.call("get", SCALED_OBJECTS, namespace=NAMESPACE, name=name)
        page = await self.admin.call("list", HPAS, namespace=NAMESPACE)
        there = [each for each in page["items"] if each["metadata"]["name"] == where["name"]]
        least = max(1, item["spec"].get("minReplicaCount") or 0)
        if item["metadata"].get("annotations", {}).get(PAUSED) == "true":
            if there:
                await self.admin.call("delete", HPAS, **where)
        elif not there:
            owner = {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "name": name,
                "uid": item["metadata"]["uid"],
                "controller": True,
            }
            body = self.hpa(where["name"], ownerReferences=[owner])
            body["spec"]["minReplicas"] = least
            await create(self.admin, HPAS, body, namespace=NAMESPACE)
        elif there[0]["spec"]["minReplicas"] != least:
            change = {"spec": {"minReplicas": least}}
            await self.admin.call("patch", HPAS, **where, body=change, content_type=MERGE_PATCH)

    # -- what somebody does

    async def start_daemon(self) -> None:
        log = (self.folder / "daemon.log").open("wb")
        self.debug_port = await _free_port()
        with log:
            self._daemon = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "autoscaler.cli", "run", "--watch-resources",
                f"--kubeconfig={self.kubeconfig}", "--listen=127.0.0.1:0",
                f"--debug-listen=127.0.0.1:{self.debug_port}", "--tick-seconds=0.5",
                "--dcgm-selector=", "--log-format=json",
                stdout=log, stderr=log, cwd=ROOT,
            )  # fmt: skip

    async def call(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """`autoscaler COMMAND` as a process: its exit code, standard output and standard error."""
        options = [f"--kubeconfig={self.kubeconfig}"]
        if command == "takeover":
            options.append(f"--server=http://127.0.0.1:{self.debug_port}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "autoscaler.cli", command, *arguments, *options,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def scale_writers(self) -> list[str]:
        """Who wrote the scale, in order, each as long as nobody else did; by the API server's own log."""
        lines = (self.folder / "audit.log").read_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.endswith("\n")]
        names = [each["user"]["username"] for each in told if each["responseStatus"]["code"] < 300]
        return [name for name, _ in itertools.groupby(names)]

    async def replicas(self, count: int, *, within_s: float = 60) -> None:
        """Until so many are asked for, by whomever."""
        async with asyncio.timeout(within_s):
            while self.history[-1:] != [count]:
                await asyncio.sleep(0.1)

    async def end(self) -> None:
        if self._daemon is not None and self._daemon.returncode is None:
            self._daemon.terminate()
            await self._daemon.wait()
        self._ends.set()  # calls that are cut off would leave their sockets open
        await asyncio.gather(*self._tasks)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._runner.cleanup()
        await self.pods.stop()


@contextlib.asynccontextmanager
async def hpa_room(folder: Path) -> AsyncIterator[HpaRoom]:
    """One of a test's own."""
    made = ControlPlane(folder / "control-plane")
    policy = folder / "audit.yaml"
    policy.write_text(AUDIT)
    made._environment |= {
        "APISERVER_ARGS": f"--audit-policy-file={policy} --audit-log-path={folder / 'audit.log'} "
        "--audit-log-mode=blocking-strict",
        "WITHOUT": "kube-scheduler",
        "KCM_ARGS": f"--controllers={CONTROLLERS} --horizontal-pod-autoscaler-sync-period=1s",
    }
    await made.script("start")
    try:
        async with await made.admin() as admin:
            room = HpaRoom(made, admin, folder)
            try:
                await room.set_up()
                yield room
            finally:
                await room.end()
    finally:
        await made.script("stop")


async def _free_port() -> int:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def resource_of(text: str) -> dict[str, Any]:
    """What `autoscaler import` has written, with a price."""
    made: dict[str, Any] = yaml.safe_load(text)
    made["spec"]["pools"][0]["priceUSDPerHour"] = "2.00"
    made["spec"]["metrics"]["periodSeconds"] = 1
    return made
