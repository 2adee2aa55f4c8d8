"""What the daemon exports: one literal table, and the registry that follows it.

Gauges are not kept here: they are read from the last decisions when somebody scrapes, so a model or pool
that is gone leaves no series behind, and a tick pays nothing for them. A value that is unknown has no
series: zero would be a lie, and NaN would spoil every sum. Counters and histograms are kept, and
each of their series with closed labels is there, at zero, from the start, but for those of a model: a hundred
zeros for each of five hundred models would be most of the page. Of these a series is there once it counts, and
the whole fleet's are there from the start beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from autoscaler.sources.pages.lateness import BOUNDS as LATENESS_BOUNDS
from autoscaler.sources.pages.lateness import Lateness

PREFIX = "inference_autoscaler_"

_MODEL = ("namespace", "model")
_POOL = ("namespace", "model", "pool", "capacity_type")
_LATENCY = (*_MODEL, "latency")
_WINDOW = (*_MODEL, "window")
_POLICY = (*_MODEL, "policy", "window")
_TICK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_NOTICE_BUCKETS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 60.0, 90.0, 120.0, 300.0, 3600.0)
_PIECE_SERIES = 250
"""Written in one go: a millisecond or two."""
_END = b"# EOF\n"
"""Of a page of OpenMetrics."""
_DRAIN_BUCKETS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class ExportedMetric:
    """One metric."""

    kind: Literal["gauge", "counter", "histogram"]
    name: str
    """Without the prefix; a counter ends in `_total`."""
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


SCORE_COUNTERS: Mapping[str, str] = {
    "scored_seconds_total": "scored_s",
    "unscored_seconds_total": "unscored_s",
    "late_capacity_seconds_total": "late_s",
    "late_capacity_replica_seconds_total": "late_replica_s",
    "scale_downs_total": "scale_downs",
    "regretted_scale_downs_total": "regretted_scale_downs",
    "regretted_replicas_total": "regretted_replicas",
    "regretted_gpu_seconds_total": "regretted_gpu_s",
    "idle_usd_total": "idle_usd",
}
"""Counters of a model's scores, and the field of `Scores` that each is."""

_LATENESS = "loop_lateness_seconds"
"""The one histogram that is kept elsewhere."""
COUNTED_ELSEWHERE = frozenset(
    {
        *SCORE_COUNTERS,
        "idle_gpu_seconds_total",
        "missed_requests_total",
        "source_reads_total",
        "source_errors_total",
        "history_reads_total",
        "knowledge_reads_total",
        "knowledge_writes_total",
        "status_writes_total",
        "event_writes_total",
        "cluster_failures_total",
        "unreadable_objects_total",
        "task_failures_total",
        "recording_events_total",
        "recording_lost_events_total",
        "recording_bytes_total",
    }
)
"""Counters that are read at a scrape, as gauges are."""

_gauge = partial(ExportedMetric, "gauge")
_counter = partial(ExportedMetric, "counter")
_histogram = partial(ExportedMetric, "histogram")

