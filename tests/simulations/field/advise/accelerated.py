"""An hour of three vLLM-shaped servers in a minute and a half, scraped by a real Prometheus.

The servers run `SPEED` times as fast as the machine that they stand for. Between them and Prometheus
stands a clock: it passes their pages on, stamped with the time of that machine and with its seconds, as
the pages of slow servers would be. Nothing else is changed, and everything is scraped.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
from aiohttp import web

from tests.simulations.real_prometheus import free_port, prometheus

SPEED = 40.0
HOUR_S = 3600.0
SCRAPE_S = 30.0
COLD_START_S = 120.0
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
PROFILE = "llama-3.1-8b/1xL40S"
SEQS_MAX = 2
"""A small batch: a queue at loads that one machine can make."""
THIRD_FROM_S, THIRD_UNTIL_S = 1200.0, 2700.0
"""The third server is asked for, and let go."""
PEAK = 0.95
_SAMPLE = re.compile(r"^([a-zA-Z0-9_:]+)(\{.*\})? (\S+)$")
_LE = re.compile(r'le="([0-9.e+]+)"')


@dataclass
class Truth:
    """What the servers did, by their own counters and our own watch."""

    url: str = ""
    end: float = 0.0
    """Of the hour, seconds since 1970 on the machine's clock."""
    sent: int = 0
    finished: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0
    ttft_mean_s: float = 0.0
    e2e_mean_s: float = 0.0
    tpot_mean_s: float = 0.0
    replica_s: float = 0.0
    """Serving."""
    most: int = 0
    asked_s: float = 0.0
    """When the third server was started."""
    spans: dict[int, list[float]] = field(default_factory=dict)


class Clock:
    """The machine's time, and pages as it would have them."""

    runs = False

    def begin(self) -> None:
        """The hour begins now on the wall, and began an hour ago on the machine."""
        self.runs = True
        self.began = time.time()
        self.origin = self.began - HOUR_S

    def of(self, wall: float) -> float:
        return self.origin + (wall - self.began) * SPEED

    def since(self, wall: float) -> float:
        """Seconds of the hour."""
        return self.of(wall) - self.origin

    def page(self, text: str, wall: float) -> str:
        stamp = int(self.of(wall) * 1000)
        lines = []
        for line in text.splitlines():
            found = _SAMPLE.match(line)
            if found is None or "_created" in line:
                continue
            name, labels, value = found[1], found[2] or "", float(found[3])
            if name == "process_start_time_seconds":
                value = self.of(value)
            elif not name.startswith("vllm:"):
                continue
            elif name.endswith("_seconds_bucket"):
                labels = _LE.sub(lambda le: f'le="{float(le[1]) * SPEED}"', labels)
            elif name.endswith("_seconds_sum"):
                value *= SPEED
            lines.append(f"{name}{labels} {value} {stamp}")
        return "\n".join(lines) + "\n"


