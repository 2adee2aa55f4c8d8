"""Whole periods of a daemon that reads its pods, beside an HTTP client alone and prometheus_client's parser.

    python -m tests.benchmarks.loop [-o json] [--pods 1000 --models 50]

Captured pages, histograms included, are served by processes of their own, one address a pod. The daemon is real but
for the API server: collector, caches, columns, engine, metrics, probes, logs (thrown away); `/metrics` and
`/debug` are asked for twice a period. It runs in a process of its own, and so does what it is measured beside: aiohttp
that reads the same pages at the same pace and does nothing with them. All figures are of one period:

- `wall_s`, `cpu_s`: of the daemon's process, all its threads; `aiohttp_cpu_s`: of the client alone;
- `parser_cpu_s`: prometheus_client's parser over the same pages; `parse_cpu_s`: ours, to the sample;
- `stall_s_max`: the longest turn of the event loop, in CPU of its thread, so that the machine's other work does not
  count; `stall_wall_s_max`: in wall time, where it does;
- `read_share`: of the pages that were due, how many were read; `rss_bytes`: at the peak;
- `metrics_bytes`, `metrics_s_max`: of `/metrics`, as who scrapes it sees it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import resource
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.daemon.garbage import seldom_look_through_everything
from autoscaler.daemon.telemetry.http import DebugServer, HttpServer
from autoscaler.sources.collector.collector import Collector
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.turns import at_once
from tests.benchmarks.fleet import address_of
from tests.benchmarks.pages import sampled
from tests.benchmarks.parts import daemon_parts
from tests.sources.bodies import page

PERIOD_S = 5
SIZES = ((100, 1), (100, 5), (1000, 50), (1000, 500), (5000, 1), (5000, 100), (5000, 500))
"""Pods and models."""
PERIODS = 3
WARM_UP_PERIODS = 2
SERVERS = 2
PAGE = "vllm-0.32.0-loaded"
PARSED = 20
WARMED = 3
"""Reads after which how a page is laid out is known, as it is of every pod that is read for a minute."""
"""Pages that the parsers read; what they take is scaled to all of them."""


class TurnLoop(asyncio.SelectorEventLoop):
    """Measures each of its turns: how long it was deaf to everything else."""

    def __init__(self) -> None:
        self.cpu_s_max = self.wall_s_max = 0.0
        self._woke_at = 0.0
        woke = self._woke

        class Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
            def select(self, timeout: float | None = None) -> Any:
                try:
                    return super().select(timeout)
                finally:
                    woke()

        super().__init__(Selector())

    def begin(self) -> None:
        """Forget the turns before this one."""
        self.cpu_s_max = self.wall_s_max = 0.0

    def _woke(self) -> None:
        self._woke_at = time.perf_counter()

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()
        self.cpu_s_max = max(self.cpu_s_max, time.thread_time() - began)
        self.wall_s_max = max(self.wall_s_max, time.perf_counter() - self._woke_at)


@contextlib.contextmanager
def serving(page_name: str, *, servers: int = SERVERS) -> Iterator[int]:
    """Page servers in processes of their own, which share a port; yields it."""
    command = [sys.executable, "-m", "tests.benchmarks.page_server", "--page", page_name]
    processes: list[subprocess.Popen[str]] = []
    port = "0"
    try:
        for _ in range(servers):
            process = subprocess.Popen(
                [*command, "--port", port],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            processes.append(process)
            assert process.stdout is not None
            port = process.stdout.readline().strip()
        yield int(port)
    finally:
        for process in processes:
            process.communicate()  # its standard input ends


# -- the daemon


@contextlib.asynccontextmanager
async def daemon(
    pods: int, *, models: int, port: int, folder: Path, period_s: int = PERIOD_S
) -> AsyncIterator[tuple[Collector, dict[str, str]]]:
    """Run a daemon's parts over a fleet of this size; yields its collector and its addresses."""
    metrics = {"port": port, "periodSeconds": period_s}
    parts = daemon_parts(pods, models=models, folder=folder, tick_s=period_s, metrics=metrics)
    collector, telemetry = parts.collector, parts.telemetry
    actuator, loop = parts.actuator, parts.loop
    door = HttpServer(telemetry.status, telemetry.page, host="127.0.0.1", port=0)
    debug = DebugServer(telemetry.status, host="127.0.0.1", port=0)
    addresses = {
        "metrics": f"{await door.start()}/metrics",
        "debug": f"{await debug.start()}/debug/models",
    }
    seldom_look_through_everything()
    running = [asyncio.create_task(each.run()) for each in (actuator, loop)]
    reading = asyncio.create_task(collector.run())
    try:
        yield collector, addresses
    finally:
        loop.stop()
        await running[1]
        actuator.close()
        await running[0]
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        await door.close()
        await debug.close()


