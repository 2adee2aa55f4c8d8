"""Six, then sixty spot nodes are noticed at once, on nodes that are objects only.

What the daemon has to do for them is what is tried: promises, cordons, evictions, within ticks; pods that
serve nothing lose nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import Any

import pytest

from autoscaler.core.contract.commands import INTERRUPTION_ANNOTATION
from tests.e2e.bench import BenchScene, add_nodes, delete_nodes, fake_nodes
from tests.e2e.dialects import stamp
from tests.e2e.explained import recorded
from tests.e2e.kubectl import kubectl_async, wait_until
from tests.e2e.nodes import on
from tests.e2e.scene import playing
from tests.e2e.story import SLACK_S, TICK_S, is_released, promised, settled
from tests.e2e.watcher import filming
from tests.extent import NIGHT

SPOT = 66
FLOOR = 2
LEAD_S = 60.0
RETURN_AFTER_S = 10


def _names(first: int, count: int) -> list[str]:
    return [f"fake-spot-{number}" for number in range(first, first + count)]


def _alive(pods: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


async def _noticed_at_once(
    scene: BenchScene, before: dict[str, int], names: list[str], *, fresh: list[str]
) -> tuple[float, float]:
    """Notice, raise, drain, end, return; when it was said, and when all was as before."""
    pods = await scene.pods()
    doomed = {pod["metadata"]["uid"] for name in names for pod in on(name, pods)}
    others = _alive(pods) - doomed
    assert len(doomed) == len(names), "a replica a node"
    said_at = time.time()
    ends_at = said_at + LEAD_S
    mark = f"{INTERRUPTION_ANNOTATION}={stamp(ends_at)}"
    # a kubectl asks five times a second: at once means several of them
    parts = [names[first : first + 5] for first in range(0, len(names), 5)]
    await asyncio.gather(*(kubectl_async("annotate", "node", *part, mark) for part in parts))

    async def raised() -> bool:
        return (await scene.wanted()).get("on-demand", 0) == before["on-demand"] + len(names)

    await wait_until(
        f"{len(names)} are raised", raised, timeout_s=2 * TICK_S + SLACK_S + len(names) / 4
    )
    assert await promised(scene) == dict.fromkeys(names, 1)

    async def gone() -> bool:
        found = await scene.pods()
        return bool(found) and not doomed & {pod["metadata"]["uid"] for pod in found}

    await wait_until("all of them are empty in time", gone, timeout_s=ends_at - time.time())
    emptied_after_s = time.time() - said_at
    assert others <= _alive(await scene.pods()), "the others stay"
    await asyncio.sleep(max(0.0, ends_at - time.time()))
    await delete_nodes(names)
    await add_nodes(fresh, "spot")
    await is_released(scene, before)
    print(f"\n{len(names)} nodes at once: empty after {emptied_after_s:.0f} s of {LEAD_S:.0f}")
    return said_at, time.time()


@pytest.mark.skipif(not NIGHT, reason="played by night: TESTS=night")
@pytest.mark.skipif(not os.environ.get("E2E_FAKE_PODS"), reason="E2E_FAKE_PODS is not set")
async def test_six_and_sixty_nodes_are_noticed_at_once(image, logs):
    scene = BenchScene(
        namespace="e2e-many",
        image=image,
        logs=logs,
        cold_start_s=5,
        replicas={"on-demand": FLOOR, "spot": SPOT},
        spec={
            "minReplicas": FLOOR + SPOT,
            "maxReplicas": FLOOR + SPOT,
            "warmFloor": {"replicas": FLOOR, "capacityType": "OnDemand"},
            "spot": {
                "onDemandFallback": "Enabled",
                "returnAfterSeconds": RETURN_AFTER_S,
                "drainMarginSeconds": 5,
            },
        },
    )
    async with fake_nodes(logs / scene.namespace):
        await add_nodes([f"fake-on-demand-{number}" for number in range(10)], "on-demand", gpus=8)
        await add_nodes(_names(0, SPOT), "spot")
        async with playing(scene) as daemon:
            before = await settled(scene)
            times = {}
            async with filming(scene) as film:
                for count, first in ((6, 0), (60, 6)):
                    names = _names(first, count)
                    fresh = _names(100 + first, count)
                    times[count] = await _noticed_at_once(scene, before, names, fresh=fresh)
            assert max(film.totals()) == FLOOR + SPOT + 60, "never more than one for each"
            assert min(film.totals()) == FLOOR + SPOT
            record = await recorded(scene, daemon)
    for count, (began, ended) in times.items():
        part = record.between(began, ended)
        evicted = [each for each in part.commands("EvictPod") if each["ended"] == "Accepted"]
        assert len({each["pod"] for each in evicted}) == len(evicted) == count
        cordoned = [each for each in part.commands("CordonNode") if each["ended"] == "Accepted"]
        assert len({each["node"] for each in cordoned}) == len(cordoned) == count
        raised = part.steps("FallbackRaised")
        # a notice that comes while a promise is being written is told with those before it
        told = {name for _, said in raised for name in re.findall(r"fake-spot-\d+", said)}
        assert len(told) == count, raised
        assert raised[-1][0] <= began + 2 * TICK_S + SLACK_S
        assert part.commands("DeletePod") == []
