"""The collector against real servers that are sound, slow, wrong, huge, cut short or absent."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

import pytest
from aiohttp import web

from autoscaler.kube.samples import PodSample
from autoscaler.kube.targets import ScrapeTarget
from autoscaler.settings import EngineType, MetricsSettings, MetricsSource, TlsSettings
from autoscaler.sources.collector.collector import SOURCE_LABELS, Collector
from autoscaler.sources.collector.feeds import DCGM_PORT, ExporterFeed, PodFeed
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.collector.reports import FeedReport
from autoscaler.sources.pages.limits import POD_PAGE_BYTES_MAX
from autoscaler.sources.pages.outcome import ReadOutcome
from tests.sources.bodies import page
from tests.sources.servers import (
    Answer,
    body_of,
    exporter,
    free_port,
    never,
    raw,
    read_all,
    reading,
    serving,
    target,
)

LOADED = page("vllm-0.32.0-loaded")
PATIENCE_S = 30.0
"""Of the tests themselves; nothing is measured against it."""


def settings(port: int, **changes: object) -> MetricsSettings:
    return replace(
        MetricsSettings(
            model="serving/llama",
            namespace="serving",
            engine=EngineType.VLLM,
            model_names=frozenset(),
            source=MetricsSource.PODS,
            ports=(port,),
            scheme="http",
            tls=TlsSettings(),
            path="/metrics",
            period_s=0.02,
            deadline_s=5.0,
        ),
        **changes,
    )


def pod(number: int, **changes: object) -> ScrapeTarget:
    return target(f"pod-{number}", **{"ip": f"127.0.0.{number}", **changes})


class Watched:
    """A collector whose rounds can be waited for."""

    def __init__(self, *, now: Callable[[], float] | None = None) -> None:
        clock = itertools.count(1000.0, 1.0)
        self.collector = Collector(now=now or (lambda: next(clock)))

    async def until(self, wanted: Callable[[FeedReport], bool], *, source: str = "") -> FeedReport:
        """The report of a feed, as soon as it is as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for report in self.collector.reports():
                    if source in ("", report.source) and wanted(report):
                        return report
                await asyncio.sleep(0.001)

    async def until_read(self, outcome: ReadOutcome, times: int) -> None:
        """Until so many reads of vLLM pods ended like this."""
        async with asyncio.timeout(PATIENCE_S):
            while self.collector.outcomes["VLLM", outcome] < times:
                await asyncio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.collector.run())
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def read_once(
    port: int, pods: Iterable[ScrapeTarget], *, deadline_s: float = 10.0, **changes: object
) -> tuple[dict[str, ReadOutcome], dict[str, str], LastValues]:
    """Read pods once, with a session of the collector's own kind."""
    last_values = LastValues()
    last_values.set_targets(pods)
    feed = PodFeed(
        name="pods",
        settings=settings(port, **changes),
        deadline_s=deadline_s,
        last_values=last_values,
        now=lambda: 100.0,
    )
    async with reading() as reader:
        ended = await read_all(feed, reader)
    return (
        {each.target: each.outcome for each in ended},
        {each.target: each.message for each in ended},
        last_values,
    )


