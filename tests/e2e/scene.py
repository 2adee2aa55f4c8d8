"""Scenes: each a namespace with vLLM-shaped pods behind a Service; one daemon scales them.

The pods run `simulations.box.vllm_server` with the drain hook of `deploy/drain`; the daemon is installed
from `deploy/base` (see `daemon`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.daemon import NAMESPACE, Daemon, keep_logs
from tests.e2e.kubectl import answers, get, kubectl_async, wait_until

ROOT = Path(__file__).resolve().parents[2]
MODEL = "llama"
CAPACITY = {"spot": "spot", "on-demand": "on-demand"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What differs between scenes."""

    namespace: str
    image: str
    logs: Path
    cold_start_s: int = 20
    speed: float = 1.0
    """Of the engines, in times of the default profile's: below 1 streams take longer, and cost less here."""
    seats: int = 32
    """Requests that one replica runs at once, and is asked to hold."""
    pools: tuple[str, ...] = ("spot", "on-demand")
    """Names of pools, which are their capacity types; the Deployments are `llama-<pool>`."""
    replicas: dict[str, int] = field(default_factory=dict)
    """What the Deployments begin with; 0 where not said."""
    gpus: dict[str, int] = field(default_factory=dict)
    """GPUs of one replica, by pool; 1 where not said. Nodes have four."""
    grace_s: int = 51
    drain_budget_s: int = 30
    """Of the hook."""
    spec: dict[str, Any] = field(default_factory=dict)
    """Merged over the resource's spec."""

    # --- manifests ------------------------------------------------------------------------

    def deployment(self, pool: str) -> dict[str, Any]:
        """One pool's Deployment: the drain hook, and grace that covers hook and shutdown."""
        labels = {"app": MODEL, "pool": pool}
        container = {
            "name": "vllm",
            "image": self.image,
            "imagePullPolicy": "Never",
            "command": ["/usr/bin/python3", "-m", "simulations.box.vllm_server"],
            "args": [
                "--host=0.0.0.0",
                "--port=8000",
                f"--served-model-name={MODEL}",
                f"--max-num-seqs={self.seats}",
                f"--cold-start={self.cold_start_s}",
                f"--speed={self.speed:g}",
                "--shutdown-timeout=10",
            ],
            "ports": [{"name": "http", "containerPort": 8000}],
            "resources": {"limits": {"nvidia.com/gpu": self.gpus.get(pool, 1)}},
            "readinessProbe": {
                "httpGet": {"path": "/health", "port": 8000},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
                "failureThreshold": 10,
            },
            "lifecycle": {
                "preStop": {
                    "exec": {
                        "command": [
                            "/usr/bin/python3",
                            "/drain/drain.py",
                            "--port=8000",
                            f"--budget={self.drain_budget_s}",
                            "--endpoint-delay=3",
                        ]
                    }
                }
            },
            "volumeMounts": [{"name": "drain", "mountPath": "/drain"}],
        }
        values = [CAPACITY[pool]]
        term = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": values}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"{MODEL}-{pool}", "namespace": self.namespace, "labels": labels},
            "spec": {
                "replicas": self.replicas.get(pool, 0),
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "terminationGracePeriodSeconds": self.grace_s,
                        "containers": [container],
                        "volumes": [{"name": "drain", "configMap": {"name": "vllm-drain"}}],
                        "affinity": {
                            "nodeAffinity": {
                                "requiredDuringSchedulingIgnoredDuringExecution": {
                                    "nodeSelectorTerms": [{"matchExpressions": [term]}]
                                }
                            }
                        },
                    },
                },
            },
        }

    def service(self) -> dict[str, Any]:
        """One Service over all pools."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": MODEL, "namespace": self.namespace},
            "spec": {
                "selector": {"app": MODEL},
                "ports": [{"name": "http", "port": 8000, "targetPort": 8000}],
            },
        }

    def drain_hook(self) -> dict[str, Any]:
        """The hook as `deploy/drain` mounts it."""
        script = (ROOT / "deploy/drain/drain.py").read_text()
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "vllm-drain", "namespace": self.namespace},
            "data": {"drain.py": script},
        }

    def resource(self) -> dict[str, Any]:
        """The InferenceAutoscaler document."""
        types = {"spot": "Spot", "on-demand": "OnDemand"}
        prices = {"spot": "1.00", "on-demand": "3.00"}
        spec: dict[str, Any] = {
            "mode": "Active",
            "pools": [
                {
                    "name": pool,
                    "scaleTargetRef": {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": f"{MODEL}-{pool}",
                    },
                    "capacityType": types[pool],
                    "priceUSDPerHour": prices[pool],
                }
                for pool in self.pools
            ],
            "minReplicas": 1,
            "maxReplicas": 6,
            "coldStart": {"priorSeconds": self.cold_start_s},
            "targets": {"inFlightRequestsPerReplica": self.seats},
        }
        spec.update(self.spec)
        return {
            "apiVersion": "inference-autoscaler.dev/v1alpha1",
            "kind": "InferenceAutoscaler",
            "metadata": {"name": MODEL, "namespace": self.namespace},
            "spec": spec,
        }

    # --- what is seen ---------------------------------------------------------------------

    async def serving_address(self, *, timeout_s: float = 30) -> str:
        """The Service's URL, once it answers.

        A pod is Ready before kube-proxy knows: until then the Service refuses connections, and a load
        that began with the readiness would count that as lost requests.
        """
        service = (await get("services", MODEL, namespace=self.namespace))[0]
        url = f"http://{service['spec']['clusterIP']}:8000"
        healthy = partial(answers, f"{url}/health")
        await wait_until(f"{url} answers", healthy, timeout_s=timeout_s)
        return url

    async def wanted(self) -> dict[str, int]:
        """spec.replicas of each pool; empty while the API server is away."""
        found = await get("deployments", namespace=self.namespace, labels=f"app={MODEL}")
        return {d["metadata"]["labels"]["pool"]: d["spec"]["replicas"] for d in found}

    async def pods(self) -> list[dict[str, Any]]:
        """The model's pods."""
        return await get("pods", namespace=self.namespace, labels=f"app={MODEL}")

    async def ready_pods(self, pool: str | None = None) -> list[dict[str, Any]]:
        """Those that are Ready and not being deleted."""
        return [
            pod
            for pod in await self.pods()
            if is_ready(pod) and pool in (None, pod["metadata"]["labels"]["pool"])
        ]

    async def wait_ready(self, replicas: int, *, timeout_s: float = 120) -> None:
        """Until exactly so many replicas are ready."""

        async def enough() -> bool:
            return len(await self.ready_pods()) == replicas

        await wait_until(f"{replicas} replicas are ready", enough, timeout_s=timeout_s)


