"""The `/metrics` page against pages captured of a real vLLM."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulations.box.vllm_server.options import parse
from simulations.box.vllm_server.page import MetricsPage
from simulations.serving.gauges import Gauges
from simulations.serving.reference.engine import EngineSequence
from tests.sources.bodies import page as captured

CAPTURED = ["--served-model-name", "tiny-llama", "--max-model-len", "1024", "--max-num-seqs", "4"]
CAPTURED += ["--num-gpu-blocks", "24", "--block-size", "128"]
IDLE = Gauges(
    waiting_requests=0,
    running_requests=0,
    kv_usage_ratio=0.0,
    finished_requests_total=0,
    prompt_tokens_total=0,
    generation_tokens_total=0,
    preemptions_total=0,
    prefix_queried_tokens_total=0,
    prefix_hit_tokens_total=0,
)


@pytest.fixture(autouse=True)
def created_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon in the same process has switched them off, for all of the process."""
    monkeypatch.setattr("prometheus_client.metrics._use_created", True)


def page(*arguments: str) -> MetricsPage:
    return MetricsPage(parse([*CAPTURED, *arguments]))


def sequence(prompt: int, output: int) -> EngineSequence:
    return EngineSequence(request=0, prompt=prompt, output=output, prefix=(), inbox_ns=0)


def finish(page: MetricsPage, *, reason: str = "length") -> None:
    page.request_finished(
        sequence(100, 50),
        reason=reason,
        tokens_max=50,
        e2e_s=3.0,
        queue_s=0.5,
        prefill_s=0.4,
        decode_s=2.0,
    )


def shape(lines: Iterable[str]) -> list[str]:
    """The page without its values: comments and series, in order."""
    return [line if line.startswith("#") else line.rsplit(" ", 1)[0] for line in lines]


