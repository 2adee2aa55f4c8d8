"""The values behind the gauges, and behind the counters that others keep, read at a scrape."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping, Sequence

from autoscaler import __version__
from autoscaler.core.contract.decision import Attainment, Decision
from autoscaler.core.contract.hindsight import WindowHindsight
from autoscaler.core.contract.reasons import ConditionType
from autoscaler.core.contract.scores import Scores
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.daemon.knowledge_keeper import KnowledgeReadOutcome, KnowledgeWriteOutcome
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.resource_events import EventOutcome
from autoscaler.daemon.status_writer import StatusOutcome
from autoscaler.daemon.telemetry.metrics import (
    FRAMEBUFFER,
    MODEL_GAUGES,
    POOL_GAUGES,
    SCORE_COUNTERS,
    Value,
)
from autoscaler.daemon.telemetry.status import Status
from autoscaler.daemon.telemetry.words import (
    CONFLICTS,
    IDLE_REASONS,
    LEASE_OUTCOMES,
    MISS_CAUSES,
    TASKS,
)
from autoscaler.kube.observe import GPU_AGE_S_MAX
from autoscaler.kube.samples import FramebufferSample, PodKey
from autoscaler.kube.watch.optional import Readability
from autoscaler.sources.collector.collector import SOURCE_LABELS, Collector
from autoscaler.sources.history.reader import HistoryOutcome
from autoscaler.sources.pages.outcome import ERRORS

WINDOWS = ("1h", "1d", "30d")
"""Words for the spans of a decision's error budgets."""
HINDSIGHT_WINDOWS = {3_600: "1h", 86_400: "1d", 7 * 86_400: "1w"}
"""Words for the spans of hindsight."""


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
    fleet, decisions = status.fleet, status.decisions
    framebuffers = observer.collector.last_values.framebuffers()
    for model in fleet.models if fleet is not None else ():
        decision = decisions.get(model.key)
        if decision is not None:
            yield from _model_values(model, decision)
        yield from _hindsight_values(model, status.hindsights.get(model.key, ()))
        targets = [target.key for target in observer.collector.last_values.targets(model.key)]
        used_bytes = _framebuffer(targets, framebuffers)
        yield Value(FRAMEBUFFER, (model.namespace, model.name), used_bytes)
    yield from _gpu_values(observer.collector, at=at)
    yield from _source_values(observer.collector, at=at)
    yield Value("cluster_age_seconds", (), observer.age_s())
    yield Value("cluster_failures_total", (), observer.cluster.failures_total)
    yield Value("recording_events_total", (), recorder.recorded_events if recorder else 0)
    yield Value("recording_lost_events_total", (), recorder.lost_events if recorder else 0)
    yield Value("recording_bytes_total", (), recorder.written_bytes if recorder else 0)
    for resource, readability in observer.cluster.readable_notices().items():
        unknown = readability is Readability.UNKNOWN
        readable = readability is Readability.READABLE
        yield Value("notices_readable", (resource,), None if unknown else readable)
    gaps = observer.notice_gaps()
    yield Value("notice_gaps", (), None if gaps is None else len(gaps))
    yield Value("refused_namespaces", (), len(observer.cluster.refusals()))
    cluster = observer.cluster
    yield Value("doubted_models", (), len(cluster.doubts))
    yield Value("unreadable_objects", (), cluster.unreadable_objects)
    yield Value("unreadable_objects_total", (), cluster.unreadable_total)
    for outcome in HistoryOutcome:
        yield Value("history_reads_total", (str(outcome),), status.history_watch.outcomes[outcome])
    for read in KnowledgeReadOutcome:
        yield Value("knowledge_reads_total", (str(read),), status.knowledge_reads.get(read, 0))
    for wrote in KnowledgeWriteOutcome:
        yield Value("knowledge_writes_total", (str(wrote),), status.knowledge_writes.get(wrote, 0))
    for ending in StatusOutcome:
        yield Value("status_writes_total", (str(ending),), status.status_writes.get(ending, 0))
    for told in EventOutcome:
        yield Value("event_writes_total", (str(told),), status.event_writes.get(told, 0))
    for task in TASKS:
        yield Value("task_failures_total", (task,), status.supervisor.failures[task])
    yield Value("spec_problems", (), len(status.spec_problems))
    yield from _lease_values(status)
    yield Value("build_info", (__version__, platform.python_version()), 1)


