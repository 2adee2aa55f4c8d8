"""What a metric's name or a query of an HPA means."""

from __future__ import annotations

import pytest

from autoscaler.errors import SettingsError
from simulations.field.advise.signals import signal_of_metric, signal_of_query
from simulations.serving.columns import Gauges

PAGES = [
    Gauges(4, 10, 0.5, 0, 0, 0, 0, 0, 0),
    Gauges(2, 30, 0.7, 0, 0, 0, 0, 0, 0),
]
"""(waiting, running, KV usage)"""


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("sum(vllm:num_requests_waiting)", 6),
        ('sum(vllm:num_requests_waiting{model_name="a+b", pod=~"x{3}.+"})', 6),
        ("max(vllm:num_requests_running)", 30),
        ("min(vllm:num_requests_running)", 10),
        ("avg(vllm:gpu_cache_usage_perc)", 0.6),
        ("avg(vllm:kv_cache_usage_perc{}) by (model_name)", 0.6),
        ("sum by (pod) (vllm:num_requests_running) + sum(vllm:num_requests_waiting)", 46),
        ("vllm:num_requests_waiting", 6),
        ("\n  sum(\n    vllm_num_requests_waiting\n  )\n", 6),
    ],
)
def test_a_query_of_gauges_is_read(query, value):
    assert signal_of_query(query).over(PAGES) == pytest.approx(value)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sum(rate(vllm:request_success_total[1m]))",
        "sum(vllm:num_requests_waiting) * 2",
        "sum(vllm:num_requests_waiting) / sum(vllm:num_requests_running)",
        "quantile(0.9, vllm:num_requests_waiting)",
        "count(vllm:num_requests_waiting)",
        "sum(DCGM_FI_DEV_GPU_UTIL)",
        "sum(vllm:num_requests_waiting",
    ],
)
def test_what_is_more_than_that_is_refused_by_name(query):
    with pytest.raises(SettingsError, match="not modelled; modelled are"):
        signal_of_query(query)


def test_without_a_page_a_query_has_no_answer():
    assert signal_of_query("sum(vllm:num_requests_waiting)").over([]) is None


@pytest.mark.parametrize(
    "name", ["vllm:num_requests_waiting", "vllm_num_requests_waiting", "num_requests_waiting"]
)
def test_adapters_rename_metrics(name):
    assert signal_of_metric(name).of(PAGES[0]) == 4


def test_a_metric_of_something_else_is_refused():
    with pytest.raises(SettingsError, match="DCGM_FI_DEV_GPU_UTIL"):
        signal_of_metric("DCGM_FI_DEV_GPU_UTIL")
