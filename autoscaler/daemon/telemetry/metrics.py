"""What the daemon exports: one literal table, and the registry that follows it.

Gauges are not kept here: they are read from the last decisions when somebody scrapes, so a model or pool
that is gone leaves no series behind, and a tick pays nothing for them. A value that is unknown has no
series: zero would be a lie, and NaN would spoil every sum. Counters and histograms are kept, and
each of their series with closed labels is there, at zero, from the start.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

PREFIX = "inference_autoscaler_"

_MODEL = ("namespace", "model")
_POOL = ("namespace", "model", "pool", "capacity_type")
_TICK_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_NOTICE_BUCKETS = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 60.0, 90.0, 120.0, 300.0, 3600.0)
_DRAIN_BUCKETS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 300.0)

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class ExportedMetric:
    """One metric."""

    name: str
    """Without the prefix; a counter ends in `_total`."""
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def is_counted_here(self) -> bool:
        """Whether it is a counter that `Metrics` keeps."""
        return self.kind == "counter" and self.name not in COUNTED_ELSEWHERE


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

TABLE: tuple[ExportedMetric, ...] = (
    ExportedMetric("desired_replicas", "gauge", _POOL, "Replicas decided, fallback included."),
    ExportedMetric(
        "current_replicas", "gauge", _POOL, "Replicas asked of the API (spec.replicas)."
    ),
    ExportedMetric(
        "ready_replicas", "gauge", _POOL, "Replicas ready, not deleting and not doomed."
    ),
    ExportedMetric("starting_replicas", "gauge", _POOL, "Replicas on their way and counted on."),
    ExportedMetric(
        "doomed_replicas", "gauge", _POOL, "Replicas on nodes that are being taken away."
    ),
    ExportedMetric(
        "fallback_replicas", "gauge", _POOL, "Of the desired: on-demand fallback for spot."
    ),
    ExportedMetric(
        "warm_floor_replicas", "gauge", _MODEL, "Ready replicas kept even without demand."
    ),
    ExportedMetric("demand_replicas", "gauge", _MODEL, "Demand, in replicas' worth of work."),
    ExportedMetric("waiting_requests", "gauge", _MODEL, "Requests that wait, over all replicas."),
    ExportedMetric("running_requests", "gauge", _MODEL, "Requests that run, over all replicas."),
    ExportedMetric("kv_usage_ratio", "gauge", _MODEL, "KV cache in use, mean over the replicas."),
    ExportedMetric(
        "forecast_replicas", "gauge", _MODEL, "Mean forecast of demand one cold start ahead."
    ),
    ExportedMetric("forecast_low_replicas", "gauge", _MODEL, "5 % quantile of that forecast."),
    ExportedMetric("forecast_high_replicas", "gauge", _MODEL, "95 % quantile of that forecast."),
    ExportedMetric(
        "forecast_error_ratio", "gauge", _MODEL, "Mean absolute error over mean demand."
    ),
    ExportedMetric(
        "forecast_pinball_loss_replicas", "gauge", _MODEL, "Pinball loss of the forecast."
    ),
    ExportedMetric(
        "forecast_coverage_ratio", "gauge", _MODEL, "Share of demand within the 90 % band."
    ),
    ExportedMetric(
        "cold_start_seconds", "gauge", _MODEL, "Learnt 90 % quantile, created to ready."
    ),
    ExportedMetric(
        "decisions_total",
        "counter",
        (*_MODEL, "direction", "reason"),
        "Decisions by what they do and the step that had the last word.",
    ),
    ExportedMetric(
        "guard_adjustments_total",
        "counter",
        (*_MODEL, "guard", "direction"),
        "Proposals that a guard changed.",
    ),
    ExportedMetric(
        "tick_duration_seconds", "histogram", (), "Observing, deciding, handing on.", _TICK_BUCKETS
    ),
    ExportedMetric("decision_duration_seconds", "histogram", (), "Deciding alone.", _TICK_BUCKETS),
    ExportedMetric(
        "observation_age_seconds", "gauge", ("source",), "Age of the oldest last value."
    ),
    ExportedMetric(
        "source_reads_total", "counter", ("source", "outcome"), "Reads by how they ended."
    ),
    ExportedMetric("source_errors_total", "counter", ("source",), "Reads that failed."),
    ExportedMetric(
        "cluster_age_seconds", "gauge", (), "Since the cluster was last known to be in step."
    ),
    ExportedMetric("cluster_failures_total", "counter", (), "Lists and watches that failed."),
    ExportedMetric(
        "commands_total", "counter", ("command", "reason"), "Commands by how they ended."
    ),
    ExportedMetric(
        "actuation_errors_total", "counter", ("reason",), "Writes that were sent and not accepted."
    ),
    ExportedMetric(
        "interruption_notices_total", "counter", ("source",), "Nodes noticed to be taken away."
    ),
    ExportedMetric(
        "notice_lead_time_seconds",
        "histogram",
        (),
        "From notice to deadline, as seen here.",
        _NOTICE_BUCKETS,
    ),
    ExportedMetric(
        "drain_duration_seconds",
        "histogram",
        (),
        "From the first eviction on a node until its last replica was gone.",
        _DRAIN_BUCKETS,
    ),
    ExportedMetric("drains_total", "counter", ("outcome",), "Drained nodes by how it ended."),
    ExportedMetric("engine_errors_total", "counter", (), "Bugs of ours that the engine held over."),
    ExportedMetric("recording_events_total", "counter", (), "Events recorded."),
    ExportedMetric(
        "recording_lost_events_total", "counter", (), "Events handled and not recorded."
    ),
    ExportedMetric("recording_bytes_total", "counter", (), "Bytes of the recording, compressed."),
    ExportedMetric(
        "refused_namespaces",
        "gauge",
        (),
        "Namespaces whose objects may not be read: their models hold.",
    ),
    ExportedMetric(
        "spec_problems", "gauge", (), "Problems of the configuration on disk; 0: it is in use."
    ),
    ExportedMetric("leader", "gauge", (), "1: this process acts."),
    ExportedMetric("build_info", "gauge", ("version", "python"), "1, labelled with what runs."),
)
"""Every metric. The README's table and the names in `deploy/` are compared with it by a test."""


