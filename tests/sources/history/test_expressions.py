"""What is asked about the past: which pods, which series, over which windows."""

from __future__ import annotations

import re

import pytest

from autoscaler.settings import (
    EngineType,
    MetricsSettings,
    MetricsSource,
    PrometheusSettings,
    TlsSettings,
)
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.history.expressions import (
    FIGURES,
    KV_USAGE,
    PastPods,
    everything,
    how_often,
    interval_s,
    pod_pattern,
)
from autoscaler.sources.history.whom import whom_to_ask
from tests.builders import model, on_demand, spot

LONG = "a" * 60

PODS = PastPods(
    namespace="serving",
    deployments=("llama",),
    model_names=frozenset({"lla.ma"}),
    matchers=(("cluster", 'eu"1'),),
    several_pages=False,
)


@pytest.mark.parametrize(
    ("deployment", "pod", "is_one"),
    [
        ("llama", "llama-7d9c5b6f4-xk2lp", True),
        ("llama", "llama-c5b6f4-xk2lp", True),
        ("llama", "llama-chat-7d9c5b6f4-xk2lp", False),
        ("llama", "llama-7d9c5b6f4-xk2lpq", False),
        ("llama", "llama-0", False),
        ("llama", "my-llama-7d9c5b6f4-xk2lp", False),
        ("llama", "llama-train-xk2lp", False),
        ("llama.b", "llamaxb-7d9c5b6f4-xk2lp", False),
        ("a" * 46, "a" * 46 + "-7d9c5b6f4c-xk2lp", True),
        ("a" * 50, "a" * 50 + "-7d9c5b6xk2lp", True),
        (LONG, "a" * 58 + "xk2lp", True),
    ],
)
def test_pods_of_all_times_are_found_by_the_name_of_their_deployment(deployment, pod, is_one):
    """Kubernetes cuts a pod's name to 58 characters and adds five."""
    assert bool(re.fullmatch(pod_pattern([deployment, "other"]), pod)) is is_one


@pytest.mark.parametrize("engine", SOURCES)
class TestEveryEngine:
    def test_it_asks_for_series_that_its_source_knows(self, engine):
        source = SOURCES[engine]
        text = everything(PODS, source.history, span_s=60.0, interval_s=15.0)
        asked = set(re.findall(r"\(([A-Za-z_:][\w:]*)\{", text))
        assert asked
        assert asked <= set(source.names)
        assert set(source.history.labels) <= source.labels

    def test_every_selector_has_all_that_tells_whose_it_is(self, engine):
        text = everything(PODS, SOURCES[engine].history, span_s=60.0, interval_s=15.0)
        for selector in re.findall(r"\{(namespace.*?)\}\[", text):
            assert selector.startswith('namespace="serving",pod=~"llama-')
            assert 'cluster="eu\\"1"' in selector

    def test_every_figure_is_named_once(self, engine):
        series = SOURCES[engine].history
        text = everything(PODS, series, span_s=60.0, interval_s=15.0)
        named = re.findall(r'"figure", "(\w+)"', text)
        expected = [name for name in FIGURES if name != KV_USAGE or series.kv_usage]
        assert sorted(named) == sorted(expected)


def test_a_model_s_name_restricts_where_series_have_one():
    vllm, tgi = (
        everything(PODS, SOURCES[engine].history, span_s=60.0, interval_s=15.0)
        for engine in ("VLLM", "TGI")
    )
    assert 'model_name=~"lla\\\\.ma"' in vllm
    assert "model_name=" not in tgi


@pytest.mark.parametrize(
    ("interval", "mean", "rate"),
    [
        (5.0, 60_000, 65_000),
        (15.0, 60_000, 75_000),
        (30.0, 60_000, 90_000),
        (60.0, 90_000, 120_000),
        (120.0, 180_000, 300_000),
    ],
)
def test_a_rate_is_over_a_minute_and_one_scrape(interval, mean, rate):
    """So the samples in one window begin where those of the one before end."""
    text = everything(PODS, SOURCES["VLLM"].history, span_s=60.0, interval_s=interval)
    assert set(re.findall(r"avg_over_time\(.*?\}\[(\d+)ms\]", text)) == {str(mean)}
    assert set(re.findall(r"(?:rate|delta)\(.*?\}\[(\d+)ms\]", text)) == {str(rate)}


def test_how_often_pods_are_scraped_is_counted_in_ten_minutes():
    assert "count_over_time(vllm:num_requests_running{" in how_often(PODS, SOURCES["VLLM"].history)
    assert [interval_s(samples) for samples in (None, 0.0, 40.0, 10.0, 1e9, 1.0)] == [
        *(60.0, 60.0, 15.0, 60.0, 5.0, 120.0)
    ]


def server(name: str, **what: object) -> PrometheusSettings:
    return PrometheusSettings(name=name, server_address=f"https://{name}", **what)


def asked(*servers: PrometheusSettings, **metrics: object):
    spec = model(pools=[on_demand("llama-od"), spot("llama-spot")])
    settings = MetricsSettings(
        **{
            "model": spec.key,
            "namespace": spec.namespace,
            "engine": EngineType.SGLANG,
            "model_names": frozenset({"llama"}),
            "source": MetricsSource.PODS,
            "ports": (8000,),
            "scheme": "http",
            "tls": TlsSettings(),
            "path": "/metrics",
            "period_s": 5.0,
            "deadline_s": 10.0,
            **metrics,
        }
    )
    return whom_to_ask(spec, settings, {each.name: each for each in servers})


MAIN, OTHER = server("main", matchers=(("cluster", "eu-1"),)), server("other")


@pytest.mark.parametrize(
    ("rule", "servers", "source", "expected"),
    [
        ("nobody is there", [], MetricsSource.PODS, None),
        ("the only one is asked", [MAIN], MetricsSource.PODS, "main"),
        ("of two nobody knows which", [MAIN, OTHER], MetricsSource.PODS, None),
        ("the one that is named", [MAIN, server("past", history=True)], MetricsSource.PODS, "past"),
        (
            "its signals come from one: that one",
            [MAIN, server("past", history=True)],
            MetricsSource.PROMETHEUS,
            "main",
        ),
        ("its own is not known", [OTHER], MetricsSource.PROMETHEUS, None),
    ],
)
def test_whom_a_model_s_past_is_asked_of(rule, servers, source, expected):
    found = asked(*servers, source=source, server="main")
    assert (found and found.server) == expected, rule


def test_what_is_asked_of_a_model():
    found = asked(MAIN, ports=(8000, 8001), matchers=(("job", "vllm"),))
    assert found.pods == PastPods(
        namespace="serving",
        deployments=("llama-od", "llama-spot"),
        model_names=frozenset({"llama"}),
        matchers=(("cluster", "eu-1"), ("job", "vllm")),
        several_pages=True,
    )
    assert found.series is SOURCES["SGLang"].history
