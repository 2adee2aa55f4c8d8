"""Text Generation Inference's signals; the names hold from v0.9 to v3.3.

Choices, with their reasons:

- Its exporter shows a series only once it was touched: a fresh server has no `tgi_queue_size`. On a
  page that is evidently TGI's an absent gauge is therefore 0, the one place where silence is zero.
- There is no KV gauge: usage is the tokens reserved by the batch over the token budget (v3 on).
- *Finished* leaves out what was refused at the door (overloaded, validation, template): that was
  never in flight, and would make the service time of the others look shorter.
- It says nothing of the time to first token. Its time per token is a request's mean, prefill included.
- Counters carry no `_total`, unless a pipeline put it there, and no series has a model's name: `spec.modelNames` restricts nothing.
"""

from __future__ import annotations

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.sources.pages.history_series import HistorySeries, PastSeries
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import Rows, SeriesRow
from autoscaler.sources.pages.signals import (
    EngineSource,
    count_since_start,
    first_of,
    histogram,
    total,
)

_GAUGES = ("tgi_queue_size", "tgi_batch_current_size")
_BUDGET = ("tgi_batch_current_max_tokens", "tgi_batch_max_total_tokens")
_COUNTERS = (
    "tgi_request_count",
    "tgi_request_success",
    "tgi_request_failure",
    "tgi_request_input_length_sum",
    "tgi_request_generated_tokens_sum",
    "tgi_request_queue_duration_sum",
    "tgi_request_queue_duration_count",
)
_TPOT = "tgi_request_mean_time_per_token_duration"
_NAMES = (*_GAUGES, *_BUDGET, *_COUNTERS)
_TOKENS_MAX = 1e12
"""That a batch may hold."""
_REFUSED_AT_THE_DOOR = frozenset({"overloaded", "validation", "template"})


def read(rows: Rows, _model_names: frozenset[str]) -> PodSample:
    """Read one TGI pod."""
    found = {name: first_of(rows, name, f"{name}_total") for name in _NAMES}
    if not any(found.values()):
        message = "the page has no series of TGI"
        raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)
    failed = [
        row
        for row in found["tgi_request_failure"]
        if row.labels.get("err") not in _REFUSED_AT_THE_DOOR
    ]
    return PodSample(
        waiting_requests=_untouched_is_zero(found["tgi_queue_size"]),
        running_requests=_untouched_is_zero(found["tgi_batch_current_size"]),
        kv_usage_ratio=_reserved_ratio(*(found[name] for name in _BUDGET)),
        finished_requests_total=count_since_start(found["tgi_request_success"] + failed),
        prompt_tokens_total=count_since_start(found["tgi_request_input_length_sum"]),
        generation_tokens_total=count_since_start(found["tgi_request_generated_tokens_sum"]),
        queue_time_s_total=count_since_start(found["tgi_request_queue_duration_sum"]),
        queued_requests_total=count_since_start(found["tgi_request_queue_duration_count"]),
        tpot=histogram(rows, _TPOT),
    )


def _untouched_is_zero(rows: list[SeriesRow]) -> float | None:
    """Read a gauge that is absent until it was first set."""
    return total(rows) if rows else 0.0


def _reserved_ratio(reserved: list[SeriesRow], budget: list[SeriesRow]) -> float | None:
    """Return the share of the token budget that the batch has reserved; an untouched batch has none."""
    of = total(reserved, at_most=_TOKENS_MAX) if reserved else 0.0
    out_of = total(budget, at_most=_TOKENS_MAX)
    if of is None or not out_of or of > out_of:
        return None
    return of / out_of


def _past(name: str, *matchers: str) -> PastSeries:
    names = (name, f"{name}_total") if name in _COUNTERS else (name,)
    return PastSeries(names=names, matchers=matchers, by_model=False)


SOURCE = EngineSource(
    engine="TGI",
    names=(*_NAMES, *(f"{name}_total" for name in _COUNTERS)),
    labels=frozenset({"err", "method"}),
    read=read,
    history=HistorySeries(
        running=(_past("tgi_batch_current_size"),),
        waiting=(_past("tgi_queue_size"),),
        finished=(
            _past("tgi_request_success"),
            _past("tgi_request_failure", f'err!~"{"|".join(sorted(_REFUSED_AT_THE_DOOR))}"'),
        ),
        labels=("err", "method"),
    ),
    histograms=(_TPOT,),
)
