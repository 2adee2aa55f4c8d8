"""Replica columns for tests of single rooms: say what matters, the rest is ordinary."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from autoscaler.core.contract.state import NO_NODE, BoolArray, ReplicaColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One replica; by default ready for long and answering with nothing to do."""

    name: str
    pool: int = 0
    created_at: float = 0.0
    scheduled_at: float | None = None
    """None: at once."""
    unschedulable_since: float = nan
    ready: bool = True
    ready_at: float = 0.0
    """At once: no start that anybody could have measured."""
    not_ready_since: float = nan
    deleting: bool = False
    sampled_at: float = nan
    """NaN: does not answer."""
    sample_interval_s: float = nan
    """NaN: we read it ourselves."""
    waiting: float = 0.0
    running: float = 0.0
    kv: float = 0.0
    finished: float = 0.0
    tokens: float = nan
    """Generated; as many are prefilled. NaN: not counted."""


def columns(*pods: Pod) -> ReplicaColumns:
    """Put pods into columns; what was not sampled is unknown."""
    unknown = np.full(len(pods), nan)

    def sampled(values: list[float]) -> np.ndarray:
        answered = [
            nan if np.isnan(pod.sampled_at) else value
            for pod, value in zip(pods, values, strict=True)
        ]
        return np.array(answered, dtype=np.float64)

    return ReplicaColumns(
        name=tuple(pod.name for pod in pods),
        pool=np.array([pod.pool for pod in pods], dtype=np.int64),
        node=np.full(len(pods), NO_NODE, dtype=np.int64),
        created_at=np.array([pod.created_at for pod in pods], dtype=np.float64),
        scheduled_at=np.array(
            [p.created_at if p.scheduled_at is None else p.scheduled_at for p in pods],
            dtype=np.float64,
        ),
        unschedulable_since=np.array([p.unschedulable_since for p in pods], dtype=np.float64),
        ready=np.array([pod.ready for pod in pods], dtype=np.bool_),
        ready_at=np.array([p.ready_at if p.ready else nan for p in pods], dtype=np.float64),
        not_ready_since=np.array([p.not_ready_since for p in pods], dtype=np.float64),
        deleting=np.array([pod.deleting for pod in pods], dtype=np.bool_),
        deleting_since=unknown,
        deletion_cost=np.zeros(len(pods), dtype=np.int64),
        deletion_cost_ours=np.zeros(len(pods), dtype=np.bool_),
        grace_s=np.full(len(pods), 30.0),
        sampled_at=np.array([pod.sampled_at for pod in pods], dtype=np.float64),
        sample_interval_s=np.array([pod.sample_interval_s for pod in pods], dtype=np.float64),
        waiting_requests=sampled([pod.waiting for pod in pods]),
        running_requests=sampled([pod.running for pod in pods]),
        kv_usage_ratio=sampled([pod.kv for pod in pods]),
        finished_requests_total=sampled([pod.finished for pod in pods]),
        aborted_requests_total=unknown,
        prompt_tokens_total=sampled([pod.tokens for pod in pods]),
        generation_tokens_total=sampled([pod.tokens for pod in pods]),
        preemptions_total=unknown,
        queue_time_s_total=unknown,
        queued_requests_total=unknown,
        steps_total=unknown,
        step_tokens_total=unknown,
        framebuffer_used_bytes=unknown,
        framebuffer_at=unknown,
        gpus_unhealthy=unknown,
    )


def answering(replicas: ReplicaColumns) -> BoolArray:
    """Rows with a sample."""
    return ~np.isnan(replicas.sampled_at)
