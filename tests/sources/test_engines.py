"""Rules of one engine each, as tables of edited pages."""

from __future__ import annotations

import pytest

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import read_page
from tests.sources.bodies import page, with_value, without


def read(engine: str, body: bytes | str, *model_names: str) -> PodSample:
    body = body.encode() if isinstance(body, str) else body
    source = SOURCES[engine]
    rows = read_page(body, source.names)
    return source.sample(rows, model_names=frozenset(model_names), at=100.0)


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


# -- vLLM


def test_kv_usage_is_read_under_both_of_its_names_and_never_guessed():
    body = page("vllm-0.32.0-loaded")
    old = body.replace(b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc")
    assert read("VLLM", old).kv_usage_ratio == read("VLLM", body).kv_usage_ratio
    both = body + b'vllm:gpu_cache_usage_perc{engine="0",model_name="tiny-llama"} 0.9\n'
    assert read("VLLM", both).kv_usage_ratio == pytest.approx(0.3913, abs=1e-4)
    assert read("VLLM", without(body, "vllm:kv_cache_usage_perc")).kv_usage_ratio is None


def test_a_usage_beyond_one_is_no_ratio():
    body = with_value(page("vllm-0.32.0-loaded"), "vllm:kv_cache_usage_perc", "39.1")
    assert read("VLLM", body).kv_usage_ratio is None


ENGINES = lines(
    'vllm:num_requests_running{engine="0",model_name="m"} 4',
    'vllm:num_requests_running{engine="1",model_name="m"} 6',
    'vllm:num_requests_waiting{engine="0",model_name="m"} 0',
    'vllm:num_requests_waiting{engine="1",model_name="m"} 3',
    'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.2',
    'vllm:kv_cache_usage_perc{engine="1",model_name="m"} 1.0',
    'vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 10',
    'vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 1',
    'vllm:request_success_total{engine="1",finished_reason="length",model_name="m"} 20',
)


def test_engines_of_one_pod_add_up_and_their_kv_usage_is_averaged():
    sample = read("VLLM", ENGINES)
    assert (sample.running_requests, sample.waiting_requests) == (10, 3)
    assert sample.finished_requests_total == 31  # every reason: what left the pod
    assert sample.kv_usage_ratio == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        (("3000", "1000"), (0.2 * 3000 + 1.0 * 1000) / 4000),
        (("3000", "None"), 0.6),  # one is not told: equal weights
        (("3000", "0"), 0.6),
    ],
)
def test_kv_usage_is_weighted_by_blocks_where_all_are_told(
    blocks: tuple[str, str], expected: float
):
    configurations = lines(
        *(
            f'vllm:cache_config_info{{block_size="16",engine="{engine}",kv_layers="[1, {{2}}]",'
            f'num_gpu_blocks="{count}"}} 1.0'
            for engine, count in enumerate(blocks)
        )
    )
    assert read("VLLM", ENGINES + configurations).kv_usage_ratio == pytest.approx(expected)


def test_one_engine_that_says_nan_makes_the_sum_unknown():
    body = ENGINES.replace(
        'waiting{engine="1",model_name="m"} 3', 'waiting{engine="1",model_name="m"} NaN'
    )
    sample = read("VLLM", body)
    assert sample.waiting_requests is None
    assert sample.running_requests == 10


def test_model_names_restrict_and_a_name_that_is_not_served_is_told():
    body = ENGINES + lines(
        'vllm:num_requests_running{engine="0",model_name="other"} 50',
        'vllm:num_requests_waiting{engine="0",model_name="other"} 70',
    )
    assert read("VLLM", body).running_requests == 60
    assert read("VLLM", body, "m").running_requests == 10
    assert read("VLLM", body, "m", "other").waiting_requests == 73
    with pytest.raises(SourceError, match=r"the models m, other; spec.modelNames asks for llama"):
        read("VLLM", body, "llama")


