"""Queries, their answers and their headers, against a server that speaks Prometheus's API."""

from __future__ import annotations

import json
import math
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest
from aiohttp import web
from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.kube.targets import ScrapeTarget
from autoscaler.settings import (
    EngineType,
    MetricsSettings,
    MetricsSource,
    PrometheusSettings,
    TlsSettings,
)
from autoscaler.sources.collector.collector import Collector
from autoscaler.sources.collector.feeds import ReadResult
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.collector.prometheus_feeds import (
    PODS_PER_QUERY,
    DcgmQueryFeed,
    PrometheusFeed,
)
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.prometheus import expressions
from autoscaler.sources.prometheus.answer import Answer, read_answer
from autoscaler.sources.prometheus.client import PrometheusClient
from tests.require import require
from tests.sources.servers import body_of, never, read_all, reading, serving, target

DEADLINE_S = 10.0


def server(port: int, **changes: Any) -> PrometheusSettings:
    return PrometheusSettings(
        **{
            "name": "main",
            "server_address": f"http://127.0.0.1:{port}",
            **changes,
        }
    )


def series(name: str, *values: tuple[float, str], **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": name, **labels}, "values": [[at, value] for at, value in values]}


def answer(*result: dict[str, Any], **beside: Any) -> bytes:
    data = {"resultType": "matrix", "result": list(result)}
    return json.dumps({"status": "success", "data": data, **beside}).encode()


# -- expressions


def test_one_expression_asks_for_all_series_of_these_pods_by_name():
    expression = expressions.raw_samples(
        ["vllm:a", "vllm:b"],
        window_s=60.0,
        matchers=expressions.pod_matchers("serving", ["m.0", "m-1"]),
    )
    assert expression == (
        '{__name__=~"vllm:a|vllm:b",namespace="serving",pod=~"m\\\\.0|m\\\\-1"}[60000ms]'
    )


def test_what_stands_in_a_string_cannot_leave_it():
    (matcher, _) = expressions.pod_matchers('a"} or vector(1) #\\', [])
    assert matcher == 'namespace="a\\"} or vector(1) #\\\\"'


# -- answers


def test_the_newest_sample_counts_with_its_own_time():
    found = read_answer(
        answer(
            series("up", (10.0, "1"), (25.5, "2"), pod="a"),
            series("up", (11.0, "7"), (26.0, "NaN"), pod="b"),
            series("down", (12.0, "+Inf"), pod="a"),
        )
    )
    a, b = found.rows("up")
    assert (a.value, a.at, a.labels) == (2.0, 25.5, {"pod": "a"})
    assert math.isnan(b.value)  # not the 7 before it
    assert found.rows("down")[0].value == math.inf
    assert found.rows("never") == []


NO_ANSWERS = [
    (b"<html>Sign in</html>", ReadOutcome.NOT_METRICS, "Sign in"),
    (b"", ReadOutcome.NOT_METRICS, "no answer of a Prometheus"),
    (b"[]", ReadOutcome.NOT_METRICS, "no answer"),
    (b'{"status":"success"}', ReadOutcome.NOT_METRICS, "no answer"),
    (b"[" * 100_000, ReadOutcome.NOT_METRICS, "no answer"),
    (answer()[:-5], ReadOutcome.NOT_METRICS, "no answer"),
    (answer(series("up")), ReadOutcome.NOT_METRICS, "no answer"),
    (answer(series("up", (1.0, "one"))), ReadOutcome.NOT_METRICS, "no answer"),
    (
        b'{"status":"success","data":{"resultType":"vector","result":[]}}',
        ReadOutcome.NOT_METRICS,
        "a vector came",
    ),
    (
        b'{"status":"error","errorType":"bad_data","error":"parse error at char 3"}',
        ReadOutcome.STATUS,
        "bad_data: parse error at char 3",
    ),
]


@pytest.mark.parametrize(("body", "outcome", "told"), NO_ANSWERS)
def test_what_is_no_answer_says_what_came(body: bytes, outcome: ReadOutcome, told: str):
    with pytest.raises(SourceError, match=told) as caught:
        read_answer(body)
    assert caught.value.outcome == outcome


# -- over HTTP


async def ask(settings: PrometheusSettings, *, deadline_s: float = DEADLINE_S) -> Answer:
    async with reading() as reader:
        return await query(PrometheusClient(settings), reader, deadline_s=deadline_s)


async def query(
    client: PrometheusClient, reader: BodyReader, *, deadline_s: float = DEADLINE_S
) -> Answer:
    return await client.query(reader, "up[60s]", deadline_s=deadline_s, owner="test")


async def test_a_query_is_posted_below_the_server_s_path_with_headers_and_the_token_of_now(
    tmp_path: Path,
):
    seen: list[tuple[str, str, str, dict[str, str]]] = []

    async def tells(request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        seen.append(
            (
                request.method,
                request.headers["Authorization"],
                request.headers["X-Scope-OrgID"],
                form,
            )
        )
        return web.Response(body=answer(), content_type="application/json")

    token = tmp_path / "token"
    token.write_text("first\n")
    async with serving({"127.0.0.1": tells}, path="/prom/api/v1/query") as port:
        settings = server(
            port,
            server_address=f"http://127.0.0.1:{port}/prom",
            token_file=token,
            credentials=tmp_path,
            headers=(("X-Scope-OrgID", "team-a"),),
        )
        client = PrometheusClient(settings)
        async with reading() as reader:
            await query(client, reader, deadline_s=2.5)
            token.write_text("second\n")
            await query(client, reader)
    assert [(method, authorization) for method, authorization, *_ in seen] == [
        ("POST", "Bearer first"),
        ("POST", "Bearer second"),
    ]
    assert seen[0][2:] == ("team-a", {"query": "up[60s]", "timeout": "2500ms"})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"token_file": Path("/var/run/secrets/inference-autoscaler/none")}, "cannot be read"),
        ({"token_file": Path("/nowhere/token")}, "not below"),
        ({"ca_file": Path("/nowhere/ca.crt")}, "CA file /nowhere/ca.crt cannot be loaded"),
        ({"ca_file": Path(__file__)}, "cannot be loaded"),
    ],
)
async def test_what_is_missing_on_our_side_is_told(changes: dict[str, Path], told: str):
    with pytest.raises(SourceError, match=told):
        await ask(server(1, **changes))


