"""What goes away for a minute comes back, and meanwhile nothing is scaled down on a guess."""

from __future__ import annotations

import asyncio
import itertools
import os
import time

import aiohttp
import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.kubectl import command_from, kubectl_async, run, wait_until
from tests.e2e.load import Load
from tests.e2e.nodes import give_back, gpus_of, power_off, take
from tests.e2e.prometheus import Prometheus
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.watcher import filming

OUTAGE_S = 60
RATE = 9.0
"""Requests per second, for two replicas: without the load the daemon would go down to one."""
TOKENS = 100


def _scene(name: str, image: str, logs, **spec) -> Scene:
    base = {"warmFloor": {"replicas": 1, "capacityType": "OnDemand"}, "maxReplicas": 4}
    return Scene(
        namespace=name,
        image=image,
        logs=logs,
        cold_start_s=10,
        replicas={"on-demand": 1, "spot": 1},
        spec=base | spec,
    )


async def _decides_again(daemon: Daemon) -> None:
    """The loop goes on by itself."""
    await wait_until("the daemon is ready again", daemon.ready, timeout_s=60)


async def _no_fall_during(scene: Scene, daemon: Daemon, load: Load, outage) -> None:
    async with filming(scene, load) as film:
        await outage()
        await asyncio.sleep(10)
    seen = film.totals()
    assert seen, "the API server was asked"
    drops = [(a, b) for a, b in itertools.pairwise(seen) if b < a]
    assert drops == [], f"replicas went down during the outage: {seen}"
    await _decides_again(daemon)


async def _under_load(scene: Scene, daemon: Daemon, outage) -> None:
    """The outage in the middle of a load that needs what is there."""
    await scene.wait_ready(2)
    load = Load(url=await scene.serving_address(), model=MODEL, tokens=TOKENS)
    async with load.playing([(400, RATE)], seed=5):
        await asyncio.sleep(20)
        await _no_fall_during(scene, daemon, load, outage)


async def _falls_when_it_is_over(scene: Scene) -> None:
    """Holding was a reaction, not a paralysis."""

    async def at_the_floor() -> bool:
        return sum((await scene.wanted()).values()) == 1

    await wait_until("back at the floor once it sees again", at_the_floor, timeout_s=300)


@pytest.mark.skipif(not os.environ.get("E2E_CONTROL_PLANE"), reason="E2E_CONTROL_PLANE is not set")
async def test_the_api_server_goes_away(image, logs):
    scene = _scene("e2e-no-api", image, logs)
    async with playing(scene) as daemon:

        async def outage() -> None:
            control = command_from("E2E_CONTROL_PLANE")
            run(*control, "kill", "kube-apiserver")
            await asyncio.sleep(OUTAGE_S)
            run(*control, "restart", "kube-apiserver", timeout_s=120)

        await _under_load(scene, daemon, outage)
        await _falls_when_it_is_over(scene)


async def test_all_engines_stop_answering_scrapes(image, logs):
    scene = _scene("e2e-no-metrics", image, logs)
    async with playing(scene) as daemon:

        async def outage() -> None:
            async with aiohttp.ClientSession() as session:
                for pod in await scene.ready_pods():
                    url = f"http://{pod['status']['podIP']}:8000/fault/metrics?seconds={OUTAGE_S}"
                    async with session.post(url) as answer:
                        assert answer.status == 200, await answer.text()
            await asyncio.sleep(OUTAGE_S)

        await _under_load(scene, daemon, outage)
        await _falls_when_it_is_over(scene)


async def test_prometheus_goes_away_where_it_is_the_source(image, logs):
    prometheus = Prometheus(folder=logs / "e2e-no-prometheus" / "prometheus")
    scene = _scene(
        "e2e-no-prometheus",
        image,
        logs,
        metrics={
            "source": "Prometheus",
            "prometheus": {"server": "main"},
        },
    )
    server = f"--prometheus-server=main=http://10.77.0.1:{prometheus.port},plain-http"
    async with playing(scene, options=[server]) as daemon:
        await scene.wait_ready(2)
        await prometheus.start_for_pods(await scene.ready_pods())
        try:

            async def outage() -> None:
                prometheus.kill()
                await asyncio.sleep(OUTAGE_S)
                await prometheus.start_for_pods(await scene.ready_pods())

            await _under_load(scene, daemon, outage)
            await _falls_when_it_is_over(scene)
        finally:
            prometheus.kill()


async def test_a_node_loses_its_power_without_a_notice(image, logs):
    """Its replica stops counting at once and is made up for; nothing of ours touches the node."""
    scene = _scene("e2e-power", image, logs)
    async with playing(scene) as daemon:
        await scene.wait_ready(2)
        node = (await scene.ready_pods("spot"))[0]["spec"]["nodeName"]
        gpus = await gpus_of(node)
        before = await scene.wanted()

        async def outage() -> None:
            await power_off(node)

            async def made_up_for() -> bool:
                return (await scene.wanted()).get("on-demand", 0) > before["on-demand"]

            began = time.monotonic()
            await wait_until("the shortfall is raised", made_up_for, timeout_s=60)
            print(f"\nraised {time.monotonic() - began:.0f} s after the power went")
            await asyncio.sleep(20)
            text = await kubectl_async("get", "node", node, "-o", "yaml")
            assert "unschedulable: true" not in text, "never cordoned by us"

        try:
            await _under_load(scene, daemon, outage)
        finally:
            await take(node)
            await give_back(node, gpus=gpus)
