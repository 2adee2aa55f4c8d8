"""What `deploy/examples/vllm` ships, run in the box as it stands: it serves, and it drains."""

from __future__ import annotations

import asyncio
import shutil

import aiohttp
import pytest
import yaml

from simulations.box.local_cluster import ClusterDelays, LocalCluster, Machine
from simulations.box.local_cluster.objects import BY_KIND, condition_is_true
from tests.require import ROOT, require

pytestmark = [pytest.mark.slow, pytest.mark.alone]
MODEL = "qwen3-8b"


@pytest.mark.timeout(300)
async def test_the_shipped_example_serves_and_drains():
    require("kubectl", shutil.which("kubectl"), "kubectl builds the kustomization")
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        "kustomize",
        str(ROOT / "deploy" / "examples" / "vllm"),
        stdout=asyncio.subprocess.PIPE,
    )
    built, _ = await process.communicate()
    assert process.returncode == 0
    documents = [d for d in yaml.safe_load_all(built) if d["kind"] in BY_KIND]
    async with LocalCluster(delays=ClusterDelays(endpoints_after_s=0.1)) as cluster:
        cluster.nodes.add(Machine(name="on-demand-1"))
        cluster.nodes.add(Machine(name="spot-1", spot=True))
        for document in documents:
            cluster.apply(document)
        service = next(d for d in documents if d["kind"] == "Service")
        exposed = await cluster.expose(
            service["metadata"]["namespace"],
            service["spec"]["selector"],
            port=service["spec"]["ports"][0]["targetPort"],
        )
        pods = cluster.store.all("pods")
        assert {pod["spec"]["nodeName"] for pod in pods} == {"on-demand-1", "spot-1"}
        await cluster.until(lambda: len(exposed.endpoints) == 2, timeout_s=120)
        async with aiohttp.ClientSession(exposed.url) as http:
            body = {"model": MODEL, "prompt": "hello", "max_tokens": 4, "ignore_eos": True}
            async with http.post("/v1/completions", json=body) as answer:
                assert answer.status == 200
                assert (await answer.json())["usage"]["completion_tokens"] == 4
        spot = next(pod for pod in cluster.store.all("pods") if "-spot-" in pod["metadata"]["name"])
        assert condition_is_true(spot, "Ready")
        cluster.store.modify(
            "deployments",
            spot["metadata"]["namespace"],
            f"{MODEL}-spot",
            lambda deployment: deployment["spec"].update(replicas=0),
        )
        await cluster.until(lambda: bool(cluster.endings), timeout_s=120)
        (ending,) = cluster.endings
        assert (ending.hook_exit_code, ending.exit_code) == (0, 0)
        log = (cluster.folder / "logs" / f"{spot['metadata']['name']}.log").read_text()
        assert "drain: waiting 15 s" in log
        assert "drain: idle, 3 polls in a row" in log