async def test_pods_are_read_all_at_once_and_one_that_never_answers_delays_nobody():
    both = asyncio.Barrier(2)

    async def waits_for_the_other(_request: web.Request) -> web.StreamResponse:
        await both.wait()  # only passes when both are asked at the same time
        return web.Response(body=LOADED)

    answers = {
        "127.0.0.1": waits_for_the_other,
        "127.0.0.2": waits_for_the_other,
        "127.0.0.3": never,
    }
    watched = Watched()
    async with serving(answers) as port:
        watched.collector.set_models([settings(port, period_s=PATIENCE_S, deadline_s=PATIENCE_S)])
        watched.collector.set_targets([pod(1), pod(2), pod(3)])
        async with watched.running(), asyncio.timeout(PATIENCE_S):
            while len(watched.collector.last_values.samples()) < 2:
                await asyncio.sleep(0)
            # They are there while the third still hangs: its round is not over.
            assert [report.targets for report in watched.collector.reports()] == [2]
    assert set(watched.collector.last_values.samples()) == {
        ("serving", "pod-1"),
        ("serving", "pod-2"),
    }


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
ANSWERS: list[tuple[str, Answer | bytes | None, ReadOutcome, str]] = [
    # what the pod does, its answer, the outcome, what is told
    ("answers", body_of(LOADED), ReadOutcome.READ, ""),
    ("refuses", None, ReadOutcome.REFUSED, "could not be read"),
    ("hangs", never, ReadOutcome.TIMED_OUT, "did not answer within"),
    (
        "is a proxy's HTML",
        body_of(b"<html><title>Sign in</title></html>"),
        ReadOutcome.NOT_METRICS,
        "Sign in",
    ),
    (
        "says 503",
        body_of(b"loading", status=503),
        ReadOutcome.STATUS,
        "503 Service Unavailable: 'loading'",
    ),
    ("says 404", body_of(b'{"detail":"Not Found"}', status=404), ReadOutcome.STATUS, "404"),
    (
        "has no such series",
        body_of(b"python_info 1.0\n"),
        ReadOutcome.NO_SIGNAL,
        "no series of vLLM",
    ),
    ("is empty", body_of(b""), ReadOutcome.NO_SIGNAL, "empty"),
    ("sends no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", ReadOutcome.REFUSED, "could not be read"),
    ("hangs up", b"", ReadOutcome.REFUSED, "could not be read"),
    (
        "promises more than it sends",
        HEAD + b"Content-Length: 60000\r\n\r\n" + LOADED[:40000],
        ReadOutcome.TRUNCATED,
        "in the middle of its answer",
    ),
    (
        "stops in the middle of a chunk",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + LOADED[:40000],
        ReadOutcome.TRUNCATED,
        "in the middle of its answer",
    ),
    (
        # Nothing but the closed connection ends it, and it closed too early: 8 of 83 would be read.
        "closes within a number",
        HEAD + b"\r\nvllm:num_requests_running 3\nvllm:num_requests_waiting 8",
        ReadOutcome.TRUNCATED,
        "in the middle of a line",
    ),
    (
        "redirects",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        ReadOutcome.STATUS,
        "302",
    ),
]


@pytest.mark.parametrize(
    ("answer", "outcome", "told"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
async def test_how_a_read_ends(answer: Answer | bytes | None, outcome: ReadOutcome, told: str):
    async with contextlib.AsyncExitStack() as stack:
        answers = {"127.0.0.1": answer} if callable(answer) else {}
        port = await stack.enter_async_context(serving(answers))
        if not answers:
            # A port of our own, so that nobody else can answer on it meanwhile.
            port = free_port()
            if isinstance(answer, bytes):
                await stack.enter_async_context(raw("127.0.0.1", port, answer))
        hurried = 0.2 if answer is never else 10.0
        outcomes, messages, last_values = await read_once(port, [pod(1)], deadline_s=hurried)
    assert outcomes == {"serving/pod-1": outcome}
    assert told in messages["serving/pod-1"]
    assert bool(last_values.samples()) == (outcome is ReadOutcome.READ)


async def test_a_body_without_end_is_cut_off():
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"# more\n" * 10_000)
            sent += 70_000

    async with serving({"127.0.0.1": endless}) as port:
        outcomes, messages, _ = await read_once(port, [pod(1)], deadline_s=PATIENCE_S)
    assert outcomes == {"serving/pod-1": ReadOutcome.TOO_LARGE}
    assert str(POD_PAGE_BYTES_MAX) in messages["serving/pod-1"]
    assert sent < 4 * POD_PAGE_BYTES_MAX


async def test_the_closed_port_of_a_pod_that_still_loads_is_no_error():
    async with serving({}) as port:
        outcomes, _, _ = await read_once(port, [pod(1, ready=False)])
    assert outcomes == {"serving/pod-1": ReadOutcome.NOT_READY}


async def test_a_pod_without_an_address_is_not_read():
    async with serving({"127.0.0.1": body_of(LOADED)}) as port:
        outcomes, _, _ = await read_once(port, [pod(1, ip="")])
    assert outcomes == {}


async def test_the_last_value_stays_with_its_own_time_while_its_pod_fails():
    broken = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500) if broken.is_set() else web.Response(body=LOADED)

    watched = Watched()
    async with serving({"127.0.0.1": answer}) as port:
        watched.collector.set_models([settings(port)])
        watched.collector.set_targets([pod(1)])
        async with watched.running():
            await watched.until(lambda report: report.targets == 1 and not report.failing)
            broken.set()
            await watched.until_read(ReadOutcome.STATUS, 1)
            before = watched.collector.last_values.samples()
            await watched.until_read(ReadOutcome.STATUS, 2)
            assert watched.collector.last_values.samples() == before
            broken.clear()
            await watched.until(lambda report: not report.failing)
            after = watched.collector.last_values.samples()
    key = ("serving", "pod-1")
    assert before[key].sampled_at < after[key].sampled_at
    assert replace(before[key], sampled_at=0.0) == replace(after[key], sampled_at=0.0)
    assert watched.collector.outcomes["VLLM", ReadOutcome.STATUS] >= 2
    assert watched.collector.ages(at=after[key].sampled_at + 7.0) == {"VLLM": 7.0}


