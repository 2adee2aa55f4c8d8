"""How long a tick keeps the event loop to itself, and what it costs, by fleet size; nothing is read.

    python -m tests.benchmarks.turns [-o json]

Everything is real but the API server and the pods: caches, columns, engine, recorder, metrics and
logs. CPU of the event loop's thread in one turn, so that the machine's other work does not count. With
reading: `tests.benchmarks.loop`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

from autoscaler.daemon.garbage import seldom_look_through_everything
from autoscaler.kube.samples import PodSample
from autoscaler.sources.collector.collector import Collector
from tests.benchmarks.parts import daemon_parts

TICK_S = 0.5
SIZES = ((8, 1), (32, 1), (128, 1), (5000, 1), (1000, 500), (5000, 500))
"""Pods and models."""


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


async def measure(
    replicas: int, *, models: int, ticks: int, folder: Path, turns: list[float]
) -> dict[str, Any]:
    """Run a daemon's loop over a fleet of this size."""
    rng = random.Random(1)
    parts = daemon_parts(replicas, models=models, folder=folder, tick_s=TICK_S, records=True)
    clock, collector, observer = parts.clock, parts.collector, parts.observer
    actuator, loop, recorder = parts.actuator, parts.loop, parts.recorder
    assert recorder is not None
    observer.refresh()
    sample(collector, at=clock.now(), rng=rng)
    seldom_look_through_everything()
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
        "models": models,
        "stall_cpu_s": round(statistics.median(longest), 6),
        "stall_cpu_s_min": round(min(longest), 6),
        "stall_cpu_s_max": round(max(longest), 6),
        "tick_cpu_s": round(spent, 6),
        "recorded_bytes_per_tick": round(recorder.written_bytes / max(1, ticks)),
    }


def measured(replicas: int, *, models: int = 1, ticks: int) -> dict[str, Any]:
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
                    measure(
                        replicas,
                        models=models,
                        ticks=ticks,
                        folder=Path(folder),
                        turns=event_loop.turns,
                    )
                )
    finally:
        structlog.configure(**kept)


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="output", choices=["table", "json"], default="table")
    parser.add_argument("--ticks", type=int, default=10)
    options = parser.parse_args()
    rows = [measured(pods, models=models, ticks=options.ticks) for pods, models in SIZES]
    if options.output == "json":
        print(json.dumps({"rows": rows}))
        return
    print("replicas  models  longest turn (CPU)  a tick, all threads  recorded a tick")
    for row in rows:
        print(
            f"{row['replicas']:8d}  {row['models']:6d}  {row['stall_cpu_s'] * 1000:15.1f} ms"
            f"  {row['tick_cpu_s'] * 1000:16.1f} ms  {row['recorded_bytes_per_tick']:12d} B"
        )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