def _deleting(thing: dict[str, Any]) -> bool:
    return "deletionTimestamp" in thing["metadata"]


def is_ready(pod: dict[str, Any]) -> bool:
    """Ready and not being deleted."""
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and not _deleting(pod)


@asynccontextmanager
async def playing(
    *scenes: Scene,
    components: Sequence[str] = (),
    options: Sequence[str] = (),
    installed: bool = True,
) -> AsyncIterator[Daemon]:
    """The scenes and their daemon; taken down whatever happens, what their pods said is kept.

    Args:
        scenes: one or several, with one daemon.
        components: of `deploy/components`, by name.
        options: of `autoscaler run`, beside those of the manifest.
        installed: False: the scene installs the daemon itself, when it wants it (`Daemon.install`).
    """
    for scene in scenes:
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}},
            scene.drain_hook(),
            scene.service(),
            *(scene.deployment(pool) for pool in scene.pools),
        ]
        listing = {"apiVersion": "v1", "kind": "List", "items": objects}
        await kubectl_async("apply", "-f", "-", stdin=json.dumps(listing))
    folder = scenes[0].logs / scenes[0].namespace
    daemon = Daemon(
        image=scenes[0].image, folder=folder, components=tuple(components), options=tuple(options)
    )
    try:
        if installed:
            await install(daemon, *scenes)
        yield daemon
    finally:
        for namespace in (NAMESPACE, *(scene.namespace for scene in scenes)):
            await keep_logs(namespace, folder)
        await daemon.uninstall()
        for scene in scenes:
            await _leave(scene.namespace)


async def install(daemon: Daemon, *scenes: Scene) -> None:
    """Install the daemon for these scenes, and wait until it is ready."""
    namespaces = [scene.namespace for scene in scenes]
    await daemon.install([scene.resource() for scene in scenes], namespaces=namespaces)
    await wait_until("the daemon is ready", daemon.ready, timeout_s=120)


async def _leave(namespace: str) -> None:
    quickly = ("--grace-period=1", "--wait=true", "--timeout=60s")
    await kubectl_async("delete", "deployments", "--all", "-n", namespace, check=False)
    await kubectl_async("delete", "pods", "--all", "-n", namespace, *quickly, check=False)
    await kubectl_async("delete", "namespace", namespace, "--wait=false", check=False)
