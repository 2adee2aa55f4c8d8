"""vLLM's signals, over all its releases from 0.8.5 on.

Choices, with their reasons:

- *Waiting* is `num_requests_waiting`, whose name and meaning never changed. Since 0.20 it is also
  split by reason, and only the part `capacity` is helped by more replicas at once. We still take the
  whole: what is `deferred` (for a LoRA slot, for remote KV) is work in the system; leaving it out
  would show a replica with fifty deferred requests as nearly idle, and idle replicas get removed.
  The split serves where the whole is missing.
- *KV usage* over several engines (data-parallel ranks) is the mean weighted by their blocks: the
  share of the replica's cache that is in use. It is multiplied by replicas later on, and only an
  average may be; the fullest rank would overstate all of them.
- An engine that *sleeps* reports 0 and 0 while requests may be parked in front of it. That is no
  demand of zero; it is a gap, and the message says so.
- *Time per token* of a request is `request_time_per_output_token_seconds` (0.11 on). Before, only the
  gaps between tokens were counted: `time_per_output_token_seconds`, called
  `inter_token_latency_seconds` from 0.10.2 on. They are read where the former is missing.
- `iteration_tokens_total` is a histogram, whatever its name; of it and of the queue time the sum and the
  count are read.
- The spelling `vllm_` is that of pipelines that replace colons; `ray_vllm:` and `ray_vllm_` are Ray's
  (`ray_serve` builds on this module). Each series is looked for in each of its spellings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autoscaler.errors import SourceError
from autoscaler.foreign_text import shown
from autoscaler.kube.samples import HistogramSample, PodSample
from autoscaler.sources.pages.history_series import HistorySeries, PastSeries
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import Rows, SeriesRow
from autoscaler.sources.pages.signals import (
    EngineSource,
    count_since_start,
    expect_demand,
    first_of,
    histogram,
    mean_ratio,
    rows_of_models,
    spellings,
    total,
)

_SERIES = (
    "num_requests_waiting",
    "num_requests_waiting_by_reason",
    "num_requests_running",
    "engine_sleep_state",
    "kv_cache_usage_perc",
    "gpu_cache_usage_perc",
    "cache_config_info",
    "request_success_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "num_preemptions_total",
    "request_queue_time_seconds_sum",
    "request_queue_time_seconds_count",
    "iteration_tokens_total_sum",
    "iteration_tokens_total_count",
)
_TTFT = ("time_to_first_token_seconds",)
_TPOT = ("request_time_per_output_token_seconds",)
_TOKEN_GAPS = ("inter_token_latency_seconds", "time_per_output_token_seconds")

LABELS = frozenset({"engine", "model_name", "finished_reason", "reason", "sleep_state"})
_BLOCKS_MAX = 1e9
"""Of one KV cache: of 16 tokens and 2 kB each, two petabytes."""


def series_names(prefix: str) -> tuple[str, ...]:
    """Return the names of all series that vLLM's signals are read from, in every spelling."""
    return spellings(*(prefix + series for series in _SERIES))


def histogram_names(prefix: str) -> tuple[str, ...]:
    """Return the names of all histograms that vLLM's signals are read from, in every spelling."""
    return spellings(*(prefix + series for series in (*_TTFT, *_TPOT, *_TOKEN_GAPS)))


def read(rows: Rows, model_names: frozenset[str]) -> PodSample:
    """Read one vLLM pod, of one or several engines, serving one or several names."""
    sample = read_series(rows, model_names, prefix="vllm:")
    found = first_of(
        rows, *spellings("vllm:num_requests_running"), *spellings("vllm:num_requests_waiting")
    )
    return expect_demand(sample, engine="vLLM", found=found, model_names=model_names)