async def measure(
    options: argparse.Namespace, *, event_loop: TurnLoop, folder: Path
) -> dict[str, Any]:
    """Measure whole periods of a daemon; its addresses are printed before the first of them."""
    pods, periods, period_s = options.pods, options.periods, options.period_s
    async with daemon(
        pods, models=options.models, port=options.port, folder=folder, period_s=period_s
    ) as (collector, addresses):
        await asyncio.sleep(WARM_UP_PERIODS * period_s + pods / 1000)
        print(json.dumps(addresses), flush=True)
        event_loop.begin()
        began, cpu, before = time.perf_counter(), time.process_time(), dict(collector.outcomes)
        await asyncio.sleep(periods * period_s)
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        reads = {
            outcome: count - before[source, outcome]
            for (source, outcome), count in collector.outcomes.items()
            if count > before[source, outcome]
        }
        stalls = event_loop.cpu_s_max, event_loop.wall_s_max
    return {
        "pods": pods,
        "models": options.models,
        "wall_s": wall_s / periods,
        "cpu_s": cpu_s / periods,
        "stall_s_max": stalls[0],
        "stall_wall_s_max": stalls[1],
        # A moment that lies at the very end of what was measured may fall out of it, or into it.
        "read_share": min(1.0, (reads.get("Read", 0) + reads.get("Late", 0)) / (pods * periods)),
        "late_s_max": collector.lateness.longest_s,
        "outcomes": {str(outcome): count for outcome, count in reads.items()},
        "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def run_measured(options: argparse.Namespace) -> dict[str, Any]:
    """One row, its logs thrown away as JSON."""
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(file=io.StringIO()),
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )
    event_loop = TurnLoop()
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=lambda: event_loop) as runner,
    ):
        return runner.run(measure(options, event_loop=event_loop, folder=Path(folder)))


# -- what it is measured beside


async def read_alone(options: argparse.Namespace) -> float:
    """Read the same pages at the same pace with aiohttp alone; CPU seconds a period."""
    pods, period_s = options.pods, options.period_s
    urls = [f"http://{address_of(number)}:{options.port}/metrics" for number in range(pods)]
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def read(url: str) -> None:
            async with session.get(url) as response:
                await response.read()

        async def period(begin_at: float) -> None:
            async with asyncio.TaskGroup() as group:
                for number, url in enumerate(urls):
                    if number % 10 == 0:
                        await asyncio.sleep(begin_at + number * period_s / pods - loop.time())
                    group.create_task(read(url))

        begun_at = loop.time()
        await period(begun_at)  # connects
        cpu = time.process_time()
        for number in range(options.periods):
            await period(begun_at + (1 + number) * period_s)
        return (time.process_time() - cpu) / options.periods


def parsers(pods: int) -> tuple[float, float]:
    """What prometheus_client's parser, and ours, take for the pages of a period: CPU seconds."""
    body = page(PAGE)
    begun = time.thread_time()
    for _ in range(PARSED):
        for family in text_string_to_metric_families(body.decode()):
            assert family.name
    theirs_s = time.thread_time() - begun
    engine = SOURCES["VLLM"]
    for _ in range(WARMED):
        at_once(sampled(engine, body))
    begun = time.thread_time()
    for _ in range(PARSED):
        at_once(sampled(engine, body))
    ours_s = time.thread_time() - begun
    return theirs_s / PARSED * pods, ours_s / PARSED * pods


