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

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoscaler.errors import SourceError
from autoscaler.foreign_text import shown
from autoscaler.kube.samples import PodSample
from autoscaler.sources.pages.history_series import HistorySeries, PastSeries
from autoscaler.sources.pages.limits import COUNTER_MAX
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import NumberedRows, PlacedRow, PlacedRows, PlacedValues, Rows
from autoscaler.sources.pages.signals import (
    EngineSource,
    expect_demand,
    first_of,
    histogram_at,
    histogram_places,
    mean_of_ratios,
    rows_of_models,
    spellings,
    total_at,
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
    numbered = NumberedRows(rows)
    return find(numbered, model_names).read(numbered)


def find(places: PlacedRows, model_names: frozenset[str]) -> VllmPlaces:
    """Find the signals of one vLLM pod."""
    return VllmPlaces(
        series=find_series(places, model_names, prefix="vllm:"),
        gauges=tuple(
            first_of(
                places,
                *spellings("vllm:num_requests_running"),
                *spellings("vllm:num_requests_waiting"),
            )
        ),
        model_names=model_names,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmPlaces:
    """Where the signals of one vLLM pod stand on its page."""

    series: SeriesPlaces
    gauges: tuple[PlacedRow, ...]
    """Of all models, waiting or running."""
    model_names: frozenset[str]

    def read(self, values: PlacedValues, *, sampled_at: float = math.nan) -> PodSample:
        """Read them from what stands there. Raises SourceError."""
        sample = self.series.read(values, sampled_at=sampled_at)
        return expect_demand(sample, engine="vLLM", found=self.gauges, model_names=self.model_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPlaces:
    """Where the series of vLLM stand, each field for the one of a sample that is read there."""

    sleep_states: tuple[PlacedRow, ...]
    waiting_requests: tuple[int, ...]
    running_requests: tuple[int, ...]
    kv_usage_ratio: tuple[int, ...]
    kv_weights: tuple[float, ...]
    """Of each engine in the usage of all."""
    finished_requests_total: tuple[int, ...]
    aborted_requests_total: tuple[int, ...]
    prompt_tokens_total: tuple[int, ...]
    generation_tokens_total: tuple[int, ...]
    preemptions_total: tuple[int, ...]
    queue_time_s_total: tuple[int, ...]
    queued_requests_total: tuple[int, ...]
    steps_total: tuple[int, ...]
    step_tokens_total: tuple[int, ...]
    ttft: tuple[int, ...]
    tpot: tuple[int, ...]
    token_gaps: tuple[int, ...]

    def read(self, values: PlacedValues, *, sampled_at: float = math.nan) -> PodSample:
        """Read a sample from what stands there; unknown where there is no place. Raises SourceError."""
        numbers = values.numbers
        _expect_awake(self.sleep_states, numbers)
        usage = [numbers[place] for place in self.kv_usage_ratio]
        return PodSample(
            sampled_at=sampled_at,
            waiting_requests=total_at(numbers, self.waiting_requests),
            running_requests=total_at(numbers, self.running_requests),
            kv_usage_ratio=mean_of_ratios(usage, self.kv_weights),
            finished_requests_total=total_at(numbers, self.finished_requests_total, COUNTER_MAX),
            aborted_requests_total=total_at(numbers, self.aborted_requests_total, COUNTER_MAX),
            prompt_tokens_total=total_at(numbers, self.prompt_tokens_total, COUNTER_MAX),
            generation_tokens_total=total_at(numbers, self.generation_tokens_total, COUNTER_MAX),
            preemptions_total=total_at(numbers, self.preemptions_total, COUNTER_MAX),
            queue_time_s_total=total_at(numbers, self.queue_time_s_total, COUNTER_MAX),
            queued_requests_total=total_at(numbers, self.queued_requests_total, COUNTER_MAX),
            steps_total=total_at(numbers, self.steps_total, COUNTER_MAX),
            step_tokens_total=total_at(numbers, self.step_tokens_total, COUNTER_MAX),
            ttft=histogram_at(values, self.ttft),
            tpot=histogram_at(values, self.tpot),
            token_gaps=histogram_at(values, self.token_gaps),
        )


def read_series(rows: Rows, model_names: frozenset[str], *, prefix: str) -> PodSample:
    """Read the series whose names begin with this prefix; unknown where they are absent."""
    numbered = NumberedRows(rows)
    return find_series(numbered, model_names, prefix=prefix).read(numbered)


def find_series(places: PlacedRows, model_names: frozenset[str], *, prefix: str) -> SeriesPlaces:
    """Find the series whose names begin with this prefix."""

    def names_of(series: Iterable[str]) -> tuple[str, ...]:
        return spellings(*(prefix + one for one in series))

    def of(*series: str) -> list[PlacedRow]:
        return rows_of_models(first_of(places, *names_of(series)), model_names)

    def at(*series: str) -> tuple[int, ...]:
        return _places(of(*series))

    def buckets_at(series: Iterable[str]) -> tuple[int, ...]:
        return histogram_places(places, *names_of(series), model_names=model_names)

    sleep_states = [row for row in of("engine_sleep_state") if _says_awake(row)]
    usage = of("kv_cache_usage_perc", "gpu_cache_usage_perc")
    weights = [1.0] * len(usage)
    if len(usage) > 1:
        weights = _blocks(usage, first_of(places, *names_of(["cache_config_info"])))
    finished = of("request_success_total")
    paced = any(map(places.histograms, names_of(_TPOT)))
    return SeriesPlaces(
        sleep_states=tuple(sleep_states),
        waiting_requests=at("num_requests_waiting", "num_requests_waiting_by_reason"),
        running_requests=at("num_requests_running"),
        kv_usage_ratio=_places(usage),
        kv_weights=tuple(weights),
        finished_requests_total=_places(finished),
        aborted_requests_total=_places(_aborted(finished)),
        prompt_tokens_total=at("prompt_tokens_total"),
        generation_tokens_total=at("generation_tokens_total"),
        preemptions_total=at("num_preemptions_total"),
        queue_time_s_total=at("request_queue_time_seconds_sum"),
        queued_requests_total=at("request_queue_time_seconds_count"),
        steps_total=at("iteration_tokens_total_count"),
        step_tokens_total=at("iteration_tokens_total_sum"),
        ttft=buckets_at(_TTFT),
        tpot=buckets_at(_TPOT),
        token_gaps=() if paced else buckets_at(_TOKEN_GAPS),
    )


def _places(rows: Iterable[PlacedRow]) -> tuple[int, ...]:
    return tuple(row.place for row in rows)


def _says_awake(row: PlacedRow) -> bool:
    """Tell whether a row says that an engine is awake, or is not; the others say how deep it sleeps."""
    return row.labels.get("sleep_state") == "awake"


def _expect_awake(states: Iterable[PlacedRow], numbers: Sequence[float]) -> None:
    """Refuse the gauges of an engine that sleeps; releases before 0.11.1 do not say, nor sleep."""
    for row in states:
        if numbers[row.place] == 0:
            engine = row.labels.get("engine", "0")
            message = f"engine {shown(engine, limit=20)} sleeps; its gauges read 0 whatever waits in front of it"
            raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)


def _aborted(finished: Sequence[PlacedRow]) -> list[PlacedRow]:
    """Pick the requests that were cut; vLLM writes a row for each reason from the start."""
    return [row for row in finished if row.labels.get("finished_reason") == "abort"]


def _blocks(usage: Sequence[PlacedRow], configurations: Iterable[PlacedRow]) -> list[float]:
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
    find=find,
)