def _lease_values(status: Status) -> Iterator[Value]:
    """Whether this process acts, and how the lease fares."""
    election = status.election
    yield Value("leader", (), int(status.acts))
    changes = (election.gained_total, election.lost_total) if election else (0, 0)
    for outcome, times in zip(LEASE_OUTCOMES, changes, strict=True):
        yield Value("leader_transitions_total", (outcome,), times)
    yield Value("lease_failures_total", (), election.failures_total if election else 0)


def _model_values(model: ModelSpec, decision: Decision) -> Iterator[Value]:
    """What a decision says of its pools and of what it rests on."""
    names = (model.namespace, model.name)
    types = {pool.name: str(pool.capacity_type) for pool in model.pools}
    for pool in decision.pools:
        labels = (*names, pool.pool, types.get(pool.pool, ""))
        for name in POOL_GAUGES:
            yield Value(name, labels, getattr(pool, name))
    for condition in decision.conditions:
        if condition.type is ConditionType.CONFLICTED:
            for kind in CONFLICTS:
                held = condition.status == "True" and condition.reason == kind
                yield Value("conflict", (*names, str(kind)), int(held))
    measures = decision.measures
    figures = {**measures._asdict(), "cold_start_seconds": measures.cold_start_s}
    for name in MODEL_GAUGES:
        yield Value(name, names, figures[name])
    if decision.attainment is not None:
        yield from _attainment_values(names, decision.attainment)
    if decision.scores is not None:
        yield from _score_values(names, decision.scores)


def _score_values(names: tuple[str, str], scores: Scores) -> Iterator[Value]:
    """How good decisions turned out to be."""
    for name, field in SCORE_COUNTERS.items():
        yield Value(name, names, getattr(scores, field))
    for reason, seconds in zip(IDLE_REASONS, scores.idle_gpu_s, strict=True):
        yield Value("idle_gpu_seconds_total", (*names, reason), seconds)
    for cause, requests in zip(MISS_CAUSES, scores.missed_requests, strict=True):
        yield Value("missed_requests_total", (*names, cause), requests)


def _attainment_values(names: tuple[str, str], attained: Attainment) -> Iterator[Value]:
    """The shares by latency, and the error budget by window."""
    for latency, share in (
        ("TimeToFirstToken", attained.ttft),
        ("TimePerOutputToken", attained.tpot),
        ("Both", attained.both),
    ):
        labels = (*names, latency)
        yield Value("attained_ratio", labels, share and share.ratio)
        yield Value("attained_low_ratio", labels, share and share.low_ratio)
        yield Value("attained_high_ratio", labels, share and share.high_ratio)
    for window, budget in zip(WINDOWS, attained.budgets, strict=True):
        yield Value("error_budget_left_ratio", (*names, window), budget.left_ratio)
        yield Value("error_budget_burn_ratio", (*names, window), budget.burn_ratio)


def _hindsight_values(model: ModelSpec, windows: Sequence[WindowHindsight]) -> Iterator[Value]:
    """What others would have cost and attained, by policy and window; of a window with no time in it nothing."""
    for window in windows:
        if window.covered_s <= 0.0:
            continue
        labels = (model.namespace, model.name, HINDSIGHT_WINDOWS[window.span_s])
        yield Value("hindsight_covered_seconds", labels, window.covered_s)
        yield Value("hindsight_foretold_ratio", labels, window.foretold_ratio)
        for each in window.policies:
            if each.replicas is not None:
                yield Value("hindsight_static_replicas", labels, each.replicas)
            of = (*labels[:2], str(each.policy), labels[2])
            yield Value("hindsight_replica_seconds", of, each.replica_s)
            yield Value("hindsight_usd", of, each.usd)
            yield Value("hindsight_attained_ratio", of, each.attained_ratio)


def _framebuffer(
    replicas: Sequence[PodKey], known: Mapping[PodKey, FramebufferSample]
) -> float | None:
    """GPU memory of a model's replicas; None: of one of them it is unknown, or there is none."""
    used = [known[key].used_bytes for key in replicas if key in known]
    return math.fsum(used) if used and len(used) == len(replicas) else None


def _gpu_values(collector: Collector, *, at: float) -> Iterator[Value]:
    """GPUs over all nodes that an exporter speaks for now; none: no series."""
    read = collector.last_values.nodes().values()
    nodes = [node for node in read if at - node.sampled_at <= GPU_AGE_S_MAX]
    free = [node.free for node in nodes if node.free is not None]
    unhealthy = [node.unhealthy for node in nodes if node.unhealthy is not None]
    yield Value("gpus_free", (), sum(free) if free else None)
    yield Value("gpus_unhealthy", (), sum(unhealthy) if unhealthy else None)
    yield Value("gpus_unknown_nodes", (), len(nodes) - len(free) if nodes else None)


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
