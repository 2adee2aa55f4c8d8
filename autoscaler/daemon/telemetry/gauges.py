"""The values behind the gauges, and behind the counters that others keep, read at a scrape."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from autoscaler import __version__
from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.telemetry.metrics import MODEL_GAUGES, POOL_GAUGES, Value
from autoscaler.daemon.telemetry.status import Status
from autoscaler.sources.collector.collector import SOURCE_LABELS, Collector
from autoscaler.sources.pages.outcome import ERRORS


def current_values(
    status: Status, observer: FleetObserver, *, recorder: Recorder | None, at: float
) -> Iterator[Value]:
    """Everything that is shown as it is now.

    Args:
        status: Has the fleet and its last decisions.
        observer: Knows how cluster and sources fare.
        recorder: None: nothing is recorded.
        at: Now, in seconds.
    """
    for model in status.fleet.models if status.fleet is not None else ():
        decision = status.decisions.get(model.key)
        if decision is not None:
            yield from _model_values(model, decision)
    yield from _source_values(observer.collector, at=at)
    yield Value("cluster_age_seconds", (), observer.age_s())
    yield Value("cluster_failures_total", (), observer.cluster.failures_total)
    yield Value("recording_events_total", (), recorder.recorded_events if recorder else 0)
    yield Value("recording_lost_events_total", (), recorder.lost_events if recorder else 0)
    yield Value("recording_bytes_total", (), recorder.written_bytes if recorder else 0)
    yield Value("refused_namespaces", (), len(observer.cluster.refusals()))
    yield Value("spec_problems", (), len(status.spec_problems))
    yield Value("leader", (), 1)
    yield Value("build_info", (__version__, platform.python_version()), 1)


def _model_values(model: ModelSpec, decision: Decision) -> Iterator[Value]:
    """What a decision says of its pools and of what it rests on."""
    names = (model.namespace, model.name)
    types = {pool.name: str(pool.capacity_type) for pool in model.pools}
    for pool in decision.pools:
        labels = (*names, pool.pool, types.get(pool.pool, ""))
        for name in POOL_GAUGES:
            yield Value(name, labels, getattr(pool, name))
    measures = decision.measures
    figures = {**measures._asdict(), "cold_start_seconds": measures.cold_start_s}
    for name in MODEL_GAUGES:
        yield Value(name, names, figures[name])


def _source_values(collector: Collector, *, at: float) -> Iterator[Value]:
    """Reads, errors and ages, by source."""
    errors = dict.fromkeys(SOURCE_LABELS, 0)
    for (source, outcome), reads in collector.outcomes.items():
        yield Value("source_reads_total", (source, str(outcome)), reads)
        if outcome in ERRORS:
            errors[source] += reads
    for source, count in errors.items():
        yield Value("source_errors_total", (source,), count)
    for source, age_s in collector.ages(at=at).items():
        yield Value("observation_age_seconds", (source,), age_s)