def values(body: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(body: bytes, name: str, **labels: str) -> float:
    found = [
        number
        for (series, own), number in values(body).items()
        if series == name and set(labels.items()) <= set(own)
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def names(body: bytes) -> set[str]:
    return {name for name, _ in values(body)}


def test_an_idle_page_has_the_lines_of_a_captured_one() -> None:
    theirs = captured("vllm-0.32.0-idle").decode().splitlines()
    rendered = page().render(IDLE).decode().splitlines()
    config = "vllm:cache_config_info{"
    assert [line for line in shape(rendered) if not line.startswith(config)] == [
        line for line in shape(theirs) if not line.startswith(config)
    ]


def test_a_page_after_requests_has_the_lines_of_a_captured_one() -> None:
    theirs = captured("vllm-0.32.0-after").decode().splitlines()
    shown = page()
    shown.http_answered(
        handler="/v1/completions", method="POST", status=200, received_bytes=1000, duration_s=2.0
    )
    config = "vllm:cache_config_info{"
    rendered = shown.render(IDLE).decode().splitlines()
    assert [line for line in shape(rendered) if not line.startswith(config)] == [
        line for line in shape(theirs) if not line.startswith(config)
    ]


def test_cache_config_has_the_labels_of_the_captured_one() -> None:
    theirs_all = values(captured("vllm-0.32.0-idle"))
    rendered = values(page().render(IDLE))

    def labels(of: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> dict[str, str]:
        return next(dict(own) for name, own in of if name == "vllm:cache_config_info")

    theirs, ours = labels(theirs_all), labels(rendered)
    assert ours.keys() == theirs.keys()
    for name in ("num_gpu_blocks", "block_size", "kv_cache_size_tokens", "enable_prefix_caching"):
        assert ours[name] == theirs[name], name
    assert ours["kv_cache_max_concurrency"] == theirs["kv_cache_max_concurrency"] == "3.0"


@pytest.mark.parametrize(
    ("version", "there", "not_there"),
    [
        (
            "0.8.5",
            {"vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds_bucket"},
            {"vllm:kv_cache_usage_perc", "vllm:inter_token_latency_seconds_bucket"},
        ),
        (
            "0.9.2",
            {"vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"},
            {"vllm:num_requests_waiting_by_reason"},
        ),
        (
            "0.10.2",
            {
                "vllm:gpu_cache_usage_perc",
                "vllm:kv_cache_usage_perc",
                "vllm:time_per_output_token_seconds_bucket",
                "vllm:inter_token_latency_seconds_bucket",
            },
            {"vllm:request_time_per_output_token_seconds_bucket"},
        ),
        (
            "0.11.1",
            {"vllm:kv_cache_usage_perc", "vllm:time_per_output_token_seconds_bucket"},
            {"vllm:gpu_cache_usage_perc", "vllm:gpu_prefix_cache_hits_total"},
        ),
        (
            "0.20.0",
            {"vllm:num_requests_waiting_by_reason", "vllm:inter_token_latency_seconds_bucket"},
            {"vllm:time_per_output_token_seconds_bucket", "vllm:admission_rejections_total"},
        ),
    ],
)
def test_names_are_those_of_the_release(version: str, there: set[str], not_there: set[str]) -> None:
    shown = names(page("--metrics-version", version).render(IDLE))
    assert there <= shown
    assert not shown & not_there
    assert {"vllm:num_requests_running", "vllm:generation_tokens_total"} <= shown


def test_gauges_are_what_the_engine_shows() -> None:
    shown = page("--metrics-version", "0.10.0").render(
        Gauges(
            waiting_requests=8,
            running_requests=3,
            kv_usage_ratio=0.25,
            finished_requests_total=0,
            prompt_tokens_total=0,
            generation_tokens_total=0,
            preemptions_total=2,
            prefix_queried_tokens_total=500,
            prefix_hit_tokens_total=128,
        )
    )
    assert value(shown, "vllm:num_requests_waiting") == 8
    assert value(shown, "vllm:num_requests_running") == 3
    assert value(shown, "vllm:gpu_cache_usage_perc") == 0.25
    assert value(shown, "vllm:kv_cache_usage_perc") == 0.25
    assert value(shown, "vllm:num_preemptions_total") == 2
    assert value(shown, "vllm:prefix_cache_queries_total") == 500
    assert value(shown, "vllm:gpu_prefix_cache_hits_total") == 128


def test_counters_do_not_grow_by_being_looked_at() -> None:
    shown = page()
    seen = Gauges(**dict.fromkeys(Gauges._fields, 5))
    for _ in range(3):
        body = shown.render(seen)
    assert value(body, "vllm:num_preemptions_total") == 5
    assert value(body, "vllm:prefix_cache_hits_total") == 5


def test_a_step_counts_its_tokens_and_the_gaps_of_its_decodes() -> None:
    """3 decodes 20 ms after their last token, one first token of a prompt with a hit, one resumed."""
    shown = page()
    first = sequence(100, 50)
    first.cached = 64
    shown.step_made(first=[first], gaps_s=[0.02, 0.02, 0.02, 1.4])
    body = shown.render(IDLE)
    assert value(body, "vllm:generation_tokens_total") == 5
    assert value(body, "vllm:prompt_tokens_total") == 100
    assert value(body, "vllm:prompt_tokens_by_source_total", source="local_compute") == 36
    assert value(body, "vllm:prompt_tokens_cached_total") == 64
    # hits are prompt tokens, but no tokens of the step
    assert value(body, "vllm:iteration_tokens_total_sum") == 5 + 36
    assert value(body, "vllm:inter_token_latency_seconds_count") == 4
    assert value(body, "vllm:inter_token_latency_seconds_bucket", le="0.025") == 3
    assert value(body, "vllm:inter_token_latency_seconds_sum") == pytest.approx(1.46)


def test_ends_are_counted_by_reason() -> None:
    shown = page()
    finish(shown)
    finish(shown, reason="stop")
    shown.request_aborted()
    body = shown.render(IDLE)
    ends = {
        reason: value(body, "vllm:request_success_total", finished_reason=reason)
        for reason in ("length", "stop", "abort", "error")
    }
    assert ends == {"length": 1, "stop": 1, "abort": 1, "error": 0}
    # only whole requests are in the histograms
    assert value(body, "vllm:e2e_request_latency_seconds_count") == 2
    assert value(body, "vllm:request_inference_time_seconds_sum") == pytest.approx(4.8)
    assert value(body, "vllm:request_time_per_output_token_seconds_sum") == pytest.approx(
        2 * 2.0 / 49
    )
