"""What the daemon exports: one literal table, and the registry that follows it.

Gauges are not kept here: they are read from the last decisions when somebody scrapes, so a model or pool
that is gone leaves no series behind, and a tick pays nothing for them. A value that is unknown has no
series: zero would be a lie, and NaN would spoil every sum. Counters and histograms are kept, and
each of their series with closed labels is there, at zero, from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "inference_autoscaler_"

_MODEL = ("namespace", "model")
_POOL = ("namespace", "model", "pool", "capacity_type")
_TICK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_NOTICE_BUCKETS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 60.0, 90.0, 120.0, 300.0, 3600.0)
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


COUNTED_ELSEWHERE = frozenset(
    {
        "source_reads_total",
        "source_errors_total",
        "cluster_failures_total",
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
    _gauge("fallback_replicas", _POOL, "Of the desired: on-demand fallback for spot."),
    _gauge("warm_floor_replicas", _MODEL, "Ready replicas kept even without demand."),
    _gauge("demand_replicas", _MODEL, "Demand, in replicas' worth of work."),
    _gauge("waiting_requests", _MODEL, "Requests that wait, over all replicas."),
    _gauge("running_requests", _MODEL, "Requests that run, over all replicas."),
    _gauge("kv_usage_ratio", _MODEL, "KV cache in use, mean over the replicas."),
    _gauge("forecast_replicas", _MODEL, "Mean forecast of demand one cold start ahead."),
    _gauge("forecast_low_replicas", _MODEL, "5 % quantile of that forecast."),
    _gauge("forecast_high_replicas", _MODEL, "95 % quantile of that forecast."),
    _gauge("forecast_error_ratio", _MODEL, "Mean absolute error over mean demand."),
    _gauge("forecast_pinball_loss_replicas", _MODEL, "Pinball loss of the forecast."),
    _gauge("forecast_coverage_ratio", _MODEL, "Share of demand within the 90 % band."),
    _gauge("cold_start_seconds", _MODEL, "Learnt 90 % quantile, created to ready."),
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
    _histogram("tick_duration_seconds", (), "Observing, deciding, handing on.", _TICK_BUCKETS),
    _histogram("decision_duration_seconds", (), "Deciding alone.", _TICK_BUCKETS),
    _gauge("observation_age_seconds", ("source",), "Age of the oldest last value."),
    _counter("source_reads_total", ("source", "outcome"), "Reads by how they ended."),
    _counter("source_errors_total", ("source",), "Reads that failed."),
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
    _counter("engine_errors_total", (), "Bugs of ours that the engine held over."),
    _counter("recording_events_total", (), "Events recorded."),
    _counter("recording_lost_events_total", (), "Events handled and not recorded."),
    _counter("recording_bytes_total", (), "Bytes of the recording, compressed."),
    _gauge(
        "refused_namespaces", (), "Namespaces whose objects may not be read: their models hold."
    ),
    _gauge("spec_problems", (), "Problems of the configuration on disk; 0: it is in use."),
    _gauge("leader", (), "1: this process acts."),
    _gauge("build_info", ("version", "python"), "1, labelled with what runs."),
)
"""Every metric. The README's table and the names in `deploy/` are compared with it by a test."""

POOL_GAUGES = tuple(row.name for row in TABLE if row.kind == "gauge" and row.labels == _POOL)
"""Named as the fields of `PoolDecision`."""
MODEL_GAUGES = tuple(row.name for row in TABLE if row.kind == "gauge" and row.labels == _MODEL)
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


class Metrics(Collector):
    """The registry of one daemon, and the counters and histograms that are kept here."""

    def __init__(self, current_values: CurrentValues) -> None:
        """Make every metric of the table; what is not kept here comes from the function at each scrape."""
        self._current_values = current_values
        self._counts: dict[str, dict[tuple[str, ...], float]] = {
            row.name: {} if row.labels else {(): 0.0}
            for row in TABLE
            if row.kind == "counter" and row.name not in COUNTED_ELSEWHERE
        }
        disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped
        self._histograms = {
            row.name: Histogram(PREFIX + row.name, row.help, buckets=row.buckets, registry=None)
            for row in TABLE
            if row.kind == "histogram"
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
                yield from self._histograms[row.name].collect()
                continue
            of_kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
            family = of_kind(PREFIX + row.name, row.help, labels=row.labels)
            for labels, count in self._counts.get(row.name, {}).items():
                family.add_metric(labels, count)
            for value in values.get(row.name, ()):
                if value.value is not None:
                    family.add_metric(value.labels, value.value)
            yield family
