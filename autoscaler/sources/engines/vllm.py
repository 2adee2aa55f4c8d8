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
- The spelling `vllm_` is that of pipelines that replace colons; `ray_vllm_` is Ray's (`ray_serve`
  builds on this module).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.sources.pages.exposition import Rows, SeriesRow
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.signals import (
    EngineSource,
    expect_demand,
    first_of,
    mean_ratio,
    rows_of_models,
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
)


def series_names(*prefixes: str) -> tuple[str, ...]:
    """Return the names of all series that vLLM's signals are read from, under these prefixes."""
    return tuple(prefix + series for prefix in prefixes for series in _SERIES)


def read(rows: Rows, model_names: frozenset[str]) -> PodSample:
    """Read one vLLM pod, of one or several engines, serving one or several names."""
    prefix = next(
        (prefix for prefix in ("vllm:", "vllm_") if rows.rows(f"{prefix}num_requests_running")),
        "vllm:",
    )
    sample = read_series(rows, model_names, prefix=prefix)
    found = first_of(rows, f"{prefix}num_requests_running", f"{prefix}num_requests_waiting")
    return expect_demand(sample, engine="vLLM", found=found, model_names=model_names)


def read_series(rows: Rows, model_names: frozenset[str], *, prefix: str) -> PodSample:
    """Read the series whose names begin with this prefix; unknown where they are absent."""

    def of(*series: str) -> list[SeriesRow]:
        return rows_of_models(first_of(rows, *(prefix + one for one in series)), model_names)

    _expect_awake(of("engine_sleep_state"))
    usage = of("kv_cache_usage_perc", "gpu_cache_usage_perc")
    weights = [1.0] * len(usage)
    if len(usage) > 1:
        # Only then: parsing this line of forty labels costs as much as all the others.
        weights = _blocks(usage, rows.rows(f"{prefix}cache_config_info"))
    return PodSample(
        waiting_requests=total(of("num_requests_waiting", "num_requests_waiting_by_reason")),
        running_requests=total(of("num_requests_running")),
        kv_usage_ratio=mean_ratio(usage, weights),
        finished_requests_total=total(of("request_success_total")),
        prompt_tokens_total=total(of("prompt_tokens_total")),
        generation_tokens_total=total(of("generation_tokens_total")),
        preemptions_total=total(of("num_preemptions_total")),
    )


def _expect_awake(states: Iterable[SeriesRow]) -> None:
    """Refuse the gauges of an engine that sleeps; releases before 0.11.1 do not say, nor sleep."""
    for row in states:
        if row.labels.get("sleep_state") == "awake" and row.value == 0:
            engine = row.labels.get("engine", "0")
            message = f"engine {engine} sleeps; its gauges read 0 whatever waits in front of it"
            raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)


def _blocks(usage: Sequence[SeriesRow], configurations: Iterable[SeriesRow]) -> list[float]:
    """Return each engine's KV blocks; equal weights where not all of them are known."""
    blocks: dict[str, float] = {}
    for row in configurations:
        try:
            count = float(row.labels.get("num_gpu_blocks", ""))
        except ValueError:  # it is the string "None" before the cache is sized
            continue
        if math.isfinite(count) and count > 0:
            blocks[row.labels.get("engine", "")] = count
    engines = [row.labels.get("engine", "") for row in usage]
    if not all(engine in blocks for engine in engines):
        return [1.0] * len(engines)
    return [blocks[engine] for engine in engines]


SOURCE = EngineSource(engine="VLLM", names=series_names("vllm:", "vllm_"), read=read)
