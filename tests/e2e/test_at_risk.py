"""Streams of 40 s under a notice of 30 s: what will be cut is told beforehand.

The hook and the engine have all of the time that there is. What then is not whole is held against the
figure that was exported while nothing was cut yet.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import dialects
from tests.e2e.daemon import Daemon
from tests.e2e.kubectl import wait_until
from tests.e2e.load import Load
from tests.e2e.nodes import give_back, power_off, take
from tests.e2e.scene import Scene, playing
from tests.e2e.story import (
    endpoints,
    give_notice,
    is_raised,
    is_released,
    loaded,
    settled,
    spot_nodes,
)

AT_RISK = "inference_autoscaler_requests_at_risk"
STREAM_S = 40.0
TOKENS = 380
SPEED = 0.25
"""380 tokens in about 40 s."""
RATE = 2.0
"""Streams a second over three replicas: about 27 in flight on each."""
SHUTDOWN_S = 10
"""Of the engine, after the hook; the two together are what the notice leaves."""
BUDGET_S = 14


def _scene(image: str, logs) -> Scene:
    return Scene(
        namespace="e2e-at-risk",
        image=image,
        logs=logs,
        cold_start_s=10,
        speed=SPEED,
        seats=64,
        replicas={"on-demand": 1, "spot": 2},
        gpus={"spot": 4},
        drain_budget_s=BUDGET_S,
        grace_s=BUDGET_S + SHUTDOWN_S + 11,
        spec={
            "minReplicas": 3,
            "maxReplicas": 3,
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "spot": {
                "onDemandFallback": "Enabled",
                "returnAfterSeconds": 10,
                "drainMarginSeconds": 5,
            },
        },
    )


async def _exported(daemon: Daemon, name: str) -> float:
    """The sum over a family's series; NaN where it has none."""
    page = await daemon.get("/metrics")
    found = [
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    ]
    return sum(found) if found else math.nan


async def _figures(daemon: Daemon, until: float) -> list[float]:
    """What is exported, once a second."""
    found = []
    while time.time() < until:
        found.append(await _exported(daemon, AT_RISK))
        await asyncio.sleep(1.0)
    return found


def _durations(load: Load) -> list[float]:
    return [
        request.ended_at - request.sent_at
        for request in load.requests
        if request.ended_at is not None and request.whole(load.tokens)
    ]


async def test_what_a_short_notice_cuts_was_exported_before(image, logs):
    scene = _scene(image, logs)
    async with playing(scene) as daemon:
        before = await settled(scene)
        node = (await spot_nodes(scene))[0]
        async with loaded(scene, rate=RATE, tokens=TOKENS) as load:
            await asyncio.sleep(2.5 * STREAM_S)  # until streams of every age are in flight
            assert not load.lost()
            assert await _exported(daemon, AT_RISK) == 0.0, "nothing is at risk without a notice"
            doomed = await give_notice(scene, dialects.GKE, node)
            await is_raised(scene, before, [doomed])

            async def closed() -> bool:
                return not set(doomed.pods) & await endpoints(scene)

            await wait_until("it takes no more", closed, timeout_s=doomed.left_s())
            await asyncio.sleep(1.5)  # a reading of its page, and a tick
            figures = await _figures(daemon, doomed.ends_at - SHUTDOWN_S)
            assert not load.lost(), "nothing was cut while it was told"
            await asyncio.sleep(doomed.left_s())
            await power_off(node)
            await take(node)
            await give_back(node, gpus=doomed.gpus)
            await is_released(scene, before)
    cut = len(load.lost())
    told = statistics.median(figures)
    spread = 2.5 * math.sqrt(max(told, cut, 1.0))
    print(
        f"\nstreams of {statistics.median(_durations(load)):.0f} s; {told:.1f} told to be at risk"
        f" ({min(figures):.1f} to {max(figures):.1f}), {cut} cut of {len(load.requests)}"
    )
    assert abs(statistics.median(_durations(load)) - STREAM_S) < 10
    assert told >= 4, "the scene shows nothing"
    assert abs(cut - told) <= spread, f"{told:.1f} were told to be at risk, {cut} were cut"
