"""The levels behind the gauges: of a decision, and of the sources."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.daemon.telemetry.metrics import Value
from autoscaler.sources.collector.collector import SOURCE_LABELS, Collector
from autoscaler.sources.pages.outcome import ERRORS


def model_values(model: ModelSpec, decision: Decision) -> Iterator[Value]:
    """What a decision says of its pools and of what it rests on."""
    names = (model.namespace, model.name)
    types = {pool.name: str(pool.capacity_type) for pool in model.pools}
    for pool in decision.pools:
        labels = (*names, pool.pool, types.get(pool.pool, ""))
        yield Value("desired_replicas", labels, pool.desired_replicas)
        yield Value("current_replicas", labels, pool.current_replicas)
        yield Value("ready_replicas", labels, pool.ready_replicas)
        yield Value("starting_replicas", labels, pool.starting_replicas)
        yield Value("doomed_replicas", labels, pool.doomed_replicas)
        yield Value("fallback_replicas", labels, pool.fallback_replicas)
    measures = decision.measures
    yield Value("warm_floor_replicas", names, measures.warm_floor_replicas)
    yield Value("demand_replicas", names, measures.demand_replicas)
    yield Value("waiting_requests", names, measures.waiting_requests)
    yield Value("running_requests", names, measures.running_requests)
    yield Value("kv_usage_ratio", names, measures.kv_usage_ratio)
    yield Value("forecast_replicas", names, measures.forecast_replicas)
    yield Value("forecast_low_replicas", names, measures.forecast_low_replicas)
    yield Value("forecast_high_replicas", names, measures.forecast_high_replicas)
    yield Value("forecast_error_ratio", names, measures.forecast_error_ratio)
    yield Value("forecast_pinball_loss_replicas", names, measures.forecast_pinball_loss_replicas)
    yield Value("forecast_coverage_ratio", names, measures.forecast_coverage_ratio)
    yield Value("cold_start_seconds", names, measures.cold_start_s)


def source_values(collector: Collector, *, at: float) -> Iterator[Value]:
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