# -- rows


class Scrapes:
    """Asks for `/metrics` and `/debug` twice a period, from a thread of this process."""

    def __init__(self, addresses: dict[str, str], *, every_s: float) -> None:
        self._addresses, self._every_s = addresses, every_s
        self._ended = threading.Event()
        self.bytes: dict[str, int] = dict.fromkeys(addresses, 0)
        self.s_max: dict[str, float] = dict.fromkeys(addresses, 0.0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            for name, address in self._addresses.items():
                begun = time.perf_counter()
                with contextlib.suppress(OSError), urllib.request.urlopen(address) as answer:
                    self.bytes[name] = len(answer.read())
                    self.s_max[name] = max(self.s_max[name], time.perf_counter() - begun)


def row_of(
    pods: int, *, models: int, port: int, periods: int, period_s: int = PERIOD_S
) -> dict[str, Any]:
    """Measure one fleet, each measure in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.loop", "--port", str(port)]
    command += ["--pods", str(pods), "--models", str(models)]
    command += ["--periods", str(periods), "--period-seconds", str(period_s)]
    with subprocess.Popen(
        [*command, "--one", "daemon"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        scrapes = Scrapes(json.loads(process.stdout.readline()), every_s=period_s / 2)
        try:
            row: dict[str, Any] = json.loads(process.stdout.readline())
        finally:
            scrapes.end()
    beside = subprocess.run([*command, "--one", "beside"], stdout=subprocess.PIPE, check=True)
    row |= json.loads(beside.stdout)
    for name in scrapes.bytes:
        row |= {f"{name}_bytes": scrapes.bytes[name], f"{name}_s_max": scrapes.s_max[name]}
    return row


def rows_of(
    sizes: list[tuple[int, int]], *, periods: int, period_s: int
) -> Iterator[dict[str, Any]]:
    """A row for each size (pods, models)."""
    with serving(PAGE) as port:
        for pods, models in sizes:
            yield row_of(pods, models=models, port=port, periods=periods, period_s=period_s)


def one(options: argparse.Namespace) -> dict[str, Any]:
    """What is measured in this process alone."""
    if options.one == "daemon":
        return run_measured(options)
    cpu_s = asyncio.run(read_alone(options))
    theirs_s, ours_s = parsers(options.pods)
    return {"aiohttp_cpu_s": cpu_s, "parser_cpu_s": theirs_s, "parse_cpu_s": ours_s}


def main(arguments: list[str] | None = None) -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="output", choices=["table", "json"], default="table")
    parser.add_argument("--pods", type=int, default=0)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--periods", type=int, default=PERIODS)
    parser.add_argument("--period-seconds", dest="period_s", type=int, default=PERIOD_S)
    parser.add_argument("--one", choices=["daemon", "beside"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one(options)), flush=True)
        return
    sizes = [(options.pods, options.models)] if options.pods else list(SIZES)
    rows = rows_of(sizes, periods=options.periods, period_s=options.period_s)
    if options.output == "json":
        print(json.dumps({"rows": list(rows)}))
        return
    for row in rows:
        print(
            f"{row['pods']:5d} pods, {row['models']:3d} models: "
            f"CPU {row['cpu_s']:.3f} s of {row['wall_s']:.2f} s, "
            f"{row['cpu_s'] / row['aiohttp_cpu_s']:.2f} x aiohttp alone; "
            f"longest turn {1000 * row['stall_s_max']:.0f} ms of CPU, {1000 * row['stall_wall_s_max']:.0f} ms; "
            f"read {100 * row['read_share']:.2f} %; "
            f"parser {row['parser_cpu_s'] / row['parse_cpu_s']:.0f} x prometheus_client; "
            f"/metrics {row['metrics_bytes'] / 1000:.0f} kB in {1000 * row['metrics_s_max']:.0f} ms; "
            f"/debug {row['debug_bytes'] / 1000:.0f} kB in {1000 * row['debug_s_max']:.0f} ms; "
            f"{row['rss_bytes'] / 2**20:.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
