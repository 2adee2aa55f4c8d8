from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.migration.amounts import read_amount
from autoscaler.migration.cron import NoScheduleError, read_schedule
from autoscaler.migration.metric_names import MetricSignal, engine_of, signal_of
from autoscaler.migration.queries import Over, UnclearQueryError, read_query

W, R = "vllm:num_requests_waiting", "vllm:num_requests_running"


@pytest.mark.parametrize(
    ("query", "over", "weights"),
    [
        (f"sum({W})", Over.SUM, {MetricSignal.WAITING: 1}),
        (f'sum({W}{{job="a}}b"}}) or vector(0)', Over.SUM, {MetricSignal.WAITING: 1}),
        (f"sum by (namespace, job) ({W})", Over.SUM, {MetricSignal.WAITING: 1}),
        (f"avg({R}) by (model_name)", Over.MEAN, {MetricSignal.RUNNING: 1}),
        (f"sum({R}) / count({R})", Over.MEAN, {MetricSignal.RUNNING: 1}),
        (
            f"sum({R}) / on() group_left() sum(kube_deployment_status_replicas_ready)",
            Over.MEAN,
            {MetricSignal.RUNNING: 1},
        ),
        (
            f"2 * (sum({R}) + sum({W}))",
            Over.SUM,
            {MetricSignal.RUNNING: 2, MetricSignal.WAITING: 2},
        ),
        (
            f"sum({R}) * 0.5 + sum({W}) / 4",
            Over.SUM,
            {MetricSignal.RUNNING: 0.5, MetricSignal.WAITING: 0.25},
        ),
        (f"sum({R} + on(pod) {W})", Over.SUM, {MetricSignal.RUNNING: 1, MetricSignal.WAITING: 1}),
        (f"sum(max by (pod) ({W}))", Over.SUM, {MetricSignal.WAITING: 1}),
        (f"max(sum({W}))", Over.SUM, {MetricSignal.WAITING: 1}),
        (f"sum(avg_over_time({W}[2m]))", Over.SUM, {MetricSignal.WAITING: 1}),
        (f"max_over_time(sum({W})[5m:15s])", Over.SUM, {MetricSignal.WAITING: 1}),
        (f"ceil(clamp_min(sum({W} offset 30s), 1))", Over.SUM, {MetricSignal.WAITING: 1}),
        (f'sum({{__name__="{W}", pod=~"a.*"}})', Over.SUM, {MetricSignal.WAITING: 1}),
        (f"(sum({W}) > 0) or vector(0)", Over.SUM, {MetricSignal.WAITING: 1}),
        (f"max(sum by (model_name) ({W}))", Over.SUM, {MetricSignal.WAITING: 1}),
        (f"sum({W}) # of 'all'\n/ count(up == 1)", Over.MEAN, {MetricSignal.WAITING: 1}),
        (f'sum(label_replace({W}, "a", "$1", "b", "(.*)"))', Over.SUM, {MetricSignal.WAITING: 1}),
        ("avg(vllm:kv_cache_usage_perc) * 100", Over.MEAN, {MetricSignal.KV_CACHE: 100}),
        (W, Over.BARE, {MetricSignal.WAITING: 1}),
        (
            "rate(vllm:time_to_first_token_seconds_sum[1m]) / rate(vllm:time_to_first_token_seconds_count[1m])",
            Over.MEAN,
            {MetricSignal.TTFT: 1},
        ),
    ],
)
def test_a_query_is_read(query, over, weights):
    load = read_query(query, told={})
    assert (load.over, dict(load.weights)) == (over, weights)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "its end"),
        ("5", "a number without a metric"),
        (f"sum({W}", "its end"),
        (f"sum({W}) and sum({R})", "what follows at 'and'"),
        (f"sum({W}) or vector(7)", "or vector"),
        (f"sum({W}) / 0", "a division by zero"),
        (f"sum({W}) / sum({R})", "a quotient of metrics"),
        (f"sum({W}) + avg({R})", "the sum of a sum and a mean"),
        (f"predict_linear({W}[5m], 60)", "the function predict_linear"),
        (f"sum({W}) < 3", "the comparison <"),
        ("(" * 100 + W + ")" * 100, "nesting without end"),
        ("§", "what begins at"),
        (f"sum({W})" + " " * 20_000, "a query of"),
    ],
)
def test_what_is_not_understood_is_said(query, why):
    with pytest.raises(UnclearQueryError, match=why):
        read_query(query, told={})


