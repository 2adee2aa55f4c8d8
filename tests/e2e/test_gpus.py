"""GPUs through DCGM exporters: what is free and what loads, and a card that can carry nothing any more."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.daemon import Daemon
from tests.e2e.exporter import exporting
from tests.e2e.kubectl import get, wait_until
from tests.e2e.scene import Scene, install, playing

COLD_START_S = 75
"""Longer than it takes until a fault is read (exporter 1 s, daemon 15 s) and acted on (tick 5 s); a start that
nothing is known of would be given up after twice this."""
SERVING_BYTES = 75_186 * 2**20
"""Of the stand-in's replicas, once they are ready."""


async def _page(daemon: Daemon) -> dict[str, Any]:
    text = await daemon.get("/debug/models")
    return {} if text.startswith("unreachable") else json.loads(text)


async def _gauge(daemon: Daemon, name: str) -> float | None:
    """A gauge without labels that tell series apart; None: it has no series."""
    text = await daemon.get("/metrics")
    if text.startswith("unreachable"):
        return None
    samples = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"inference_autoscaler_{name}"
    ]
    return samples[0] if samples else None


async def _condition(daemon: Daemon) -> str:
    models = (await _page(daemon)).get("models", [])
    told = [each for model in models for each in model["conditions"]]
    return "".join(f"{c['status']}/{c['reason']}" for c in told if c["type"] == "GpusHealthy")


async def test_a_start_on_a_broken_gpu_is_asked_for_elsewhere(image, logs):
    scene = Scene(
        namespace="e2e-gpus",
        image=image,
        logs=logs,
        cold_start_s=COLD_START_S,
        replicas={"spot": 1},
        spec={"minReplicas": 2, "maxReplicas": 4},
    )
    spots = [
        node["metadata"]["name"]
        for node in await get("nodes", labels="karpenter.sh/capacity-type=spot")
    ]
    async with (
        exporting(image, logs / scene.namespace) as exporters,
        playing(scene, components=["dcgm"], installed=False) as daemon,
    ):
        await scene.wait_ready(1, timeout_s=COLD_START_S + 60)
        await install(daemon, scene)

        async def second_starts() -> bool:
            return (await scene.wanted()).get("spot") == 2 and len(await scene.pods()) == 2

        await wait_until("spot is asked for a second", second_starts, timeout_s=30)

        seen: set[float] = set()

        async def both_are_read() -> bool:
            used = await _gauge(daemon, "framebuffer_used_bytes")
            if used is not None and used > SERVING_BYTES:
                seen.add(used)
            return bool(seen)

        await wait_until("the memory of both is known", both_are_read, timeout_s=40)
        assert max(seen) < 2 * SERVING_BYTES, "one serves, one loads"
        free = {each["node"]: each["free"] for each in (await _page(daemon))["gpus"]}
        assert len(free) == len(await get("nodes"))
        assert sum(free.values()) == 4 * len(free) - 2
        assert await _gauge(daemon, "gpus_unhealthy") == 0
        assert await _condition(daemon) == "True/NoFaultSeen"
        assert (await scene.wanted())["on-demand"] == 0

        for node in spots:
            await exporters.fail(node, xid=79)

        async def asked_elsewhere() -> bool:
            return (await scene.wanted()).get("on-demand") == 1

        await wait_until("on-demand stands in", asked_elsewhere, timeout_s=30)
        assert len(await scene.ready_pods("spot")) == 1, "still loading: given up for its GPU alone"
        assert await _condition(daemon) == "False/GpusUnhealthy"
        assert await _gauge(daemon, "gpus_unhealthy") == 4 * len(spots)
        page = await _page(daemon)
        free = {each["node"]: each["free"] for each in page["gpus"]}
        assert [free[node] for node in spots] == [0] * len(spots)
        (model,) = page["models"]
        pools = {pool["pool"]: pool for pool in model["pools"]}
        # The one that serves goes on to serve.
        assert (pools["spot"]["ready_replicas"], pools["spot"]["starting_replicas"]) == (1, 0)
        assert pools["spot"]["unhealthy_replicas"] == 2
        faults = [fault for each in page["gpus"] for fault in each["faults"]]
        assert len(faults) == 4 * len(spots)
        assert all("Xid 79" in fault for fault in faults)

        for node in spots:
            await exporters.fail(node, xid=0)

        async def mended() -> bool:
            return await _condition(daemon) == "True/NoFaultSeen"

        await wait_until("the cards are well again", mended, timeout_s=30)