def test_deferred_requests_wait_too():
    body = lines(
        'vllm:num_requests_running{engine="0",model_name="m"} 4',
        'vllm:num_requests_waiting{engine="0",model_name="m"} 50',
        'vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 0',
        'vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="deferred"} 50',
    )
    assert read("VLLM", body).waiting_requests == 50
    assert read("VLLM", without(body.encode(), "vllm:num_requests_waiting")).waiting_requests == 50


def test_a_sleeping_engine_is_not_idle():
    body = page("vllm-0.32.0-idle")
    asleep = body.replace(b'sleep_state="awake"} 1.0', b'sleep_state="awake"} 0.0')
    assert asleep != body
    assert read("VLLM", body).running_requests == 0
    with pytest.raises(SourceError, match="engine 0 sleeps"):
        read("VLLM", asleep)


def test_rows_without_an_engine_label_and_colons_made_underscores_are_read():
    body = lines(
        'vllm_num_requests_running{model_name="m"} 2', 'vllm_num_requests_waiting{model_name="m"} 1'
    )
    sample = read("VLLM", body)
    assert (sample.running_requests, sample.waiting_requests) == (2, 1)


def test_a_histogram_named_total_is_no_counter():
    # vllm:iteration_tokens_total is a histogram despite its suffix; nothing of it may be summed.
    sample = read("VLLM", page("vllm-0.32.0-loaded"))
    assert sample.prompt_tokens_total == 5938
    assert sample.generation_tokens_total == 12957


# -- TGI


def test_a_fresh_tgi_shows_no_gauge_it_never_touched():
    body = lines("tgi_batch_max_total_tokens 32768", "tgi_request_count 0")
    sample = read("TGI", body)
    assert (sample.waiting_requests, sample.running_requests) == (0, 0)
    assert sample.kv_usage_ratio == 0
    assert sample.finished_requests_total is None


def test_tgi_counts_what_failed_inside_but_not_what_was_refused_at_the_door():
    body = lines(
        "tgi_queue_size 1",
        "tgi_request_success 100",
        'tgi_request_failure{err="overloaded"} 7',
        'tgi_request_failure{err="validation"} 5',
        'tgi_request_failure{err="generation"} 2',
        'tgi_request_failure{err="incomplete"} 1',
    )
    sample = read("TGI", body)
    assert sample.finished_requests_total == 103
    assert sample.kv_usage_ratio is None  # no budget: before 3.0


# -- SGLang


def test_sglang_takes_the_total_of_priorities_one_rank_of_each_schedule_and_all_its_queues():
    body = lines(
        'sglang:num_running_reqs{model_name="m",tp_rank="0",dp_rank="0"} 10',
        'sglang:num_running_reqs{model_name="m",tp_rank="1",dp_rank="0"} 10',
        'sglang:num_running_reqs{model_name="m",tp_rank="0",dp_rank="1"} 5',
        'sglang:num_queue_reqs{model_name="m",tp_rank="0",dp_rank="0",priority=""} 8',
        'sglang:num_queue_reqs{model_name="m",tp_rank="0",dp_rank="0",priority="1"} 6',
        'sglang:num_queue_reqs{model_name="m",tp_rank="0",dp_rank="0",priority="2"} 2',
        'sglang:num_grammar_queue_reqs{model_name="m",tp_rank="0",dp_rank="0"} 1',
        'sglang:num_decode_prealloc_queue_reqs{model_name="m",tp_rank="0",dp_rank="0"} 3',
        'sglang:token_usage{model_name="m",tp_rank="0",dp_rank="0"} 0.5',
        'sglang:token_usage{model_name="m",tp_rank="1",dp_rank="0"} 0.5',
        'sglang:token_usage{model_name="m",tp_rank="0",dp_rank="1"} 0.9',
        'sglang:num_requests_total{model_name="m"} 40',
        'sglang:e2e_request_latency_seconds_count{model_name="m"} 41',
        'sglang:utilization{model_name="m"} 0',
    )
    sample = read("SGLang", body)
    assert sample.running_requests == 15
    assert sample.waiting_requests == 12
    assert sample.kv_usage_ratio == pytest.approx(0.7)
    assert sample.finished_requests_total == 40