PIECES = [
    "sum",
    "(",
    ")",
    W,
    R,
    "+",
    "/",
    "*",
    "or",
    "vector",
    "0",
    "2",
    "{a='b'}",
    "[1m]",
    "by",
    ",",
    "x",
]


@given(
    st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join))
)
def test_whatever_is_written_it_is_read_or_refused(query):
    try:
        load = read_query(query, told={})
    except UnclearQueryError:
        return
    assert load.over is not Over.NUMBER


@pytest.mark.parametrize(
    ("name", "signal", "engine"),
    [
        ("vllm:num_requests_waiting", MetricSignal.WAITING, "VLLM"),
        ("vllm_num_requests_waiting", MetricSignal.WAITING, "VLLM"),
        ("prometheus.googleapis.com|vllm:num_requests_waiting|gauge", MetricSignal.WAITING, "VLLM"),
        ("prometheus.googleapis.com/vllm:kv_cache_usage_perc/gauge", MetricSignal.KV_CACHE, "VLLM"),
        ("vllm:gpu_cache_usage_perc", MetricSignal.KV_CACHE, "VLLM"),
        ("num_requests_running_average", MetricSignal.RUNNING, ""),
        ("sglang:num_running_reqs", MetricSignal.RUNNING, "SGLang"),
        ("tgi_queue_size", MetricSignal.WAITING, "TGI"),
        ("my_inflight_requests", MetricSignal.IN_FLIGHT, ""),
        ("DCGM_FI_DEV_GPU_UTIL", MetricSignal.GPU, ""),
        ("kubernetes.io|container|accelerator|duty_cycle", MetricSignal.OTHER, ""),
        ("vllm:e2e_request_latency_seconds_bucket", MetricSignal.WHOLE_TIME, "VLLM"),
        ("mine", MetricSignal.RUNNING, ""),
    ],
)
def test_a_metric_is_told_by_its_name(name, signal, engine):
    assert signal_of(name, {"mine": MetricSignal.RUNNING}) is signal
    assert engine_of(name) == engine


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("5", 5.0),
        (10, 10.0),
        ("500m", 0.5),
        ("1k", 1000.0),
        ("2Ki", 2048.0),
        ("1e2", 100.0),
        ("", None),
        (True, None),
        (float("nan"), None),
        ("1e999", None),
        ("5 %", None),
        ([], None),
    ],
)
def test_an_amount_is_read(written, amount):
    assert read_amount(written) == amount


@pytest.mark.parametrize(
    ("start", "end", "schedule"),
    [
        ("0 8 * * *", "0 20 * * *", {"from": "08:00", "to": "20:00"}),
        ("0 8 * * MON-FRI", "0 0 * * TUE-SAT", {"days": "Mon-Fri", "from": "08:00", "to": "24:00"}),
        ("0 8 * * 0,6", "30 9 * * *", {"days": ["Sat", "Sun"], "from": "08:00", "to": "09:30"}),
        ("0 8 * * 5-7", "0 9 * * 5-7", {"days": "Fri-Sun", "from": "08:00", "to": "09:00"}),
        ("*/5 8 * * *", "0 9 * * *", "no single minute"),
        ("0 8 1 * *", "0 9 1 * *", "days of the month"),
        ("0 8 * * 1", "0 9 * * 3", "within a day"),
        ("0 8 * * 1", "0 8 * * 2", "same time"),
        ("0 8 * *", "0 9 * * *", "five fields"),
        ("0 8 * * 6-1", "0 9 * * *", "backwards"),
    ],
)
def test_two_cron_lines_are_a_schedule_or_why_not(start, end, schedule):
    if isinstance(schedule, str):
        with pytest.raises(NoScheduleError, match=schedule):
            read_schedule(start, end, time_zone="UTC", replicas=3)
        return
    made = read_schedule(start, end, time_zone="UTC", replicas=3)
    assert made == {**schedule, "timeZone": "UTC", "replicas": 3}