@dataclass(frozen=True, slots=True)
class Value:
    """One series that is read at a scrape."""

    name: str
    labels: tuple[str, ...]
    value: float | None
    """None: unknown; it has no series then."""


CurrentValues: TypeAlias = Callable[[], Iterable[Value]]
"""Reads every gauge, and every counter that others keep, now."""


class Metrics:
    """The registry of one daemon, and the counters and histograms that are kept here."""

    def __init__(self, current_values: CurrentValues) -> None:
        """Make every metric of the table; what is not kept here comes from the function at each scrape."""
        self._counts: dict[str, dict[tuple[str, ...], float]] = {
            row.name: {} if row.labels else {(): 0.0} for row in TABLE if row.is_counted_here
        }
        self._histograms = {
            row.name: _Histogram(row.buckets) for row in TABLE if row.kind == "histogram"
        }
        self.registry = CollectorRegistry()
        self.registry.register(_Scrape(current_values, self._counts, self._histograms))

    def count(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Raise a counter; by 0 it is merely created."""
        counts = self._counts[name]
        counts[labels] = counts.get(labels, 0.0) + by

    def measure(self, name: str, value: float) -> None:
        """Add to a histogram."""
        self._histograms[name].add(value)

    def forget(self, name: str, *labels: str) -> None:
        """Drop the series whose first labels are these: those of a model that is gone."""
        counts = self._counts[name]
        for key in [key for key in counts if key[: len(labels)] == labels]:
            del counts[key]


class _Histogram:
    """Counts by bucket."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._bounds = (*buckets, math.inf)
        self._counts = [0] * len(self._bounds)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Counts of values up to each bound."""
        sums = itertools.accumulate(self._counts)
        return [
            ("+Inf" if math.isinf(bound) else repr(bound), float(count))
            for bound, count in zip(self._bounds, sums, strict=True)
        ]


class _Scrape(Collector):
    """Everything there is, as families, in the order of the table."""

    def __init__(
        self,
        current_values: CurrentValues,
        counts: dict[str, dict[tuple[str, ...], float]],
        histograms: dict[str, _Histogram],
    ) -> None:
        self._current_values = current_values
        self._counts = counts
        self._histograms = histograms

    def describe(self) -> Iterator[Metric]:
        """Name the families, so that registering reads no value."""
        yield from (_family(row) for row in TABLE)

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        values: dict[str, list[Value]] = {}
        for value in self._current_values():
            values.setdefault(value.name, []).append(value)
        for row in TABLE:
            family = _family(row)
            if isinstance(family, HistogramMetricFamily):
                histogram = self._histograms[row.name]
                family.add_metric((), histogram.cumulative(), histogram.total)
            elif row.is_counted_here:
                for labels, count in self._counts[row.name].items():
                    family.add_metric(labels, count)
            else:
                for value in values.get(row.name, ()):
                    if value.value is not None:
                        family.add_metric(value.labels, value.value)
            yield family


def _family(row: ExportedMetric) -> GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily:
    name = PREFIX + row.name
    if row.kind == "histogram":
        return HistogramMetricFamily(name, row.help, labels=row.labels)
    if row.kind == "counter":
        return CounterMetricFamily(name, row.help, labels=row.labels)
    return GaugeMetricFamily(name, row.help, labels=row.labels)