TABLE: tuple[ExportedMetric, ...] = (
    _gauge("desired_replicas", _POOL, "Replicas decided, fallback included."),
    _gauge("current_replicas", _POOL, "Replicas asked of the API (spec.replicas)."),
    _gauge("ready_replicas", _POOL, "Replicas ready, not deleting and not doomed."),
    _gauge("starting_replicas", _POOL, "Replicas on their way and counted on."),
    _gauge("doomed_replicas", _POOL, "Replicas on nodes that are being taken away."),
    _gauge("unhealthy_replicas", _POOL, "Replicas on GPUs that can carry none."),
    _gauge("fallback_replicas", _POOL, "Of the desired: on-demand fallback for spot."),
    _gauge("conflict", (*_MODEL, "reason"), "1 where somebody else scales it, and it is held."),
    _gauge("requests_at_risk", _MODEL, "Requests that doomed nodes will cut."),
    _gauge("warm_floor_replicas", _MODEL, "Ready replicas kept even without demand."),
    _gauge("warm_floor_usd_per_hour", _MODEL, "What these cost, by the price of their pool."),
    _gauge("demand_replicas", _MODEL, "Demand, in replicas' worth of work."),
    _gauge("carried_ratio", _MODEL, "Of the in-flight target: what replicas are held to carry."),
    _gauge("carried_sureness_ratio", _MODEL, "Probability of that, among its hypotheses."),
    _gauge("rule_replicas", _MODEL, "Mean that the rule which decides would have had, last day."),
    _gauge("rule_attained_ratio", _MODEL, "What that rule would have attained of what can be."),
    _gauge("runner_up_replicas", _MODEL, "The same mean of the next best rule."),
    _gauge("runner_up_attained_ratio", _MODEL, "What the next best would have attained."),
    _gauge("waiting_requests", _MODEL, "Requests that wait, over all replicas."),
    _gauge("running_requests", _MODEL, "Requests that run, over all replicas."),
    _gauge("kv_usage_ratio", _MODEL, "KV cache in use, mean over the replicas."),
    _gauge("forecast_replicas", _MODEL, "Mean forecast of demand one cold start ahead."),
    _gauge("forecast_low_replicas", _MODEL, "5 % quantile of that forecast."),
    _gauge("forecast_high_replicas", _MODEL, "95 % quantile of that forecast."),
    _gauge("forecast_error_ratio", _MODEL, "Mean absolute error over mean demand."),
    _gauge("forecast_pinball_loss_replicas", _MODEL, "Pinball loss of the forecast."),
    _gauge("forecast_coverage_ratio", _MODEL, "Share of demand within the 90 % band."),
    _gauge("forecast_bias_ratio", _MODEL, "Mean error over mean demand; above 0: too much."),
    _gauge("forecast_high_coverage_ratio", _MODEL, "Share of demand not above the 95 % quantile."),
    _gauge("cold_start_seconds", _MODEL, "Learnt 90 % quantile, created to ready."),
    _gauge("attained_ratio", _LATENCY, "Requests within the objective, last hour."),
    _gauge("attained_low_ratio", _LATENCY, "The same, at the least."),
    _gauge("attained_high_ratio", _LATENCY, "The same, at the most."),
    _gauge(
        "error_budget_left_ratio",
        _WINDOW,
        "Of the misses that the objective allows, what is left; below 0: more was missed.",
    ),
    _gauge(
        "error_budget_burn_ratio",
        _WINDOW,
        "Misses over those that the objective allows; 1: just attained.",
    ),
    _gauge(
        "hindsight_replica_seconds",
        _POLICY,
        "Replica-seconds paid, or that the policy would have paid on the same traffic.",
    ),
    _gauge("hindsight_usd", _POLICY, "Their price, where every pool has one."),
    _gauge(
        "hindsight_attained_ratio",
        _POLICY,
        "Requests within the objective, or those that the policy would have had there.",
    ),
    _gauge("hindsight_static_replicas", _WINDOW, "Size of the static fleet among them."),
    _gauge(
        "hindsight_foretold_ratio",
        _WINDOW,
        "What the play says that the fleet which really ran attained: its own error.",
    ),
    _gauge("hindsight_covered_seconds", _WINDOW, "Of the window, what all these speak of."),
    _counter(
        "decisions_total",
        (*_MODEL, "direction", "reason"),
        "Decisions by what they do and the step that had the last word.",
    ),
    _counter(
        "guard_adjustments_total",
        (*_MODEL, "guard", "direction"),
        "Proposals that a guard changed.",
    ),
    _counter("fleet_decisions_total", ("direction", "reason"), "Decisions, over all models."),
    _counter(
        "fleet_guard_adjustments_total",
        ("guard", "direction"),
        "Proposals that a guard changed, over all models.",
    ),
    _histogram("tick_duration_seconds", (), "Observing, deciding, handing on.", _TICK_BUCKETS),
    _histogram("decision_duration_seconds", (), "Deciding alone.", _TICK_BUCKETS),
    _gauge(
        "framebuffer_used_bytes", _MODEL, "GPU memory of its replicas, where all of it is known."
    ),
    _gauge("gpus_free", (), "Whole GPUs that no pod holds, on the nodes where that is known."),
    _gauge("gpus_unhealthy", (), "GPUs that can carry no replica, where health is known."),
    _gauge("gpus_unknown_nodes", (), "Nodes with GPUs of which it is not known how many are free."),
    _gauge("observation_age_seconds", ("source",), "Age of the oldest last value."),
    _histogram(
        "loop_lateness_seconds",
        (),
        "How late the event loop came to what was due, looked at ten times a second.",
        LATENESS_BOUNDS,
    ),
    _counter("source_reads_total", ("source", "outcome"), "Reads by how they ended."),
    _counter("source_errors_total", ("source",), "Reads that failed."),
    _counter("history_reads_total", ("outcome",), "Readings of a model's past by how they ended."),
    _counter(
        "knowledge_reads_total", ("outcome",), "Readings of what is kept of a model, likewise."
    ),
    _counter("knowledge_writes_total", ("outcome",), "Writes of what is kept, by how they ended."),
    _counter(
        "status_writes_total", ("outcome",), "Writes of a resource's status by how they ended."
    ),
    _counter(
        "event_writes_total", ("outcome",), "Writes of Events about resources by how they ended."
    ),
    _gauge("cluster_age_seconds", (), "Since the cluster was last known to be in step."),
    _counter("cluster_failures_total", (), "Lists and watches that failed."),
    _counter("commands_total", ("command", "reason"), "Commands by how they ended."),
    _counter("actuation_errors_total", ("reason",), "Writes that were sent and not accepted."),
    _counter("interruption_notices_total", ("source",), "Nodes noticed to be taken away."),
    _histogram(
        "notice_lead_time_seconds", (), "From notice to deadline, as seen here.", _NOTICE_BUCKETS
    ),
    _histogram(
        "drain_duration_seconds",
        (),
        "From the first eviction on a node until its last replica was gone.",
        _DRAIN_BUCKETS,
    ),
    _counter("drains_total", ("outcome",), "Drained nodes by how it ended."),
    _counter(
        "departed_replicas_total",
        (*_MODEL, "cause", "drained"),
        "Replicas that went, by why and by what their last page said.",
    ),
    _counter(
        "departed_in_flight_requests_total",
        (*_MODEL, "cause"),
        "Requests in flight on replicas as they began to go.",
    ),
    _counter(
        "departed_requests_total",
        (*_MODEL, "cause", "outcome"),
        "Requests on replicas that went, by what became of them.",
    ),
    _counter("scored_seconds_total", _MODEL, "Time over which decisions were scored."),
    _counter("unscored_seconds_total", _MODEL, "Time of which too little was known to score them."),
    _counter(
        "late_capacity_seconds_total",
        _MODEL,
        "Time with demand above the ready replicas while others that were asked for were not ready.",
    ),
    _counter(
        "late_capacity_replica_seconds_total",
        _MODEL,
        "What those would have carried, had they been asked for in time.",
    ),
    _counter("scale_downs_total", _MODEL, "Times that fewer replicas were asked of the API."),
    _counter(
        "regretted_scale_downs_total",
        _MODEL,
        "Of these, taken back within one cold start, whole or in part.",
    ),
    _counter(
        "regretted_replicas_total",
        _MODEL,
        "Replicas given up and asked for again within one cold start.",
    ),
    _counter(
        "regretted_gpu_seconds_total",
        _MODEL,
        "What their starts cost beyond what giving them up had saved.",
    ),
    _counter(
        "idle_gpu_seconds_total",
        (*_MODEL, "reason"),
        "GPU time of ready replicas beyond the demand, by who kept them.",
    ),
    _counter("idle_usd_total", _MODEL, "Its price, where every pool has one."),
    _counter(
        "missed_requests_total",
        (*_MODEL, "cause"),
        "Requests not served as promised, as far as it is seen, by why.",
    ),
    _counter("engine_errors_total", (), "Bugs of ours that the engine held over."),
    _counter("recording_events_total", (), "Events recorded."),
    _counter("recording_lost_events_total", (), "Events handled and not recorded."),
    _counter("recording_bytes_total", (), "Bytes of the recording, compressed."),
    _gauge(
        "notices_readable",
        ("resource",),
        "1: what notices are read from beside Nodes can be read.",
    ),
    _gauge("notice_gaps", (), "Reasons for which spot nodes could be taken with no notice."),
    _gauge(
        "refused_namespaces", (), "Namespaces whose objects may not be read: their models hold."
    ),
    _gauge("doubted_models", (), "Models whose sources contradict each other: they hold."),
    _gauge("unreadable_objects", (), "Objects of the cluster that are there and cannot be read."),
    _counter("unreadable_objects_total", (), "Times that an object could not be read."),
    _counter("task_failures_total", ("task",), "Tasks of ours that broke and were begun anew."),
    _gauge("spec_problems", (), "Problems of the configuration on disk; 0: it is in use."),
    _gauge("leader", (), "1: this process acts; 0: it stands by, or it is a dry run."),
    _counter("leader_transitions_total", ("outcome",), "Times that it began to act, or ceased."),
    _counter("lease_failures_total", (), "Reads and writes of the lease that failed."),
    _gauge("build_info", ("version", "python"), "1, labelled with what runs."),
)
"""Every metric. The README's table and the names in `deploy/` are compared with it by a test."""