async def test_a_pod_that_is_being_deleted_is_read_often_until_it_vanishes():
    watched = Watched()
    slow = settings(0).period_s * 1e5
    async with serving({f"127.0.0.{number}": body_of(LOADED) for number in (1, 2)}) as port:
        watched.collector.set_models([settings(port, period_s=slow)])
        watched.collector.set_targets([pod(1), pod(2)])
        assert {each.name for each in watched.collector.reports()} == {"pods of serving/llama"}
        async with watched.running():
            await watched.until(lambda report: report.targets == 2)
            going = pod(2, ready=False, leaving=True)
            watched.collector.set_targets([pod(1), going])
            before = watched.collector.last_values.samples()
            await watched.until_read(
                ReadOutcome.READ, 4
            )  # long before the next round of those that stay
            after = watched.collector.last_values.samples()
            assert after["serving", "pod-2"].sampled_at > before["serving", "pod-2"].sampled_at
            assert after["serving", "pod-1"] == before["serving", "pod-1"]
            watched.collector.set_targets([pod(1)])
            assert {each.name for each in watched.collector.reports()} == {"pods of serving/llama"}


async def test_a_pod_that_is_gone_or_replaced_leaves_nothing_behind():
    watched = Watched()
    async with serving({f"127.0.0.{number}": body_of(LOADED) for number in (1, 2)}) as port:
        watched.collector.set_models([settings(port)])
        watched.collector.set_targets([pod(1), pod(2)])
        async with watched.running():
            await watched.until(lambda report: report.targets == 2 and not report.failing)
        watched.collector.set_targets([pod(1, uid="2")])  # a StatefulSet's pod keeps its name
        assert watched.collector.last_values.samples() == {}