def read_series(rows: Rows, model_names: frozenset[str], *, prefix: str) -> PodSample:
    """Read the series whose names begin with this prefix; unknown where they are absent."""

    def of(*series: str) -> list[SeriesRow]:
        names = spellings(*(prefix + one for one in series))
        return rows_of_models(first_of(rows, *names), model_names)

    def buckets_of(series: Iterable[str]) -> HistogramSample | None:
        names = spellings(*(prefix + one for one in series))
        return histogram(rows, *names, model_names=model_names)

    _expect_awake(of("engine_sleep_state"))
    usage = of("kv_cache_usage_perc", "gpu_cache_usage_perc")
    weights = [1.0] * len(usage)
    if len(usage) > 1:
        weights = _blocks(usage, first_of(rows, *spellings(f"{prefix}cache_config_info")))
    finished = of("request_success_total")
    paced = any(rows.histograms(name) for name in spellings(*(prefix + one for one in _TPOT)))
    return PodSample(
        waiting_requests=total(of("num_requests_waiting", "num_requests_waiting_by_reason")),
        running_requests=total(of("num_requests_running")),
        kv_usage_ratio=mean_ratio(usage, weights),
        finished_requests_total=count_since_start(finished),
        aborted_requests_total=count_since_start(_aborted(finished)),
        prompt_tokens_total=count_since_start(of("prompt_tokens_total")),
        generation_tokens_total=count_since_start(of("generation_tokens_total")),
        preemptions_total=count_since_start(of("num_preemptions_total")),
        queue_time_s_total=count_since_start(of("request_queue_time_seconds_sum")),
        queued_requests_total=count_since_start(of("request_queue_time_seconds_count")),
        steps_total=count_since_start(of("iteration_tokens_total_count")),
        step_tokens_total=count_since_start(of("iteration_tokens_total_sum")),
        ttft=buckets_of(_TTFT),
        tpot=buckets_of(_TPOT),
        token_gaps=None if paced else buckets_of(_TOKEN_GAPS),
    )


def _expect_awake(states: Iterable[SeriesRow]) -> None:
    """Refuse the gauges of an engine that sleeps; releases before 0.11.1 do not say, nor sleep."""
    for row in states:
        if row.labels.get("sleep_state") == "awake" and row.value == 0:
            engine = row.labels.get("engine", "0")
            message = f"engine {shown(engine, limit=20)} sleeps; its gauges read 0 whatever waits in front of it"
            raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)


def _aborted(finished: Sequence[SeriesRow]) -> list[SeriesRow]:
    """Pick the requests that were cut; vLLM writes a row for each reason from the start."""
    return [row for row in finished if row.labels.get("finished_reason") == "abort"]


def _blocks(usage: Sequence[SeriesRow], configurations: Iterable[SeriesRow]) -> list[float]:
    """Return each engine's KV blocks; equal weights where not all of them are known."""
    blocks: dict[str, float] = {}
    for row in configurations:
        try:
            count = float(row.labels.get("num_gpu_blocks", ""))
        except ValueError:  # it is the string "None" before the cache is sized
            continue
        if 0 < count <= _BLOCKS_MAX:
            blocks[row.labels.get("engine", "")] = count
    engines = [row.labels.get("engine", "") for row in usage]
    if not all(engine in blocks for engine in engines):
        return [1.0] * len(engines)
    return [blocks[engine] for engine in engines]


def history_series(prefix: str) -> HistorySeries:
    """Return what is asked about the past of pods whose series have this prefix."""

    def of(*series: str) -> PastSeries:
        return PastSeries(names=spellings(*(prefix + one for one in series)))

    return HistorySeries(
        running=(of("num_requests_running"),),
        waiting=(of("num_requests_waiting", "num_requests_waiting_by_reason"),),
        finished=(of("request_success_total"),),
        kv_usage=of("kv_cache_usage_perc", "gpu_cache_usage_perc"),
        labels=("engine", "model_name", "finished_reason", "reason"),
    )


SOURCE = EngineSource(
    engine="VLLM",
    names=series_names("vllm:"),
    labels=LABELS,
    read=read,
    history=history_series("vllm:"),
    histograms=histogram_names("vllm:"),
)
