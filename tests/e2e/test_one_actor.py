"""Two daemons, of which one acts: the leader is taken away, and then both are replaced, under load."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from tests.e2e.daemon import NAME, NAMESPACE
from tests.e2e.kubectl import get, kubectl_async, wait_until
from tests.e2e.load import Load
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.watcher import filming

RATE = 9.0
"""Requests per second, for two replicas."""


async def _lease() -> dict[str, Any]:
    found = await get("leases", NAME, namespace=NAMESPACE)
    return found[0]["spec"] if found else {}


async def _holder() -> str:
    """The pod that acts; empty: none does."""
    return str((await _lease()).get("holderIdentity", "")).partition("_")[0]


async def _ready_daemons() -> set[str]:
    pods = await get("pods", namespace=NAMESPACE, labels=f"app.kubernetes.io/name={NAME}")
    return {
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in pod["status"].get("conditions", ())
        )
    }


async def test_a_leader_that_is_taken_away_and_a_rollout_leave_one_that_acts(image, logs):
    scene = Scene(
        namespace="e2e-one-actor",
        image=image,
        logs=logs,
        cold_start_s=5,
        pools=("on-demand",),
        replicas={"on-demand": 1},
        spec={"maxReplicas": 4},
    )
    async with playing(scene) as daemon:
        await scene.wait_ready(1)
        await kubectl_async("scale", f"deployment/{NAME}", "-n", NAMESPACE, "--replicas=2")

        async def two() -> bool:
            return len(await _ready_daemons()) == 2

        await wait_until("two daemons are ready, one of them a standby", two, timeout_s=90)
        first = await _holder()
        assert first in await _ready_daemons()
        load = Load(url=await scene.serving_address(), model=MODEL, tokens=100)
        async with load.playing([(400, RATE)], seed=3), filming(scene, load) as film:
            await daemon.kill(first)

            async def another_acts() -> bool:
                return await _holder() not in {"", first}

            await wait_until("another daemon acts", another_acts, timeout_s=20)

            async def grown() -> bool:
                return sum((await scene.wanted()).values()) >= 2

            await wait_until("it serves the load", grown, timeout_s=90)
            grown_at = time.monotonic()
            await wait_until("two daemons again", two, timeout_s=90)
            before = await _ready_daemons()
            transitions = (await _lease())["leaseTransitions"]
            await kubectl_async("rollout", "restart", f"deployment/{NAME}", "-n", NAMESPACE)

            async def replaced() -> bool:
                ready = await _ready_daemons()
                return len(ready) == 2 and not ready & before and await _holder() in ready

            await wait_until("both are replaced and one acts", replaced, timeout_s=180)
            assert 1 <= (await _lease())["leaseTransitions"] - transitions <= 2
            await asyncio.sleep(20)
        totals = film.totals(since=grown_at)
        assert min(totals) >= 2, f"what the load needs stays, whoever acts: {totals}"
        changes = [(a, b) for a, b in itertools.pairwise(totals) if b != a]
        assert len(changes) <= 2, f"two that act would undo each other: {totals}"
        assert load.lost() == [], f"{len(load.lost())} of {len(load.requests)} lost"