class Servers:
    """Three servers, a router with the fewest outstanding, and the clock's pages of them."""

    def __init__(self, clock: Clock, truth: Truth) -> None:
        self.clock, self.truth = clock, truth
        self.ports = [free_port() for _ in range(3)]
        self.outstanding: dict[int, int] = {}
        self.session: aiohttp.ClientSession | None = None
        self.pages: dict[int, str] = {}
        self.asked: set[int] = set()
        """Whose pages Prometheus has asked for."""
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int, *, cold_start_s: float) -> None:
        self.processes[number] = subprocess.Popen(
            [
                *(sys.executable, "-m", "simulations.box.vllm_server"),
                *("--port", str(self.ports[number]), "--served-model-name", MODEL),
                *("--profile", PROFILE, "--speed", str(SPEED), "--max-num-seqs", str(SEQS_MAX)),
                *("--cold-start", str(cold_start_s / SPEED), "--teardown", "0"),
                *("--shutdown-timeout", "10", "--flush-interval", "0.005", "--seed", "1"),
                "--no-enable-prefix-caching",
            ],
            stdout=subprocess.DEVNULL,
        )

    async def ready(self, session: aiohttp.ClientSession, number: int) -> None:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{self.ports[number]}/health") as answer:
                    if answer.status == 200:
                        break
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.01)
        self.outstanding[number] = 0
        self.truth.most = max(self.truth.most, len(self.outstanding))
        if self.clock.runs:
            self.truth.spans[number] = [self.clock.since(time.time())]

    async def send(self, session: aiohttp.ClientSession, prompt: int, output: int) -> None:
        number = min(self.outstanding, key=lambda one: (self.outstanding[one], one))
        self.outstanding[number] += 1
        asked = {"prompt": list(range(prompt)), "max_tokens": output, "ignore_eos": True}
        url = f"http://127.0.0.1:{self.ports[number]}/v1/completions"
        async with session.post(url, json=asked) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
        if number in self.outstanding:
            self.outstanding[number] -= 1

    async def scraped(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        self.asked.add(number)
        if not self.clock.runs:
            return web.Response(status=503)
        assert self.session is not None
        try:
            url = f"http://127.0.0.1:{self.ports[number]}/metrics"
            async with self.session.get(url) as answer:
                text = await answer.text()
        except aiohttp.ClientError:
            return web.Response(status=503)
        self.pages[number] = text
        return web.Response(text=self.clock.page(text, time.time()))


def arrivals(rng: np.random.Generator) -> np.ndarray:
    """An hour with a wave: half the peak, then the peak from a third of it on, then half again."""
    moments = np.sort(rng.uniform(0, HOUR_S, int(PEAK * HOUR_S)))
    wave = np.where((moments > 1100) & (moments < 2600), 1.0, 0.55)
    return moments[rng.uniform(0, 1, len(moments)) < wave]


async def _hour(truth: Truth, run_prometheus) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        servers = Servers(Clock(), truth)
        app = web.Application()
        servers.session = session
        app.router.add_get("/{number}", servers.scraped)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            for number in (0, 1):
                servers.start(number, cold_start_s=0)
            # the first two are up before the hour begins
            await asyncio.gather(*(servers.ready(session, number) for number in (0, 1)))
            truth.url = await asyncio.to_thread(run_prometheus, port)
            clock = servers.clock
            # it takes a Prometheus some seconds to learn of its targets
            while len(servers.asked) < 3:
                await asyncio.sleep(0.01)
            clock.begin()
            for number in (0, 1):
                truth.spans[number] = [0.0]
            await _traffic(servers, session)
            truth.end = clock.origin + HOUR_S
            _count(servers, truth)
        finally:
            for process in servers.processes.values():
                process.kill()
                process.wait()
            await runner.cleanup()


async def _traffic(servers: Servers, session: aiohttp.ClientSession) -> None:
    rng = np.random.default_rng(7)
    clock, truth = servers.clock, servers.truth
    tasks: list[asyncio.Task[None]] = []
    third = 0
    for moment in arrivals(rng):
        due = clock.began + moment / SPEED
        await asyncio.sleep(max(0.0, due - time.time()))
        if third == 0 and moment >= THIRD_FROM_S:
            servers.start(2, cold_start_s=COLD_START_S)
            tasks.append(asyncio.create_task(servers.ready(session, 2)))
            truth.asked_s = clock.since(time.time())
            third = 1
        if third == 1 and moment >= THIRD_UNTIL_S:
            del servers.outstanding[2]
            truth.spans[2].append(clock.since(time.time()))
            servers.processes[2].terminate()
            third = 2
        prompt, output = int(rng.integers(100, 600)), int(rng.integers(60, 180))
        truth.prompt_tokens += prompt
        truth.output_tokens += output
        truth.sent += 1
        tasks.append(asyncio.create_task(servers.send(session, prompt, output)))
    await asyncio.gather(*tasks)
    # the last scrapes
    await asyncio.sleep(max(0.0, clock.began + (HOUR_S + 2 * SCRAPE_S) / SPEED - time.time()))


def _count(servers: Servers, truth: Truth) -> None:
    for number in (0, 1):
        truth.spans[number].append(HOUR_S)
    truth.replica_s = sum(end - begin for begin, end in truth.spans.values())
    sums: dict[str, float] = {}
    for text in servers.pages.values():
        for line in text.splitlines():
            found = _SAMPLE.match(line)
            if found is not None:
                sums[found[1]] = sums.get(found[1], 0.0) + float(found[3])

    def mean(family: str) -> float:
        return SPEED * sums[f"vllm:{family}_sum"] / sums[f"vllm:{family}_count"]

    truth.finished = sums["vllm:request_success_total"]
    truth.ttft_mean_s = mean("time_to_first_token_seconds")
    truth.e2e_mean_s = mean("e2e_request_latency_seconds")
    truth.tpot_mean_s = mean("request_time_per_output_token_seconds")


def scrape_config(port: int) -> str:
    """Of the clock's three pages, every three quarters of a second: 30 s of the machine."""
    targets = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "namespace": "serving",
                "pod": f"llama-6f7c9d8b5-{name}",
                "__metrics_path__": f"/{number}",
            },
        }
        for number, name in enumerate(("aaaaa", "bbbbb", "ccccc"))
    ]
    interval = f"{round(1000 * SCRAPE_S / SPEED)}ms"
    return json.dumps(
        {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "vllm", "static_configs": targets}],
            # the machine's hour begins an hour ago, and ours has just begun
            "storage": {"tsdb": {"out_of_order_time_window": "4h"}},
        }
    )


def accelerated_hour(folder: Path, stack) -> Truth:
    """Make the hour; the Prometheus lives as long as `stack`."""
    truth = Truth()

    def run_prometheus(port: int) -> str:
        # stamped samples get no mark of staleness: what is gone is gone after a minute
        return stack.enter_context(
            prometheus(
                folder, config=scrape_config(port), arguments=("--query.lookback-delta=60s",)
            )
        )

    asyncio.run(_hour(truth, run_prometheus))
    return truth
