"""SGLang's signals, from 0.4.0 on; its server needs `--enable-metrics`.

Choices, with their reasons:

- With priority scheduling each gauge has a row per priority beside the row `priority=""`, which is
  their total: only that one counts.
- Ranks of tensor, pipeline and expert parallelism run one schedule and repeat its numbers where they
  are exported; data-parallel ranks each have their own. So: the maximum within one `dp_rank`, the sum
  (for usage: the mean) over them.
- With prefill and decode apart the queue is spread over several gauges, one request in one of them:
  their sum waits.
- *Finished* is `num_requests_total`, which counts at the end of a request. An abort of a running
  request may show there and in `num_aborted_requests_total` both, so that the two are not added.
- Latencies are counted once, by the process that speaks with the clients, so that their rows add up. Of
  the pace it has the gaps between tokens alone.
- `sglang:utilization` is stuck at 0 by its own source and is not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from autoscaler.kube.samples import PodSample
from autoscaler.sources.pages.history_series import HistorySeries, PastSeries
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
    sum_of_parts,
    total,
)

_QUEUE = "sglang:num_queue_reqs"
_RUNNING = "sglang:num_running_reqs"
_USAGE = "sglang:token_usage"
_SIDE_QUEUES = (
    "sglang:num_grammar_queue_reqs",
    "sglang:num_prefill_bootstrap_queue_reqs",
    "sglang:num_prefill_inflight_queue_reqs",
    "sglang:num_prefill_infight_queue_reqs",  # its spelling up to 0.5.1
    "sglang:num_decode_prealloc_queue_reqs",
    "sglang:num_decode_transfer_queue_reqs",
    "sglang:num_paused_reqs",
)
_FINISHED = (
    "sglang:num_requests_total",
    "sglang:e2e_request_latency_seconds_count",
)
_COUNTERS = (
    "sglang:prompt_tokens_total",
    "sglang:generation_tokens_total",
    "sglang:num_retracted_requests_total",
    "sglang:queue_time_seconds_sum",
    "sglang:queue_time_seconds_count",
)
_TTFT = "sglang:time_to_first_token_seconds"
_TOKEN_GAPS = (
    "sglang:inter_token_latency_seconds",
    "sglang:time_per_output_token_seconds",  # its name up to 0.4.5
)


def read(rows: Rows, model_names: frozenset[str]) -> PodSample:
    """Read one SGLang pod, of one or several data-parallel ranks."""

    def of(*names: str) -> list[SeriesRow]:
        found = first_of(rows, *spellings(*names))
        return _one_per_schedule(rows_of_models(found, model_names))

    usage = of(_USAGE)
    queues = [of(name) for name in _SIDE_QUEUES]
    sample = PodSample(
        waiting_requests=sum_of_parts(total(of(_QUEUE)), *(total(rows) for rows in queues if rows)),
        running_requests=total(of(_RUNNING)),
        kv_usage_ratio=mean_ratio(usage, [1.0] * len(usage)),
        finished_requests_total=count_since_start(of(*_FINISHED)),
        prompt_tokens_total=count_since_start(of("sglang:prompt_tokens_total")),
        generation_tokens_total=count_since_start(of("sglang:generation_tokens_total")),
        preemptions_total=count_since_start(of("sglang:num_retracted_requests_total")),
        queue_time_s_total=count_since_start(of("sglang:queue_time_seconds_sum")),
        queued_requests_total=count_since_start(of("sglang:queue_time_seconds_count")),
        ttft=histogram(rows, *spellings(_TTFT), model_names=model_names),
        token_gaps=histogram(rows, *spellings(*_TOKEN_GAPS), model_names=model_names),
    )
    found = first_of(rows, *spellings(_RUNNING, _QUEUE))
    return expect_demand(sample, engine="SGLang", found=found, model_names=model_names)


def _one_per_schedule(rows: Iterable[SeriesRow]) -> list[SeriesRow]:
    """Return one row for each data-parallel rank of each model and kind of engine: its maximum."""
    schedules: dict[tuple[str, ...], SeriesRow] = {}
    for row in rows:
        if row.labels.get("priority"):
            continue
        key = tuple(row.labels.get(label, "") for label in ("model_name", "engine_type", "dp_rank"))
        known = schedules.get(key)
        # A NaN of one rank makes its schedule unknown, and nothing is greater.
        if known is None or math.isnan(row.value) or row.value > known.value:
            schedules[key] = row
    return list(schedules.values())


def _past(*names: str) -> PastSeries:
    return PastSeries(names=spellings(*names), matchers=('priority=""',))


SOURCE = EngineSource(
    engine="SGLang",
    names=spellings(_QUEUE, _RUNNING, _USAGE, *_SIDE_QUEUES, *_FINISHED, *_COUNTERS),
    labels=frozenset(
        {"model_name", "engine_type", "priority", "dp_rank", "tp_rank", "pp_rank", "moe_ep_rank"}
    ),
    read=read,
    history=HistorySeries(
        running=(_past(_RUNNING),),
        waiting=(_past(_QUEUE), *map(_past, _SIDE_QUEUES)),
        finished=(_past(*_FINISHED),),
        kv_usage=_past(_USAGE),
        labels=("model_name", "engine_type", "dp_rank"),
        one_of_several="max",
    ),
    histograms=spellings(_TTFT, *_TOKEN_GAPS),
)
