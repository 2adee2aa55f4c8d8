"""A whole daemon in this process, its real clients on an API server and a pod that are sockets on loopback.

Nothing acts on the objects but the daemon and the test: no scheduler, no kubelet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from autoscaler.app import Daemon, DaemonOptions, first_config
from autoscaler.kube.api.client import connect
from autoscaler.kube.lease.contender import LeaseTimes
from simulations.box.local_cluster import LocalCluster
from tests.test_settings import document

NAMESPACE = "serving"
PAGE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="llama"}} {running}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="llama"}} {waiting}
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="llama"}} 0.1
# TYPE vllm:request_success_total counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="llama"}} 0.0
"""


class Pods:
    """One server that answers for every pod with the same page."""

    def __init__(self) -> None:
        self.running, self.waiting = 4, 0
        self.html = False
        application = web.Application()
        application.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        self.port = 0

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _page(self, _: web.Request) -> web.Response:
        if self.html:
            return web.Response(text="<html>login</html>", content_type="text/html")
        return web.Response(text=PAGE.format(running=self.running, waiting=self.waiting))


class Live:
    """The cluster, the pods, and daemons that come and go."""

    def __init__(self, cluster: LocalCluster, pods: Pods, folder: Path) -> None:
        self.cluster = cluster
        self.pods = pods
        self.folder = folder
        self.config = folder / "config.yaml"
        self.recording = folder / "recording"

    # -- objects

    def write_config(self, **spec: Any) -> None:
        """The resource: a spot and an on-demand pool."""
        made = document(
            pools=[
                {
                    "name": "spot",
                    "scaleTargetRef": {"name": "llama-spot"},
                    "capacityType": "Spot",
                    "priceUSDPerHour": "1",
                },
                {
                    "name": "on-demand",
                    "scaleTargetRef": {"name": "llama-on-demand"},
                    "priceUSDPerHour": "3",
                },
            ],
            metrics={"port": self.pods.port, "periodSeconds": 1},
            coldStart={"priorSeconds": 5},
            **{"maxReplicas": 4, "warmFloor": {"replicas": 1, "capacityType": "OnDemand"}, **spec},
        )
        self.config.write_text(yaml.safe_dump(made))

    def add_node(self, name: str, kind: str) -> None:
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {"karpenter.sh/capacity-type": kind}},
                "status": {"conditions": [_condition("Ready")]},
            }
        )

    def add_pool(self, name: str, *, node: str, replicas: int) -> None:
        """A Deployment whose replicas are ready on a node."""
        labels = {"app": name}
        spec = {"containers": [{"name": "vllm", "image": "x"}]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        selector = {"matchLabels": labels}
        deployment = self._add(
            "Deployment",
            name,
            spec={"replicas": replicas, "selector": selector, "template": template},
            status={"observedGeneration": 1},  # no controller counts the pods that come and go
        )
        owner = self._add(
            "ReplicaSet",
            f"{name}-1",
            owner=deployment,
            spec={"replicas": replicas, "selector": selector, "template": template},
        )
        for number in range(replicas):
            self._add(
                "Pod",
                f"{name}-1-{number}",
                owner=owner,
                spec={**spec, "nodeName": node, "terminationGracePeriodSeconds": 30},
                status={
                    "phase": "Running",
                    "podIP": "127.0.0.1",
                    "conditions": [_condition("PodScheduled"), _condition("Ready")],
                },
            )

    def _add(self, kind: str, name: str, *, owner: Any = None, **parts: Any) -> Any:
        metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
        if owner is not None:
            metadata["ownerReferences"] = [
                {
                    "apiVersion": owner["apiVersion"],
                    "kind": owner["kind"],
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                }
            ]
        version = "v1" if kind == "Pod" else "apps/v1"
        return self.cluster.apply(
            {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}
        )

    def replicas(self, name: str) -> int:
        return self.cluster.store.get("deployments", NAMESPACE, name)["spec"]["replicas"]

    def annotations(self, name: str) -> dict[str, str]:
        found = self.cluster.store.get("deployments", NAMESPACE, name)
        return found["metadata"].get("annotations") or {}

    def node(self, name: str) -> Any:
        return self.cluster.store.get("nodes", "", name)

    def pod(self, name: str) -> Any:
        return self.cluster.store.find("pods", NAMESPACE, name)

    # -- daemons

    @contextlib.asynccontextmanager
    async def daemon(
        self, *, lease_times: LeaseTimes | None = None, **options: Any
    ) -> AsyncIterator[Daemon]:
        """A daemon that runs; shut down in order at the end."""
        given = DaemonOptions(
            config=self.config,
            **{
                "tick_s": 0.2,
                "record": self.recording,
                "dcgm_selector": "",
                "leader_elect": False,
            }
            | options,
        )
        stop = asyncio.Event()
        async with await connect(str(self.cluster.kubeconfig)) as client:
            daemon = Daemon(
                given, config=first_config(given), client=client, lease_times=lease_times
            )
            running = asyncio.create_task(daemon.run(stop))
            try:
                yield daemon
            finally:
                stop.set()
                await running


async def until(holds: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Ask again and again: what is asked about is in other tasks and on sockets."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.02)


def _condition(kind: str) -> dict[str, str]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": "True", "reason": "Because", "lastTransitionTime": now}


@contextlib.asynccontextmanager
async def live(folder: Path) -> AsyncIterator[Live]:
    """One on-demand and one spot node, a replica on each."""
    pods = Pods()
    await pods.start()
    async with LocalCluster(controllers=False, folder=folder / "cluster") as cluster:
        made = Live(cluster, pods, folder)
        made.write_config()
        made.add_node("od-1", "on-demand")
        made.add_node("spot-1", "spot")
        made.add_pool("llama-on-demand", node="od-1", replicas=1)
        made.add_pool("llama-spot", node="spot-1", replicas=1)
        yield made
    await pods.stop()
