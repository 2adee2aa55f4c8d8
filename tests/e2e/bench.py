"""Many nodes that are objects only, with `cluster/fake_kubelet.py` for a kubelet and one page for all pods."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web

from simulations.box.vllm_server.options import parse
from simulations.box.vllm_server.page import CONTENT_TYPE, MetricsPage
from simulations.serving.gauges import Gauges, gauges
from tests.e2e.dialects import stamp
from tests.e2e.kubectl import kubectl_async
from tests.e2e.nodes import GPUS
from tests.e2e.scene import MODEL, Scene

FAKE = "fake-kubelet"
"""Label of these nodes, and taint: nothing but their own models may land there."""
PROGRAM = Path(__file__).parent / "cluster/fake_kubelet.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchScene(Scene):
    """The same scene, on nodes that are objects only."""

    def deployment(self, pool: str) -> dict[str, Any]:
        """As on real nodes, but for where it may run."""
        found = Scene.deployment(
            self, pool
        )  # a class with slots is made anew: `super()` knows the old one
        spec = found["spec"]["template"]["spec"]
        spec["nodeSelector"] = {FAKE: "true"}
        spec["tolerations"] = [{"key": FAKE, "operator": "Exists"}]
        return found


def _node(name: str, capacity_type: str, gpus: int) -> dict[str, Any]:
    resources = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "1Ti", "pods": "110"}
    now = stamp(time.time())
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                FAKE: "true",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "fake",
                "topology.kubernetes.io/zone": f"zone-{int(name.rpartition('-')[2]) % 3}",
                "karpenter.sh/capacity-type": capacity_type,
            },
        },
        "spec": {"taints": [{"key": FAKE, "value": "true", "effect": "NoSchedule"}]},
        "status": {
            "capacity": resources | {GPUS: str(gpus)},
            "allocatable": resources | {GPUS: str(gpus)},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Fake",
                    "message": "",
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
            ],
        },
    }


async def add_nodes(names: Iterable[str], capacity_type: str, *, gpus: int = 1) -> None:
    """Nodes that are ready from the start."""
    items = [_node(name, capacity_type, gpus) for name in names]
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    await kubectl_async("create", "-f", "-", stdin=listing)


async def delete_nodes(names: Iterable[str]) -> None:
    """The machines are gone, and the cloud's controller has said so."""
    await kubectl_async("delete", "node", *names, "--wait=false", "--ignore-not-found")


async def _answer(_request: web.Request) -> web.Response:
    return web.Response(body=_idle_page(), headers={"Content-Type": CONTENT_TYPE})


@cache
def _idle_page() -> bytes:
    options = parse([f"--served-model-name={MODEL}", "--port=8000"])
    return MetricsPage(options).render(gauges([0.0] * len(Gauges._fields)))


@asynccontextmanager
async def fake_nodes(logs: Path) -> AsyncIterator[None]:
    """Their kubelet and their pods' pages, for the whole block; at its end the nodes go."""
    application = web.Application()
    application.router.add_get("/metrics", _answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 8000).start()
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "fake-kubelet.log").open("wb") as file:
        argv = [sys.executable, str(PROGRAM), f"--pods={os.environ['E2E_FAKE_PODS']}"]
        process = subprocess.Popen(argv, stdout=file, stderr=file)
    try:
        yield
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
        await kubectl_async("delete", "nodes", "-l", f"{FAKE}=true", check=False)
        await runner.cleanup()