POOL_GAUGES = tuple(row.name for row in TABLE if row.kind == "gauge" and row.labels == _POOL)
"""Named as the fields of `PoolDecision`."""
FRAMEBUFFER = "framebuffer_used_bytes"
"""The one gauge of a model that is no field of `Measures`: what is read decides when a start is given up."""
MODEL_GAUGES = tuple(
    row.name
    for row in TABLE
    if row.kind == "gauge" and row.labels == _MODEL and row.name != FRAMEBUFFER
)
"""Named as the fields of `Measures`, but for the cold start's unit."""


@dataclass(frozen=True, slots=True)
class Value:
    """One series that is read at a scrape."""

    name: str
    labels: tuple[str, ...]
    value: float | None
    """None: unknown; it has no series then."""


CurrentValues: TypeAlias = Callable[[], Iterable[Value]]
"""Reads every gauge, and every counter that others keep, now."""
Encode: TypeAlias = Callable[[Any], bytes]
"""prometheus_client's writer of a format."""


class _Families:
    """What is written in one go, as prometheus_client takes it."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


class Metrics(Collector):
    """The registry of one daemon, and the counters and histograms that are kept here."""

    def __init__(self, current_values: CurrentValues, *, lateness: Lateness | None = None) -> None:
        """Make every metric of the table; what is not kept here comes from the function at each scrape.

        Args:
            current_values: Reads what others keep.
            lateness: Of the event loop; None: it is not looked at.
        """
        self._current_values = current_values
        self._lateness = lateness or Lateness()
        self._counts: dict[str, dict[tuple[str, ...], float]] = {
            row.name: {} if row.labels else {(): 0.0}
            for row in TABLE
            if row.kind == "counter" and row.name not in COUNTED_ELSEWHERE
        }
        disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped
        self._histograms = {
            row.name: Histogram(PREFIX + row.name, row.help, buckets=row.buckets, registry=None)
            for row in TABLE
            if row.kind == "histogram" and row.name != _LATENESS
        }
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Raise a counter; by 0 it is merely created."""
        counts = self._counts[name]
        counts[labels] = counts.get(labels, 0.0) + by

    def measure(self, name: str, value: float) -> None:
        """Add to a histogram."""
        self._histograms[name].observe(value)

    def forget(self, name: str, *labels: str) -> None:
        """Drop the series whose first labels are these: those of a model that is gone."""
        counts = self._counts[name]
        for key in [key for key in counts if key[: len(labels)] == labels]:
            del counts[key]

    def describe(self) -> Iterator[Metric]:
        """Name the families, so that registering reads no value."""
        yield from (Metric(PREFIX + row.name, row.help, row.kind) for row in TABLE)

    def collect(self) -> Iterator[Metric]:
        """Read everything now, in the order of the table."""
        values: dict[str, list[Value]] = {}
        for value in self._current_values():
            values.setdefault(value.name, []).append(value)
        for row in TABLE:
            if row.kind == "histogram":
                yield from self._histogram(row)
                continue
            family = _family(row)
            for labels, number in self._series(row, values):
                family.add_metric(labels, number)
            yield family

    def page(self, encode: Encode) -> Generator[None, None, bytes]:
        """Write everything as it is now, as `encode` would at once; yields between pieces."""
        values: dict[str, list[Value]] = {}
        for number, value in enumerate(self._current_values()):
            values.setdefault(value.name, []).append(value)
            if number % _PIECE_SERIES == 0:
                yield
        pieces: list[bytes] = []
        for row in TABLE:
            if row.kind == "histogram":
                pieces.append(_written(self._histogram(row), encode))
                continue
            # A list: counters go on meanwhile.
            series = iter(list(self._series(row, values)))
            first = True
            while (chunk := list(islice(series, _PIECE_SERIES))) or first:
                family = _family(row)
                for labels, value_now in chunk:
                    family.add_metric(labels, value_now)
                piece = _written([family], encode)
                pieces.append(piece if first else _without_head(piece))
                first = False
                yield
        pieces.append(encode(_Families([])))  # how the format ends
        yield
        return b"".join(pieces)

    def _series(
        self, row: ExportedMetric, values: Mapping[str, list[Value]]
    ) -> Iterator[tuple[tuple[str, ...], float]]:
        """The labels and the value of each series of a gauge or a counter."""
        yield from self._counts.get(row.name, {}).items()
        for value in values.get(row.name, ()):
            if value.value is not None:
                yield value.labels, value.value

    def _histogram(self, row: ExportedMetric) -> Iterable[Metric]:
        if row.name != _LATENESS:
            return self._histograms[row.name].collect()
        family = HistogramMetricFamily(PREFIX + row.name, row.help)
        counts, so_far, buckets = self._lateness.counts, 0, []
        for bound, count in zip((*row.buckets, math.inf), counts, strict=True):
            so_far += count
            buckets.append((str(bound) if bound < math.inf else "+Inf", so_far))
        family.add_metric((), buckets, self._lateness.sum_s)
        return [family]


def _family(row: ExportedMetric) -> CounterMetricFamily | GaugeMetricFamily:
    of_kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    return of_kind(PREFIX + row.name, row.help, labels=row.labels)


def _written(families: Iterable[Metric], encode: Encode) -> bytes:
    return encode(_Families(families)).removesuffix(_END)


def _without_head(piece: bytes) -> bytes:
    """Without the lines of comments before the first series."""
    while piece.startswith(b"#"):
        piece = piece.partition(b"\n")[2]
    return piece