async def test_the_reason_of_a_refused_query_is_told():
    body = b'{"status":"error","errorType":"bad_data","error":"unexpected {"}'
    refuses = body_of(body, status=400, content_type="application/json")
    async with serving({"127.0.0.1": refuses}, path="/api/v1/query") as port:
        with pytest.raises(SourceError, match=r"bad_data: unexpected \{"):
            await ask(server(port))


@pytest.mark.parametrize(
    ("respond", "outcome", "told"),
    [
        (body_of(b"no token", status=401), ReadOutcome.STATUS, "401 Unauthorized: 'no token'"),
        (body_of(b"<html>", status=502), ReadOutcome.STATUS, "502"),
        (never, ReadOutcome.TIMED_OUT, "did not answer within 0.2 s"),
    ],
)
async def test_a_server_that_does_not_answer_is_a_gap(
    respond: Any, outcome: ReadOutcome, told: str
):
    async with serving({"127.0.0.1": respond}, path="/api/v1/query") as port:
        with pytest.raises(SourceError, match=told) as caught:
            await ask(server(port), deadline_s=0.2 if respond is never else DEADLINE_S)
    assert caught.value.outcome == outcome


# -- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1 that only its own file vouches for."""
    openssl = shutil.which("openssl")
    require("openssl", openssl, "no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "ca.crt", folder / "tls.key"
    subprocess.run(
        [
            str(openssl), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=prometheus", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return certificate, context


async def test_a_ca_file_is_what_is_trusted_and_is_loaded_again_when_it_changes(
    authority: tuple[Path, ssl.SSLContext], tmp_path: Path
):
    certificate, context = authority
    app = web.Application()
    app.router.add_post("/api/v1/query", body_of(answer(), content_type="application/json"))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    address = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        with pytest.raises(SourceError, match="certificate verify failed"):
            await ask(server(0, server_address=address))
        ca_file = tmp_path / "ca.crt"
        shutil.copy(certifi.where(), ca_file)  # sound, but not who vouches here
        client = PrometheusClient(server(0, server_address=address, ca_file=ca_file))
        async with reading() as reader:
            with pytest.raises(SourceError, match="certificate verify failed"):
                await query(client, reader)
            ca_file.write_bytes(certificate.read_bytes())
            os.utime(ca_file, ns=(1, 1))  # whatever the clock's resolution: another time
            found = await query(client, reader)
            assert found.by_name == {}
            loaded = client._context()
            assert client._context() is loaded  # not loaded for every query
    finally:
        await runner.cleanup()


# -- feeds


def metrics(*, engine: EngineType = EngineType.VLLM, **changes: Any) -> MetricsSettings:
    return MetricsSettings(
        **{
            "model": "serving/llama",
            "namespace": "serving",
            "engine": engine,
            "model_names": frozenset(),
            "source": MetricsSource.PROMETHEUS,
            "ports": (8000,),
            "scheme": "http",
            "tls": TlsSettings(),
            "path": "/metrics",
            "period_s": 15.0,
            "deadline_s": 30.0,
            "server": "main",
            **changes,
        }
    )


async def read_feed(
    result: Callable[[str], bytes],
    pods: list[ScrapeTarget],
    *,
    rounds: int = 1,
    of_server: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[list[ReadResult], LastValues, list[str]]:
    asked: list[str] = []

    async def answers(request: web.Request) -> web.StreamResponse:
        asked.append(str((await request.post())["query"]))
        return web.Response(body=result(asked[-1]), content_type="application/json")

    last_values = LastValues()
    last_values.set_targets(pods)
    async with (
        serving({"127.0.0.1": answers}, path="/api/v1/query") as port,
        reading() as reader,
    ):
        feed = PrometheusFeed(
            name="Prometheus",
            settings=metrics(**changes),
            client=PrometheusClient(server(port, **(of_server or {}))),
            last_values=last_values,
            now=lambda: 100.0,
        )
        for _ in range(rounds):
            ended = await read_all(feed, reader)
    return ended, last_values, asked


def vllm(pod: str, at: float, *, waiting: str = "3", **labels: str) -> list[dict[str, Any]]:
    common = {"namespace": "serving", "pod": pod, "engine": "0", "model_name": "llama", **labels}
    return [
        series("vllm:num_requests_running", (at - 15, "1"), (at, "2"), **common),
        series("vllm:num_requests_waiting", (at - 15, "1"), (at, waiting), **common),
        series("vllm:kv_cache_usage_perc", (at, "0.5"), **common),
        series("vllm:request_success_total", (at, "10"), finished_reason="stop", **common),
        series("vllm:request_success_total", (at, "1"), finished_reason="abort", **common),
    ]


async def test_one_query_serves_all_pods_of_a_model_each_with_its_own_time():
    pods = [target("a"), target("b"), target("silent"), target("loading", ready=False)]
    ended, last_values, asked = await read_feed(
        lambda _: answer(*vllm("a", 95.0), *vllm("b", 80.0), *vllm("stranger", 99.0)), pods
    )
    assert len(asked) == 1
    assert all(name in asked[0] for name in SOURCES["VLLM"].names)
    samples = last_values.samples()
    assert set(samples) == {("serving", "a"), ("serving", "b")}
    assert (samples["serving", "a"].sampled_at, samples["serving", "b"].sampled_at) == (95.0, 80.0)
    assert samples["serving", "a"].running_requests == 2
    assert samples["serving", "a"].finished_requests_total == 11
    assert {each.target: each.outcome for each in ended[1:]} == {
        "serving/a": ReadOutcome.READ,
        "serving/b": ReadOutcome.READ,
        "serving/silent": ReadOutcome.NO_SIGNAL,
        "serving/loading": ReadOutcome.NOT_READY,
    }


async def test_a_sample_from_the_server_s_future_is_not_younger_than_now():
    _, last_values, _ = await read_feed(lambda _: answer(*vllm("a", 107.0)), [target("a")])
    assert last_values.samples()["serving", "a"].sampled_at == 100.0


async def test_nan_is_unknown_and_model_names_restrict():
    _, last_values, _ = await read_feed(
        lambda _: answer(
            *vllm("a", 95.0, waiting="NaN"), *vllm("a", 95.0, waiting="50", model_name="other")
        ),
        [target("a")],
        model_names=frozenset({"llama"}),
    )
    sample = last_values.samples()["serving", "a"]
    assert sample.waiting_requests is None
    assert sample.running_requests == 2


async def test_an_empty_answer_is_no_demand_of_zero():
    ended, last_values, _ = await read_feed(lambda _: answer(), [target("a")])
    assert last_values.samples() == {}
    assert ended[1].outcome == ReadOutcome.NO_SIGNAL
    assert "no recent sample" in ended[1].message


async def test_warnings_of_a_partial_answer_are_kept():
    ended, _, _ = await read_feed(
        lambda _: answer(*vllm("a", 95.0), warnings=["store b timed out"], infos=["not a counter"]),
        [target("a")],
    )
    assert ended[0].warnings == ("store b timed out", "not a counter")


async def test_an_error_of_the_server_is_one_error_not_one_target():
    ended, _, _ = await read_feed(lambda _: b"<html>", [target(name) for name in "abc"])
    assert [each.outcome for each in ended] == [ReadOutcome.NOT_METRICS]
    assert URL(ended[0].target).host == "127.0.0.1"


async def test_hundreds_of_pods_are_asked_for_in_a_few_queries():
    pods = [target(f"pod-{number}") for number in range(PODS_PER_QUERY * 2 + 1)]
    _, _, asked = await read_feed(lambda _: answer(*vllm("pod-0", 95.0)), pods)
    assert len(asked) == 3


async def test_without_targets_nothing_is_asked():
    ended, _, asked = await read_feed(lambda _: answer(), [])
    assert (ended, asked) == ([], [])


async def read_dcgm(body: bytes) -> tuple[list[ReadResult], LastValues]:
    last_values = LastValues()
    last_values.set_targets([target("a")])
    last_values.set_exporters(["DCGM"])
    respond = body_of(body, content_type="application/json")
    async with (
        serving({"127.0.0.1": respond}, path="/api/v1/query") as port,
        reading() as reader,
    ):
        client = PrometheusClient(server(port))
        feed = DcgmQueryFeed(name="DCGM", client=client, last_values=last_values, now=lambda: 100.0)
        return await read_all(feed, reader), last_values


async def test_gpus_are_read_through_prometheus_likewise():
    gpu = {"Hostname": "n1", "pod": "nvidia-dcgm-exporter-x", "namespace": "gpu-operator"}
    held = {**gpu, "UUID": "GPU-0", "exported_namespace": "serving", "exported_pod": "a"}
    ended, last_values = await read_dcgm(
        answer(
            series("DCGM_FI_DEV_FB_USED", (70.0, "1000"), **held),
            series("DCGM_FI_DEV_FB_USED", (70.0, "3"), UUID="GPU-1", **gpu),
        )
    )
    assert ended[0].outcome == ReadOutcome.READ
    assert last_values.framebuffers()["serving", "a"].used_bytes == 1000 * 2**20
    assert last_values.framebuffers()["serving", "a"].sampled_at == 70.0
    assert last_values.nodes()["n1"].free == 1


async def test_a_cluster_without_dcgm_is_no_error_and_knows_nothing():
    ended, last_values = await read_dcgm(answer())
    assert ended[0].outcome == ReadOutcome.READ
    assert (last_values.framebuffers(), last_values.nodes()) == ({}, {})


async def test_gpus_are_asked_for_only_where_the_operator_says_so():
    collector = Collector(
        now=lambda: 100.0,
        servers={"main": server(1), "gpus": server(2, name="gpus", dcgm=True)},
    )
    collector.set_models([metrics(), metrics(model="serving/second")])
    assert {report.name for report in collector.reports()} == {
        "Prometheus for serving/llama",
        "Prometheus for serving/second",
        "DCGM through gpus",
    }
