"""Load comes, load goes: the loop on a real cluster, its metrics in Prometheus, its recording."""

from __future__ import annotations

import asyncio
import time

from tests.e2e.daemon import ROOT
from tests.e2e.kubectl import kubectl_async, run, wait_until
from tests.e2e.load import Load
from tests.e2e.prometheus import Prometheus
from tests.e2e.recording import fetch_recording
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.watcher import filming

TOKENS = 100
FALL_S = 15 * 60


async def test_load_raises_the_replicas_and_its_end_returns_them_to_the_floor(image, logs):
    """The queue is served before it times out; the floor is never left; no stream is cut."""
    scene = Scene(
        namespace="e2e-load",
        image=image,
        logs=logs,
        replicas={"on-demand": 1},
        spec={"warmFloor": {"replicas": 1, "capacityType": "OnDemand"}},
    )
    prometheus = Prometheus(folder=logs / "e2e-load" / "prometheus")
    async with playing(scene) as daemon:
        await scene.wait_ready(1)
        load = Load(url=await scene.serving_address(), model=MODEL, tokens=TOKENS)
        page = (await daemon.url()).removeprefix("http://")
        engines = [f"{p['status']['podIP']}:8000" for p in await scene.ready_pods()]
        await prometheus.start({"autoscaler": [page], "vllm": engines})
        try:
            async with filming(scene, load) as film:
                await load.play([(60, 8.0), (90, 18.0), (20, 6.0)], seed=1)
                ended_at = time.monotonic()

                async def at_the_floor() -> bool:
                    wanted = await scene.wanted()
                    return wanted == {"on-demand": 1, "spot": 0} and (
                        len(await scene.ready_pods()) == 1
                    )

                await wait_until("back at the floor", at_the_floor, timeout_s=FALL_S)
                await asyncio.sleep(20)  # and it stays there
            assert max(film.totals()) >= 2, "the replicas rose"
            assert min(film.totals()) >= 1, "never fewer than the floor asked for"
            assert min(film.ready()) >= 1, "never fewer than the floor ready"
            assert set(film.totals(since=time.monotonic() - 15)) == {1}
            assert load.lost() == [], f"{len(load.lost())} of {len(load.requests)} lost"
            print(
                f"\n{len(load.requests)} requests, all whole; highest {max(film.totals())} replicas;"
                f" at the floor {film.glimpses[-1].at - ended_at - 20:.0f} s after the load ended"
            )
            await _prometheus_holds_the_decisions(prometheus)
        finally:
            prometheus.kill()
        recording = await fetch_recording(daemon, logs / scene.namespace / "recording")
        said = run(str(ROOT / ".venv/bin/autoscaler"), "replay", str(recording), timeout_s=300)
        print(said)


async def _prometheus_holds_the_decisions(prometheus: Prometheus) -> None:
    prefix = "inference_autoscaler_"
    highest = await prometheus.query(f"max(max_over_time({prefix}desired_replicas[20m]))")
    assert float(highest[0]["value"][1]) >= 1
    ups = await prometheus.query(f'sum({prefix}decisions_total{{direction="Up"}})')
    assert float(ups[0]["value"][1]) >= 1
    for name in (
        "ready_replicas",
        "demand_replicas",
        "cold_start_seconds",
        "warm_floor_replicas",
        "tick_duration_seconds_count",
        "observation_age_seconds",
        "build_info",
    ):
        assert await prometheus.query(prefix + name), f"no {prefix}{name} in Prometheus"
    assert await prometheus.query("vllm:num_requests_running"), "the engines are scraped too"


async def test_a_dry_run_only_withholds_the_act(image, logs):
    """Mode Observe: the same decisions, no write."""
    scene = Scene(
        namespace="e2e-observe",
        image=image,
        logs=logs,
        cold_start_s=2,
        pools=("on-demand",),
        replicas={"on-demand": 2},
        spec={"mode": "Observe"},
    )
    async with playing(scene) as daemon:
        await scene.wait_ready(2)

        async def decided() -> bool:
            return '"desired_replicas"' in await daemon.get("/debug/models")

        await wait_until("decisions are there", decided, timeout_s=60)
        await asyncio.sleep(30)
        assert await scene.wanted() == {"on-demand": 2}
        events = await kubectl_async(
            "get", "deployment", f"{MODEL}-on-demand", "-n", scene.namespace, "-o", "yaml"
        )
        assert "inference-autoscaler.dev" not in events
