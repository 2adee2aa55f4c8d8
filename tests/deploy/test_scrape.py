"""The scrape jobs in a real Prometheus, given what Kubernetes' discovery would say of our pods.

Debian's Prometheus has no Kubernetes discovery, and there is no cluster here: the discovered labels are
given as static ones, and the rest of each job is as it is shipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.deploy.manifests import DEPLOY, container_of, of_kind, one, render
from tests.require import require
from tests.sources.servers import free_port

META = "__meta_kubernetes_"
PATIENCE_S = 60.0


def discovered(deployment: dict[str, Any], **changes: str) -> dict[str, str]:
    """Say of a pod of this Deployment what the role `pod` says."""
    template = deployment["spec"]["template"]["metadata"]
    (port,) = container_of(deployment)["ports"]
    labels = {
        "namespace": deployment["metadata"]["namespace"],
        "pod_name": f"{deployment['metadata']['name']}-x7k2p",
        "pod_node_name": "worker-1",
        "pod_phase": "Running",
        "pod_container_init": "false",
        "pod_container_port_name": port["name"],
        "pod_container_port_number": str(port["containerPort"]),
    }
    for what in ("labels", "annotations"):
        for name, value in template.get(what, {}).items():
            legal = "".join(letter if letter.isalnum() else "_" for letter in name)
            labels[f"pod_{what[:-1]}_{legal}"] = value
    return {META + name: value for name, value in (labels | changes).items()}


def configuration(pods: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    """Give each job its pods, each with an address of its own."""
    shipped = yaml.safe_load((DEPLOY / "prometheus/scrape.yaml").read_text())
    assert set(shipped) == {"scrape_configs"}
    for job in shipped["scrape_configs"]:
        (discovery,) = job.pop("kubernetes_sd_configs")
        assert discovery["role"] == "pod"
        (namespace,) = discovery["namespaces"]["names"]
        told = pods[job["job_name"]]
        assert {labels[META + "namespace"] for labels in told} == {namespace}
        job["static_configs"] = [
            {"targets": [f"127.0.0.1:{number}"], "labels": labels}
            for number, labels in enumerate(told, start=1)
        ]
    return shipped


async def targets(folder: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Let Prometheus relabel them, and return those that it keeps."""
    binary = shutil.which("prometheus")
    require("prometheus", binary, "the Debian package `prometheus` is not installed")
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(binary),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
            while True:
                assert process.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{port}/api/v1/targets") as reply:
                        found = (await reply.json())["data"]["activeTargets"]
                        if len({target["scrapePool"] for target in found}) == 3:
                            return list(found)
                await asyncio.sleep(0.1)
    finally:
        process.kill()
        process.wait()


@pytest.mark.prometheus
@pytest.mark.slow
async def test_our_pods_are_kept_with_the_labels_that_tell_replicas_apart(tmp_path: Path):
    (daemon,) = of_kind(render(DEPLOY / "base"), "Deployment")
    engine = one(render(DEPLOY / "examples/vllm"), "Deployment", "qwen3-8b-spot")
    exporter = {
        META + name: value
        for name, value in {
            "namespace": "gpu-operator",
            "pod_name": "nvidia-dcgm-exporter-1",
            "pod_node_name": "worker-1",
            "pod_label_app": "nvidia-dcgm-exporter",
            "pod_container_port_number": "9400",
        }.items()
    }
    config = configuration(
        {
            "inference-autoscaler": [
                discovered(daemon),
                discovered(daemon, pod_label_app_kubernetes_io_name="other"),
            ],
            "vllm": [
                discovered(engine),
                discovered(engine, pod_annotation_prometheus_io_scrape="false"),
                discovered(engine, pod_container_port_name="side"),
                discovered(engine, pod_phase="Succeeded"),
            ],
            "dcgm": [exporter, exporter | {META + "pod_label_app": "gpu-feature-discovery"}],
        }
    )
    kept = {
        (target["scrapePool"], target["scrapeUrl"]): target["labels"]
        for target in await targets(tmp_path, config)
    }
    assert kept == {
        ("inference-autoscaler", "http://127.0.0.1:1/metrics"): {
            "instance": "127.0.0.1:1",
            "job": "inference-autoscaler",
            "namespace": "inference-autoscaler",
        },
        ("vllm", "http://127.0.0.1:1/metrics"): {
            "instance": "127.0.0.1:1",
            "job": "vllm",
            "namespace": "serving",
            "pod": "qwen3-8b-spot-x7k2p",
        },
        ("dcgm", "http://127.0.0.1:1/metrics"): {
            "instance": "127.0.0.1:1",
            "job": "dcgm",
            "namespace": "gpu-operator",
            "pod": "nvidia-dcgm-exporter-1",
            "node": "worker-1",
        },
    }