async def test_an_answer_that_comes_after_its_pod_has_gone_is_dropped():
    asked, answer_now = asyncio.Event(), asyncio.Event()

    async def late(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await answer_now.wait()
        return web.Response(body=LOADED)

    watched = Watched()
    async with serving({"127.0.0.1": late}) as port:
        watched.collector.set_models([settings(port, period_s=PATIENCE_S, deadline_s=PATIENCE_S)])
        watched.collector.set_targets([pod(1)])
        async with watched.running():
            await asked.wait()
            watched.collector.set_targets([pod(1, uid="2")])
            answer_now.set()
            await watched.until(lambda report: report.targets == 1)
            assert watched.collector.last_values.samples() == {}


async def test_two_models_of_two_engines_are_read_apart():
    other = pod(2, model="serving/tgi")
    watched = Watched()
    answers = {"127.0.0.1": body_of(LOADED), "127.0.0.2": body_of(page("tgi"))}
    async with serving(answers) as port:
        watched.collector.set_models(
            [settings(port), settings(port, model="serving/tgi", engine=EngineType.TGI)]
        )
        watched.collector.set_targets([pod(1), other])
        async with watched.running():
            for source in ("VLLM", "TGI"):
                await watched.until(lambda report: report.targets == 1, source=source)
            samples = watched.collector.last_values.samples()
    assert samples["serving", "pod-1"].waiting_requests == 8
    assert samples[other.key].waiting_requests == 7


async def test_nothing_is_left_running_or_open_after_shutdown():
    asked = asyncio.Event()

    async def hangs(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await never(request)

    watched = Watched()
    async with serving({"127.0.0.1": hangs}) as port:
        watched.collector.set_models([settings(port, period_s=PATIENCE_S, deadline_s=PATIENCE_S)])
        watched.collector.set_targets([pod(1)])
        before = asyncio.all_tasks()
        async with watched.running():
            await asked.wait()
        ours = {
            task
            for task in asyncio.all_tasks() - before
            if "autoscaler" in str(task.get_coro().cr_code.co_filename)
        }
    assert ours == set()


async def test_exporters_are_read_for_pods_and_nodes_and_forgotten_when_gone():
    holder = target("llm-serving/llama-8b-7d9c5b6f4-abcde")
    last_values = LastValues()
    last_values.set_targets([holder])
    last_values.set_exporters(["gpu-operator/dcgm-1"])
    async with (
        serving({"127.0.0.1": body_of(page("dcgm-exporter"))}) as port,
        reading() as reader,
    ):
        feed = ExporterFeed(
            exporters=[exporter("gpu-operator/dcgm-1", node="worker-a")],
            last_values=last_values,
            now=lambda: 50.0,
            port=port,
        )
        (ended,) = await read_all(feed, reader)
    assert ended.outcome == ReadOutcome.READ
    # Only pods that are ours; the node is the exporter's own, whatever its label says.
    assert {key: s.used_bytes for key, s in last_values.framebuffers().items()} == {
        holder.key: 75186 * 2**20
    }
    assert {node: (s.free, s.sampled_at) for node, s in last_values.nodes().items()} == {
        "worker-a": (1, 50.0)
    }
    last_values.set_exporters([])
    assert (last_values.framebuffers(), last_values.nodes()) == ({}, {})


async def test_the_collector_scrapes_the_exporters_it_is_given():
    watched = Watched()
    for _ in range(2):  # the same ones, as on every tick
        watched.collector.set_exporters([exporter("gpu/dcgm-1", ip="127.0.0.9")])
    async with watched.running():
        report = await watched.until(lambda report: bool(report.failing), source="DCGM")
    assert report.failing == ("gpu/dcgm-1",)
    assert f":{DCGM_PORT}/metrics" in report.message


def test_a_newer_sample_is_not_replaced_by_an_older_one():
    last_values = LastValues()
    last_values.set_targets([pod(1)])
    for at in (10.0, 30.0, 20.0):
        last_values.put_sample(pod(1), PodSample(sampled_at=at, running_requests=at))
    assert last_values.samples()["serving", "pod-1"].running_requests == 30.0


def test_every_pair_of_source_and_outcome_is_counted_from_the_start():
    outcomes = Collector(now=lambda: 0.0).outcomes
    assert set(outcomes.values()) == {0}
    assert len(outcomes) == len(SOURCE_LABELS) * len(ReadOutcome)


async def test_a_connection_that_the_engine_closed_while_it_was_idle_is_no_gap():
    # uvicorn closes idle connections after 5 s, which is also the period: it may do so as we ask.
    connections = 0

    async def answers_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(LOADED)}\r\n\r\n"
        writer.write(head.encode() + LOADED)
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")  # the second request finds the door closing
        writer.close()

    last_values = LastValues()
    last_values.set_targets([pod(1)])
    server = await asyncio.start_server(answers_once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, reading() as reader:
        feed = PodFeed(
            name="pods", settings=settings(port), last_values=last_values, now=lambda: 100.0
        )
        for _ in range(3):
            (ended,) = await read_all(feed, reader)
            assert ended.outcome == ReadOutcome.READ, ended.message
    assert connections == 3


async def test_the_text_format_is_asked_for_uncompressed():
    seen: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers["Accept"], request.headers["Accept-Encoding"]))
        return web.Response(body=LOADED)

    async with serving({"127.0.0.1": answer}) as port:
        await read_once(port, [pod(1)])
    assert seen == [("text/plain;version=0.0.4, text/plain;q=0.5", "identity")]
