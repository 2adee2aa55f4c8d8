"""A scale-down from eight to two under streams of 40 s: who goes, and that nothing is lost.

The two youngest, which the ReplicaSet deletes first, are given by far the most streams. With the right to
set deletion costs they stay; without it they go, and the hook's budget has to bear them.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.core.contract.deletion_cost import COST_ANNOTATION
from tests.e2e.daemon import Daemon
from tests.e2e.kubectl import kubectl_async, wait_until
from tests.e2e.load import Load
from tests.e2e.scene import MODEL, Scene, install, playing

TOKENS = 1500
"""About 40 s of the stand-in's default profile."""
BUDGET_S = 60
"""Of the hook: longer than a stream, so that it forces no cut."""
OLDER_S = 75
"""So much older are the others: by more than a power of two when the daemon has come up."""
PINNED = 12
"""Streams at once to each of the two that are to be busy."""
RATE = 0.3
"""Streams a second through the Service: one or two on each of eight."""


def _scene(name: str, image: str, logs: Any) -> Scene:
    return Scene(
        namespace=name,
        image=image,
        logs=logs,
        cold_start_s=5,
        pools=("spot",),
        replicas={"spot": 6},
        drain_budget_s=BUDGET_S,
        grace_s=BUDGET_S + 30,
        # What scales down is the maximum: at once, and as far as it says.
        # The eight are scaled by hand just before, and a person's number is left for ten minutes else.
        spec={"minReplicas": 2, "maxReplicas": 2, "manualScale": {"holdSeconds": 0}},
    )


def _ready_s(pod: dict[str, Any]) -> float:
    """For how long it has been ready."""
    conditions = {c["type"]: c for c in pod["status"]["conditions"]}
    since = datetime.fromisoformat(conditions["Ready"]["lastTransitionTime"]).timestamp()
    return time.time() - since


async def _departed(daemon: Daemon) -> dict[str, float]:
    """What went with scale-downs, as exported: `replicas Idle`, `requests Lost`, `in_flight_requests`."""
    found = {}
    for family in text_string_to_metric_families(await daemon.get("/metrics")):
        what = family.name.removeprefix("inference_autoscaler_departed_")
        for sample in family.samples:
            if what != family.name and sample.labels["cause"] == "ScaleDown":
                word = sample.labels.get("drained") or sample.labels.get("outcome") or ""
                found[f"{what} {word}".strip()] = sample.value
    return found


@asynccontextmanager
async def _streams(scene: Scene, busy: list[dict[str, Any]]) -> AsyncIterator[list[Load]]:
    """Streams through the Service until the end of the block, and many to the busy ones, once."""
    through = Load(url=await scene.serving_address(), model=MODEL, tokens=TOKENS)
    loads = [through]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(through.playing([(600, RATE)], seed=5))
        for number, pod in enumerate(busy):
            address = f"http://{pod['status']['podIP']}:8000"
            pinned = Load(url=address, model=MODEL, tokens=TOKENS)
            loads.append(pinned)
            await stack.enter_async_context(pinned.playing([(2, PINNED / 2)], seed=number))
        yield loads


async def _condition(daemon: Daemon) -> str:
    page = json.loads(await daemon.get("/debug/models"))
    (model,) = page["models"]
    (told,) = (each for each in model["conditions"] if each["type"] == "VictimsChosen")
    return f"{told['status']}/{told['reason']}"


@pytest.mark.parametrize("right", [True, False], ids=["with", "without"])
async def test_eight_to_two_loses_nothing(right, image, logs):
    scene = _scene(f"e2e-victims-{'with' if right else 'without'}", image, logs)
    components = ["deletion-cost"] if right else []
    async with playing(scene, components=components, installed=False) as daemon:
        await scene.wait_ready(6)
        older = {pod["metadata"]["name"] for pod in await scene.ready_pods()}
        await asyncio.sleep(OLDER_S)
        await kubectl_async(
            "scale", f"deployment/{MODEL}-spot", "--replicas=8", "-n", scene.namespace
        )
        await scene.wait_ready(8)
        pods = await scene.ready_pods()
        busy = [pod for pod in pods if pod["metadata"]["name"] not in older]
        names = {pod["metadata"]["name"] for pod in busy}
        went: set[str] = set()
        async with _streams(scene, busy) as loads:
            await asyncio.sleep(4)
            await install(daemon, scene)

            async def scaled_down() -> bool:
                found = await scene.pods()
                went.update(
                    pod["metadata"]["name"]
                    for pod in found
                    if "deletionTimestamp" in pod["metadata"]
                )
                return len(went) == 6

            await wait_until("six are asked to go", scaled_down, timeout_s=60)
            ages = sorted(_ready_s(pod) for pod in pods)
            assert ages[2] >= 2 * ages[1], (
                "too slow: to a ReplicaSet they are all of one age by now"
            )
            held = [load.in_flight for load in loads]
            assert min(held[1:]) >= PINNED // 3, "the busy ones had streams when they were chosen"

            async def gone() -> bool:
                return len(await scene.pods()) == 2

            await wait_until("they have finished", gone, timeout_s=BUDGET_S + 45)
        left = await scene.ready_pods()
        said = await _condition(daemon)

        async def counted() -> dict[str, float] | None:
            told = await _departed(daemon)
            gone = sum(told[f"replicas {word}"] for word in ("Idle", "Cut", "Unknown"))
            return told if gone >= 6 else None

        told = await wait_until("the departures are counted", counted, timeout_s=20)
    lost = [request for load in loads for request in load.lost()]
    streams = [
        request.ended_at - request.sent_at
        for load in loads
        for request in load.requests
        if request.ended_at is not None
    ]
    print(
        f"\n{len(streams)} streams of {statistics.median(streams):.0f} s (median), {len(lost)} lost;"
        f" in flight at the scale-down: {held[0]} through the Service, {held[1:]} on the busy ones;"
        f" busy ones that went: {len(names & went)}; {said}; exported: {told}"
    )
    assert 30.0 < statistics.median(streams) < 60.0
    assert lost == [], f"{len(lost)} of {len(streams)} lost: {lost[:3]}"
    assert not math.isnan(sum(streams))
    if right:
        assert not names & went, "those with the most in flight went"
        assert said == "True/CostsAccepted"
    else:
        assert names <= went, "the scene shows nothing: the ReplicaSet chose others"
        assert said == "False/CostsForbidden"
    assert told["requests Lost"] == told["replicas Cut"] == 0
    if not right:  # of what the busy ones had, the pages saw most finish
        assert told["in_flight_requests"] >= 2 * PINNED // 3
        assert told["requests Finished"] >= 0.5 * told["in_flight_requests"]
    costs = [pod["metadata"].get("annotations", {}).get(COST_ANNOTATION) for pod in left]
    assert costs == [None, None], "no cost stays behind"
