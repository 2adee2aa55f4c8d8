"""The same signals through a real Prometheus that scrapes the captured pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.settings import (
    EngineType,
    MetricsSettings,
    MetricsSource,
    PrometheusSettings,
    TlsSettings,
)
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.collector.prometheus_feeds import DcgmQueryFeed, PrometheusFeed
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.prometheus.answer import Answer
from autoscaler.sources.prometheus.client import PrometheusClient
from tests.require import require
from tests.sources.bodies import page
from tests.sources.servers import free_port, read_all, target

pytestmark = [pytest.mark.prometheus, pytest.mark.slow]

PATIENCE_S = 60.0
SCRAPE_S = 0.5
PODS = {"127.0.0.1": "pod-1", "127.0.0.2": "pod-2"}
DEADLINE_S = 20.0


@dataclass
class Exporters:
    """Two engines and a dcgm-exporter; an address in `down` answers 500."""

    port: int
    down: set[str] = field(default_factory=set)
    scraped_at: dict[str, float] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        address = request.transport.get_extra_info("sockname")[0]
        if address in self.down:
            return web.Response(status=500)
        self.scraped_at[address] = time.time()
        name = "dcgm-exporter" if address == "127.0.0.3" else "vllm-0.32.0-loaded"
        return web.Response(body=page(name), content_type="text/plain")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/metrics", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        for address in (*PODS, "127.0.0.3"):
            await web.TCPSite(runner, address, self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()


def configuration(port: int) -> str:
    """Write the scrape configuration, in JSON, which is YAML."""
    engines = [
        {"targets": [f"{address}:{port}"], "labels": {"namespace": "serving", "pod": pod}}
        for address, pod in PODS.items()
    ]
    dcgm = {
        # As the chart has it: honor_labels false moves the exporter's own labels to exported_...
        "targets": [f"127.0.0.3:{port}"],
        "labels": {"namespace": "gpu-operator", "pod": "nvidia-dcgm-exporter-x7k2p"},
    }
    return json.dumps(
        {
            "global": {"scrape_interval": f"{int(SCRAPE_S * 1000)}ms"},
            "scrape_configs": [
                {"job_name": "vllm", "static_configs": engines},
                {"job_name": "dcgm", "static_configs": [dcgm]},
            ],
        }
    )


@dataclass
class Story:
    exporters: Exporters
    address: str
    session: aiohttp.ClientSession

    @property
    def settings(self) -> PrometheusSettings:
        return PrometheusSettings(name="main", server_address=self.address)

    @property
    def reader(self) -> BodyReader:
        return BodyReader(session=self.session)

    async def read(self, *pods: str) -> tuple[dict[str, ReadOutcome], dict[str, PodSample]]:
        last_values = LastValues()
        last_values.set_targets(target(pod) for pod in pods)
        feed = PrometheusFeed(
            name="Prometheus",
            settings=MetricsSettings(
                model="serving/llama",
                namespace="serving",
                engine=EngineType.VLLM,
                model_names=frozenset({"tiny-llama"}),
                source=MetricsSource.PROMETHEUS,
                ports=(8000,),
                scheme="http",
                tls=TlsSettings(),
                path="/metrics",
                period_s=5.0,
                deadline_s=DEADLINE_S,
                server="main",
            ),
            client=PrometheusClient(self.settings),
            last_values=last_values,
            now=time.time,
        )
        ended = await read_all(feed, self.reader)
        return (
            {each.target: each.outcome for each in ended},
            {pod: sample for (_, pod), sample in last_values.samples().items()},
        )

    async def samples_until_both_are_there(self) -> dict[str, PodSample]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                _, samples = await self.read(*PODS.values())
                if len(samples) == len(PODS):
                    return samples
                await asyncio.sleep(0.1)

    async def instant(self, query: str) -> list[Any]:
        async with self.session.post(
            f"{self.address}/api/v1/query", data={"query": query}
        ) as reply:
            return (await reply.json())["data"]["result"]


@contextlib.asynccontextmanager
async def prometheus(folder: Path) -> AsyncIterator[Story]:
    binary = shutil.which("prometheus")
    require("prometheus", binary, "the Debian package `prometheus` is not installed")
    exporters, port = Exporters(port=free_port()), free_port()
    (folder / "prometheus.yml").write_text(configuration(exporters.port))
    address = f"http://127.0.0.1:{port}"
    async with exporters.serving(), aiohttp.ClientSession() as session:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    str(binary),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    assert process.poll() is None, (folder / "log").read_text()
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"{address}/-/ready") as reply:
                            if reply.status == 200:
                                break
                    await asyncio.sleep(0.05)
            yield Story(exporters=exporters, address=address, session=session)
        finally:
            process.kill()
            process.wait()


def sampled(sample: PodSample) -> PodSample:
    return replace(sample, sample_interval_s=None)


async def test_signals_come_as_from_the_page_with_the_time_of_their_scrape(tmp_path: Path):
    async with prometheus(tmp_path) as story:
        samples = await story.samples_until_both_are_there()
        source = SOURCES["VLLM"]
        direct = read_page(page("vllm-0.32.0-loaded"), source.names)
        for pod, sample in samples.items():
            at = sample.sampled_at
            read = source.sample(direct, model_names=frozenset(), at=at)
            assert replace(sample, sample_interval_s=None) == read, pod
            assert abs(time.time() - at) < PATIENCE_S

        # A pod that no longer answers keeps its last sample, whose age shows; the other goes on.
        story.exporters.down.add("127.0.0.2")
        last = story.exporters.scraped_at["127.0.0.2"]
        async with asyncio.timeout(PATIENCE_S):
            while (await story.instant('up{pod="pod-2"}'))[0]["value"][1] != "0":
                await asyncio.sleep(0.1)
        before = await story.samples_until_both_are_there()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                after = await story.samples_until_both_are_there()
                if after["pod-1"].sampled_at > before["pod-1"].sampled_at:
                    break
                await asyncio.sleep(0.1)
        assert sampled(after["pod-2"]) == sampled(before["pod-2"])
        assert after["pod-2"].sampled_at <= last < after["pod-1"].sampled_at

        # Why raw samples are asked for: to a plain instant query that pod never existed, and what
        # does answer carries the time of the evaluation, not of the scrape.
        running = await story.instant("vllm:num_requests_running")
        assert [series["metric"]["pod"] for series in running] == ["pod-1"]
        assert float(running[0]["value"][0]) > after["pod-1"].sampled_at

        outcomes, _ = await story.read("pod-1", "never-scraped")
        assert outcomes["serving/pod-1"] == ReadOutcome.READ
        assert outcomes["serving/never-scraped"] == ReadOutcome.NO_SIGNAL


async def test_gpus_come_from_the_relabelled_series(tmp_path: Path):
    async with prometheus(tmp_path) as story:
        last_values = LastValues()
        holder = ("llm-serving", "llama-8b-7d9c5b6f4-abcde")
        last_values.set_targets([target("/".join(holder))])
        last_values.set_exporters(["DCGM"])
        feed = DcgmQueryFeed(
            name="DCGM",
            client=PrometheusClient(story.settings),
            last_values=last_values,
            now=time.time,
        )
        async with asyncio.timeout(PATIENCE_S):
            while not last_values.nodes():
                (ended,) = await read_all(feed, story.reader)
                assert ended.outcome == ReadOutcome.READ
                await asyncio.sleep(0.1)
        assert last_values.framebuffers()[holder].used_bytes == 75186 * 2**20
        assert {node: sample.free for node, sample in last_values.nodes().items()} == {
            "gpu-node-0": 1
        }
        assert last_values.nodes()["gpu-node-0"].sampled_at <= time.time()


async def test_a_query_it_refuses_says_why(tmp_path: Path):
    async with prometheus(tmp_path) as story:
        with pytest.raises(SourceError, match=r"bad_data: .*parse error"):
            await query(story, "up{[60s]")
        with pytest.raises(SourceError, match="a vector came where raw samples were asked for"):
            await query(story, "up")


async def query(story: Story, expression: str) -> Answer:
    client = PrometheusClient(story.settings)
    return await client.query(story.reader, expression, deadline_s=DEADLINE_S, owner="test")
