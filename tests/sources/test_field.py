"""Situations that people reported in public, each with what is right in it."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from autoscaler.kube.samples import PodSample
from autoscaler.kube.targets import ScrapeTarget
from autoscaler.settings import TlsSettings
from autoscaler.sources.collector.feeds import PodFeed, ReadResult
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.outcome import ReadOutcome
from tests.require import require
from tests.sources.bodies import page
from tests.sources.servers import body_of, read_all, reading, serving, target
from tests.sources.test_collector import settings
from tests.sources.test_prometheus import answer, read_feed, series, vllm

TWO_MONITORS = Path(__file__).parent / "answers" / "two-servicemonitors.json"
POD = target("p1", ip="10.0.0.7")


def matrix(*changes: Callable[[dict[str, str]], None]) -> bytes:
    """The answer of two ServiceMonitors, as raw samples; its labels changed."""
    result = json.loads(TWO_MONITORS.read_text())["data"]["result"]
    for each in result:
        at, value = each.pop("value")
        each["values"] = [[at - 1770999905.0, value]]
        for change in changes:
            change(each["metric"])
    return answer(*result)


# -- one row per pod, engine and model, whatever Prometheus adds


async def sample_of(
    body: bytes | Callable[[str], bytes], pod: ScrapeTarget = POD, **changes: Any
) -> tuple[PodSample | None, list[ReadResult]]:
    result = body if callable(body) else lambda _: body
    ended, last_values, _ = await read_feed(result, [pod], **changes)
    return last_values.samples().get(pod.key), ended


async def test_a_pod_that_two_service_monitors_find_is_counted_once():
    sample, _ = await sample_of(matrix())
    assert sample is not None
    assert (sample.waiting_requests, sample.running_requests) == (3, 12)
    assert (sample.kv_usage_ratio, sample.generation_tokens_total) == (0.4, 1000)


@pytest.mark.parametrize(
    "labels",
    [
        {"prometheus_replica": "b"},
        {"replica": "prometheus-1", "cluster": "eu"},
        {"endpoint": "metrics", "container": "other"},
        {"exported_pod": "x", "exported_namespace": "y"},
        {"job": "third", "pod_template_hash": "7d9", "node": "n1", "anything": "else"},
    ],
)
async def test_no_label_of_prometheus_tells_one_engine_from_itself(labels: dict[str, str]):
    twice = [*vllm("p1", 95.0), *vllm("p1", 96.0, **labels)]
    sample, _ = await sample_of(answer(*twice))
    assert sample is not None
    assert (sample.waiting_requests, sample.running_requests) == (3, 2)
    assert sample.finished_requests_total == 11
    assert sample.sampled_at == 96.0  # the newest of the two


async def test_engines_and_models_of_one_pod_are_still_added_up():
    two = [*vllm("p1", 95.0), *vllm("p1", 95.0, engine="1"), *vllm("p1", 95.0, model_name="b")]
    sample, _ = await sample_of(answer(*two))
    assert sample is not None
    assert (sample.waiting_requests, sample.running_requests) == (9, 6)


async def test_whoever_claims_to_be_a_pod_at_another_address_does_not_count():
    own = vllm("p1", 90.0, instance="10.0.0.7:8000")
    claimed = vllm("p1", 99.0, waiting="500", instance="10.9.9.9:80", job="evil")
    sample, _ = await sample_of(answer(*own, *claimed))
    assert sample is not None
    assert sample.waiting_requests == 3


async def test_two_addresses_of_which_none_is_the_pod_s_are_not_guessed_at():
    claims = [
        *vllm("p1", 90.0, instance="one:8000"),
        *vllm("p1", 99.0, waiting="500", instance="two:80"),
    ]
    sample, ended = await sample_of(answer(*claims))
    assert sample is None
    assert ended[1].outcome == ReadOutcome.DUPLICATE
    assert "prometheus.matchers" in ended[1].message


async def test_matchers_of_the_document_and_of_the_server_are_in_every_query():
    _, _, asked = await read_feed(
        lambda _: answer(*vllm("p1", 95.0)),
        [POD],
        matchers=(("job", "vllm"),),
        of_server={"matchers": (("cluster", 'a"b'),)},
    )
    assert asked[0].endswith(',job="vllm",cluster="a\\"b"}[150000ms]')


# -- exact names


async def test_a_server_that_takes_exact_names_alone_is_asked_name_by_name():
    def exact(query: str) -> bytes:
        if "__name__" in query:
            said = {"errorType": "bad_data", "error": "regex on __name__ is not supported"}
            return json.dumps({"status": "error", **said}).encode()
        name = query.partition("{")[0]
        return answer(*(each for each in vllm("p1", 95.0) if each["metric"]["__name__"] == name))

    ended, last_values, asked = await read_feed(exact, [POD], rounds=2)
    sample = last_values.samples()[POD.key]
    assert (sample.waiting_requests, sample.running_requests) == (3, 2)
    assert sample.finished_requests_total == 11
    assert {each.outcome for each in ended} == {ReadOutcome.READ}
    patterns = [query for query in asked if "__name__" in query]
    assert len(patterns) == 1  # in the second round it is known
    assert all('namespace="serving"' in query for query in asked)


async def test_a_server_that_finds_nothing_by_a_pattern_is_tried_with_exact_names():
    def silent(query: str) -> bytes:
        if "__name__" in query:
            return answer()
        name = query.partition("{")[0]
        return answer(*(each for each in vllm("p1", 95.0) if each["metric"]["__name__"] == name))

    sample, _ = await sample_of(silent)
    assert sample is not None
    assert sample.running_requests == 2


async def test_a_server_that_refuses_both_says_why_and_is_not_asked_thirty_times_a_round():
    def refuses(query: str) -> bytes:
        text = "no pattern" if "__name__" in query else "no series"
        return json.dumps({"status": "error", "errorType": "bad_data", "error": text}).encode()

    ended, _, asked = await read_feed(refuses, [POD], rounds=5)
    assert [each.outcome for each in ended] == [ReadOutcome.STATUS]
    assert "no pattern" in ended[0].message
    assert len(asked) == 5 + len(SOURCES["VLLM"].names)


# -- names in every spelling


def read(engine: str, name: str, *model_names: str) -> PodSample:
    source = SOURCES[engine]
    rows = read_page(page(name), source.names)
    return source.sample(rows, model_names=frozenset(model_names), at=100.0)


@pytest.mark.parametrize("name", ["ray-vllm-colon", "ray-vllm-colon-two-models"])
def test_ray_with_colons(name: str):
    sample = read("RayServe", name, "llama")
    assert (sample.waiting_requests, sample.running_requests) == (40, 16)
    assert (sample.kv_usage_ratio, sample.finished_requests_total) == (0.95, 120)


def test_sglang_with_underscores():
    sample = read("SGLang", "sglang-underscore")
    assert (sample.waiting_requests, sample.running_requests) == (7, 12)
    assert (sample.kv_usage_ratio, sample.finished_requests_total) == (0.83, 991)


@pytest.mark.parametrize("engine", SOURCES)
@pytest.mark.parametrize("spell", ["underscores", "no _total", "both"])
def test_any_engine_in_any_spelling_says_the_same(engine: str, spell: str):
    source = SOURCES[engine]
    from tests.sources.bodies import ENGINE_PAGES

    body = page(ENGINE_PAGES[engine])
    expected = source.sample(read_page(body, source.names), model_names=frozenset(), at=1.0)
    text = "\n".join(line for line in body.decode().split("\n") if not line.startswith("#"))
    for name in sorted(source.names, key=len, reverse=True):
        other = name.replace(":", "_") if spell != "no _total" else name
        other = other.removesuffix("_total") if spell != "underscores" else other
        if other not in source.names:
            continue
        for end in ("{", " "):
            text = text.replace(f"\n{name}{end}", f"\n{other}{end}")
    found = source.sample(read_page(text.encode(), source.names), model_names=frozenset(), at=1.0)
    assert found == expected


# -- several ports of one pod


RANKS = {
    port: (
        f'vllm:num_requests_running{{engine="0",model_name="m"}} {running}\n'
        f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}\n'
        f'vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} {usage}\n'
    ).encode()
    for port, (running, waiting, usage) in enumerate(
        [(4, 0, 0.2), (30, 27, 0.8), (30, 25, 0.6), (30, 25, 0.4)]
    )
}


async def read_ranks(*bodies: bytes) -> tuple[list[ReadResult], LastValues]:
    last_values = LastValues()
    last_values.set_targets([target("p1", ip="127.0.0.1")])
    async with asyncio.TaskGroup() as group, reading() as reader:
        stopping = asyncio.Event()
        ports: list[asyncio.Future[int]] = []
        for body in bodies:
            port = asyncio.get_running_loop().create_future()
            group.create_task(_serve(body, port, stopping))
            ports.append(port)
        found = tuple([await port for port in ports])
        feed = PodFeed(
            name="pods",
            settings=settings(0, ports=found),
            deadline_s=10.0,
            last_values=last_values,
            now=lambda: 100.0,
        )
        ended = await read_all(feed, reader)
        stopping.set()
    return ended, last_values


async def _serve(body: bytes, port: asyncio.Future[int], stopping: asyncio.Event) -> None:
    async with serving({"127.0.0.1": body_of(body)}) as found:
        port.set_result(found)
        await stopping.wait()


async def test_the_ranks_of_a_pod_are_added_up():
    ended, last_values = await read_ranks(*RANKS.values())
    sample = last_values.samples()["serving", "p1"]
    assert [each.outcome for each in ended] == [ReadOutcome.READ]
    assert (sample.running_requests, sample.waiting_requests) == (94, 77)
    assert sample.kv_usage_ratio == pytest.approx(0.5)
    assert sample.finished_requests_total is None


async def test_a_rank_that_cannot_be_read_makes_its_pod_unknown():
    ended, last_values = await read_ranks(RANKS[0], b"<html>", RANKS[1])
    assert [each.outcome for each in ended] == [ReadOutcome.NOT_METRICS]
    assert last_values.samples() == {}


def ranks(at: float, *ports: int) -> list[dict[str, Any]]:
    return [each for port in ports for each in vllm("p1", at, instance=f"10.0.0.7:{port}")]


async def test_ranks_through_prometheus_are_added_up_and_others_are_said():
    body = answer(*ranks(95.0, 8000, 8001, 8002))
    sample, ended = await sample_of(body, ports=(8000, 8001))
    assert sample is not None
    assert (sample.running_requests, sample.waiting_requests) == (4, 6)
    assert "8002 too; write spec.metrics.ports" in ended[1].warnings[0]


async def test_a_rank_without_samples_is_not_left_out():
    sample, ended = await sample_of(answer(*ranks(95.0, 8000)), ports=(8000, 8001))
    assert sample is None
    assert (ended[1].outcome, "ports 8001" in ended[1].message) == (ReadOutcome.NO_SIGNAL, True)


async def test_several_ports_of_which_none_is_asked_for_are_not_guessed_at():
    sample, ended = await sample_of(answer(*ranks(95.0, 9000, 9001)))
    assert sample is None
    assert ended[1].outcome == ReadOutcome.DUPLICATE
    assert "9000, 9001" in ended[1].message


async def test_one_address_counts_however_it_is_written():
    for instance in ("p1", "p1.vllm.serving.svc:8000", "10.0.0.7:9999", "fd00::1", "[fd00::1]:80"):
        sample, _ = await sample_of(answer(*vllm("p1", 95.0, instance=instance)))
        assert sample is not None, instance


# -- how often samples come


async def test_the_interval_of_samples_is_seen():
    each = vllm("p1", 95.0)
    for one in each:
        one["values"] = [[35.0, "1"], *one["values"][-1:]]
    sample, _ = await sample_of(answer(*each))
    assert sample is not None
    assert sample.sample_interval_s == 60.0


async def test_the_interval_is_learnt_from_two_answers_and_looked_back_for():
    moments = iter([10.0, 90.0, 90.0])

    def slow(_query: str) -> bytes:
        return answer(
            series("vllm:num_requests_running", (next(moments), "2"), namespace="serving", pod="p1")
        )

    _, last_values, asked = await read_feed(slow, [POD], rounds=3)
    assert last_values.samples()[POD.key].sample_interval_s == 80.0
    assert asked[-1].endswith("[200000ms]")


async def test_samples_that_come_too_rarely_are_said():
    each = vllm("p1", 99.0)
    for one in each:
        one["values"] = [[-81.0 + 20, "1"], *one["values"][-1:]]
    _, ended = await sample_of(answer(*each))
    assert "every 160 s; scrape them at least every 120 s" in ended[0].warnings[0]


# -- times that cannot be


@pytest.mark.parametrize("at", [100.0 + 31, 4e12, -1.0])
async def test_a_sample_of_another_time_is_not_fresh_for_ever(at: float):
    sample, ended = await sample_of(answer(*vllm("p1", at)))
    assert sample is None
    assert ended[1].outcome == ReadOutcome.IMPLAUSIBLE
    assert "mend the clocks" in ended[1].message


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    require("openssl", openssl, "no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            str(openssl), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=vllm", "-addext", "subjectAltName=DNS:vllm.svc",
            "-keyout", str(folder / "key"), "-out", str(folder / "crt"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder / "crt", folder / "key"


@pytest.fixture
async def secure_port(certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    app = web.Application()
    app.router.add_get("/metrics", body_of(RANKS[0]))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(
    ("tls", "outcome", "told"),
    [
        ({"ca": "own", "server_name": "vllm.svc"}, ReadOutcome.READ, ""),
        ({"insecure_skip_verify": True}, ReadOutcome.READ, ""),
        ({"ca": "own"}, ReadOutcome.REFUSED, "certificate"),  # it is not of the pod's address
        ({"ca": "own", "server_name": "other.svc"}, ReadOutcome.REFUSED, "certificate"),
        ({}, ReadOutcome.REFUSED, "certificate"),
        ({"ca": "none"}, ReadOutcome.REFUSED, "no PEM certificate"),
    ],
)
async def test_pods_over_tls(
    certificate: tuple[Path, Path],
    secure_port: int,
    tls: dict[str, Any],
    outcome: ReadOutcome,
    told: str,
):
    if tls.get("ca") == "own":
        tls = {**tls, "ca": certificate[0].read_text()}
    last_values = LastValues()
    last_values.set_targets([target("p1", ip="127.0.0.1")])
    feed = PodFeed(
        name="pods",
        settings=replace(settings(secure_port), scheme="https", tls=TlsSettings(**tls)),
        deadline_s=10.0,
        last_values=last_values,
        now=lambda: 100.0,
    )
    async with reading() as reader:
        (ended,) = await read_all(feed, reader)
    assert ended.outcome == outcome, ended.message
    assert told in ended.message
    assert bool(last_values.samples()) == (outcome is ReadOutcome.READ)


async def test_http_is_not_answered_where_tls_is_spoken(secure_port: int):
    last_values = LastValues()
    last_values.set_targets([target("p1", ip="127.0.0.1")])
    feed = PodFeed(
        name="pods",
        settings=settings(secure_port),
        deadline_s=10.0,
        last_values=last_values,
        now=lambda: math.pi,
    )
    async with reading() as reader:
        (ended,) = await read_all(feed, reader)
    assert ended.outcome in (ReadOutcome.REFUSED, ReadOutcome.STATUS)