def test_a_priority_s_row_that_lags_its_total_does_not_count():
    body = lines(
        'sglang:num_running_reqs{model_name="m"} 1',
        'sglang:num_queue_reqs{model_name="m",priority="1"} 6',
        'sglang:num_queue_reqs{model_name="m",priority=""} 0',
    )
    assert read("SGLang", body).waiting_requests == 0


@pytest.mark.parametrize("values", [("NaN", "5"), ("5", "NaN")])
def test_a_rank_that_says_nan_makes_its_schedule_unknown(values: tuple[str, str]):
    body = lines(
        'sglang:num_running_reqs{model_name="m"} 1',
        *(
            f'sglang:num_queue_reqs{{model_name="m",tp_rank="{rank}"}} {value}'
            for rank, value in enumerate(values)
        ),
    )
    assert read("SGLang", body).waiting_requests is None


def test_a_side_queue_of_sglang_that_says_nan_makes_waiting_unknown():
    body = with_value(page("sglang"), "sglang:num_grammar_queue_reqs", "NaN")
    assert read("SGLang", body).waiting_requests is None


# -- Ray Serve

RAY = lines(
    'ray_serve_deployment_queued_queries{deployment="Ingress",handle="h0"} 9',
    'ray_serve_deployment_queued_queries{deployment="LLM:a",handle="h1"} 4',
    'ray_serve_deployment_queued_queries{deployment="LLM:b",handle="h2"} 2',
    'ray_serve_replica_processing_queries{deployment="Ingress",replica="i"} 30',
    'ray_serve_replica_processing_queries{deployment="LLM:a",replica="a1"} 20',
    'ray_serve_replica_processing_queries{deployment="LLM:b",replica="b1"} 10',
    'ray_vllm_num_requests_running{ReplicaId="a1",engine="0",model_name="a"} 16',
    'ray_vllm_num_requests_waiting{ReplicaId="a1",engine="0",model_name="a"} 4',
    'ray_vllm_num_requests_running{ReplicaId="b1",engine="0",model_name="b"} 10',
    'ray_vllm_num_requests_waiting{ReplicaId="b1",engine="0",model_name="b"} 0',
    'ray_vllm_request_success_total{ReplicaId="a1",model_name="a",finished_reason="stop"} 7',
    'ray_vllm_request_success{ReplicaId="a1",model_name="a",finished_reason="stop"} 7',
)


@pytest.mark.parametrize(
    ("model_names", "waiting", "running"),
    [
        ((), 4 + 0 + 4 + 2, 16 + 10),  # the ingress passes the same requests on
        (("a",), 4 + 4, 16),
        (("b",), 2, 10),
    ],
)
def test_ray_serve_counts_a_request_once(model_names: tuple[str, ...], waiting: int, running: int):
    sample = read("RayServe", RAY, *model_names)
    assert (sample.waiting_requests, sample.running_requests) == (waiting, running)


def test_ray_serve_does_not_count_the_legacy_agent_s_doubles():
    assert read("RayServe", RAY).finished_requests_total == 7


def test_ray_serve_without_vllm_counts_its_own_queries():
    body = lines(
        'ray_serve_replica_processing_queries{deployment="D",replica="x"} 5',
        'ray_serve_deployment_request_counter_total{deployment="D",replica="x",route="/"} 90',
        'ray_serve_deployment_error_counter_total{deployment="D",replica="x",route="/"} 10',
    )
    sample = read("RayServe", body)
    assert (sample.waiting_requests, sample.running_requests) == (0, 5)
    assert sample.finished_requests_total == 100
