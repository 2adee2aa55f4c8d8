"""How long the daemon's loop keeps the event loop to itself, and what a tick costs, by fleet size.

    python -m tests.benchmarks.loop [-o json]

Everything is real but the API server and the pods: caches, columns, engine, recorder, metrics and
logs. CPU of the event loop's thread in one turn, so that the machine's other work does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import io
import json
import math
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

from autoscaler.core.contract.state import CapacityType
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.daemon.actuator import Actuator
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.inbox import Inbox
from autoscaler.daemon.loop import Loop
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.telemetry.telemetry import Telemetry
from autoscaler.kube.observe import Cluster
from autoscaler.kube.samples import PodSample
from autoscaler.kube.watch.slim import SlimDeployment, SlimNode, SlimPod, SlimReplicaSet
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.interruptions import Interruptions
from autoscaler.settings import load_config, to_fleet
from autoscaler.sources.collector.collector import Collector
from tests.test_settings import document, write

TICK_S = 0.5
SIZES = (8, 32, 128, 5000)


def fill(cluster: Cluster, replicas: int, *, at: float) -> None:
    """Put so many ready pods, eight a node, into the caches."""
    caches = cluster._caches.namespaces["serving"]
    caches.deployments.objects = {
        ("serving", "llama"): SlimDeployment(
            namespace="serving",
            name="llama",
            uid="d",
            replicas=replicas,
            rolling_out=False,
            gpus=1,
            promises=(),
        )
    }
    caches.replica_sets.objects = {("serving", "rs"): SlimReplicaSet(uid="rs", owner_uid="d")}
    pod = SlimPod(
        namespace="serving",
        name="",
        uid="",
        owner_uid="rs",
        phase="Running",
        ip="10.0.0.1",
        node="",
        created_at=at - 9000,
        scheduled_at=at - 9000,
        unschedulable_since=math.nan,
        ready=True,
        ready_at=at - 8000,
        deleting=False,
        grace_s=30.0,
        version=1,
    )
    names = [f"llama-{number:05d}" for number in range(replicas)]
    caches.pods.objects = {
        ("serving", name): dataclasses.replace(pod, name=name, uid=name, node=f"n{number // 8}")
        for number, name in enumerate(names)
    }
    cluster._caches.nodes.objects = {
        ("", f"n{number}"): SlimNode(
            name=f"n{number}",
            capacity_type=CapacityType.ON_DEMAND,
            ready=True,
            not_ready_since=math.nan,
            unschedulable=False,
            cordoned_by_us=False,
            marks={},
        )
        for number in range(replicas // 8 + 1)
    }
    for cache in cluster._caches.all():
        cache.synced, cache.confirmed_at, cache.version = True, at + 1e6, "9"


def sample(collector: Collector, *, at: float, rng: random.Random) -> None:
    """Put a sample of every pod into the collector."""
    for target in collector.last_values._targets.values():
        collector.last_values.put_sample(
            target,
            PodSample(
                sampled_at=at,
                waiting_requests=float(rng.randrange(3)),
                running_requests=float(rng.randrange(20)),
                kv_usage_ratio=rng.random(),
                finished_requests_total=float(rng.randrange(10**6)),
                prompt_tokens_total=float(rng.randrange(10**9)),
                generation_tokens_total=float(rng.randrange(10**9)),
                preemptions_total=0.0,
            ),
        )


class TurnLoop(asyncio.SelectorEventLoop):
    """Measures the CPU of each of its turns: how long it was deaf to everything else."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[float] = []

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()
        self.turns.append(time.thread_time() - began)


async def measure(replicas: int, *, ticks: int, folder: Path, turns: list[float]) -> dict[str, Any]:
    """Run a daemon's loop over a fleet of this size."""
    clock, rng = Clock(), random.Random(1)
    config = load_config(write(folder, document(maxReplicas=2 * replicas)))
    fleet = to_fleet(config.resources, gpu_budget=None)
    settings = EngineSettings(tick_s=TICK_S)
    age_s_max = settings.cluster_age_s_max
    cluster = Cluster(None, fleet, now=clock.now, age_s_max=age_s_max)
    fill(cluster, replicas, at=clock.now())
    collector = Collector(now=clock.now)
    inbox = Inbox(clock)
    observer = FleetObserver(
        cluster=cluster,
        collector=collector,
        interruptions=Interruptions(NOTICE_SOURCES["node_marks"]),
        fleet=fleet,
        resources=config.resources,
        now=clock.now,
        age_s_max=age_s_max,
        on_interruption=inbox.put_notice,
    )
    recorder = Recorder(folder / "recording", settings=settings, started_at=clock.now())
    telemetry = Telemetry(clock=clock, tick_s=TICK_S, observer=observer, recorder=recorder)

    async def perform(_: object) -> None:
        await asyncio.sleep(0.01)

    actuator = Actuator(
        perform=perform,
        clock=clock,
        finished=lambda command, ending: loop.command_ended(command, ending),  # noqa: PLW0108  made below
    )
    loop = Loop(
        engine=build_engine(settings),
        inbox=inbox,
        clock=clock,
        observer=observer,
        actuator=actuator,
        recorder=recorder,
        listeners=telemetry.listeners,
    )
    inbox.put_spec(fleet)
    observer.refresh()
    sample(collector, at=clock.now(), rng=rng)
    gc.collect()
    gc.freeze()  # as the daemon does
    longest: list[float] = []
    running = [asyncio.create_task(actuator.run()), asyncio.create_task(loop.run())]
    while not observer.synced:
        await asyncio.sleep(0.1)
    await asyncio.sleep(2 * TICK_S)
    began = time.process_time()
    for _ in range(ticks):
        sample(collector, at=clock.now(), rng=rng)
        await asyncio.sleep(0)  # that turn was ours
        turns.clear()
        await asyncio.sleep(TICK_S)
        longest.append(max(turns))
    spent = (time.process_time() - began) / ticks
    loop.stop()
    await running[1]
    actuator.close()
    await asyncio.gather(*running)
    await asyncio.to_thread(recorder.close)
    return {
        "replicas": replicas,
        "stall_cpu_s": round(statistics.median(longest), 6),
        "stall_cpu_s_min": round(min(longest), 6),
        "stall_cpu_s_max": round(max(longest), 6),
        "tick_cpu_s": round(spent, 6),
        "recorded_bytes_per_tick": round(recorder.written_bytes / max(1, ticks)),
    }


def measured(replicas: int, *, ticks: int) -> dict[str, Any]:
    """One row, its logs thrown away as JSON."""
    kept = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=io.StringIO()),
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            event_loop = TurnLoop()
            with asyncio.Runner(loop_factory=lambda: event_loop) as runner:
                return runner.run(
                    measure(replicas, ticks=ticks, folder=Path(folder), turns=event_loop.turns)
                )
    finally:
        structlog.configure(**kept)


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="output", choices=["table", "json"], default="table")
    parser.add_argument("--ticks", type=int, default=10)
    options = parser.parse_args()
    rows = [measured(replicas, ticks=options.ticks) for replicas in SIZES]
    if options.output == "json":
        print(json.dumps({"rows": rows}))
        return
    print("replicas  longest turn (CPU)  a tick, all threads  recorded a tick")
    for row in rows:
        print(
            f"{row['replicas']:8d}  {row['stall_cpu_s'] * 1000:15.1f} ms"
            f"  {row['tick_cpu_s'] * 1000:16.1f} ms  {row['recorded_bytes_per_tick']:12d} B"
        )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
