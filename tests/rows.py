"""Replicas and nodes as rows, and rows as the columns that an observation has of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import NO_NODE, CapacityType, NodeColumns, ReplicaColumns

LONG_AGO_S = 10_000.0
UNKNOWN = math.nan


@dataclass(frozen=True, kw_only=True)
class Row:
    """One replica; ages in seconds before the observation."""

    name: str
    pool: str
    node: str | None = None
    age_s: float = LONG_AGO_S
    scheduled_age_s: float = UNKNOWN
    unschedulable_age_s: float = UNKNOWN
    ready_age_s: float = UNKNOWN
    not_ready_age_s: float = UNKNOWN
    deleting: bool = False
    deleting_age_s: float = UNKNOWN
    deletion_cost: int = 0
    deletion_cost_ours: bool = False
    grace_s: float = 30.0
    sample_age_s: float = UNKNOWN
    sample_interval_s: float = UNKNOWN
    waiting: float = UNKNOWN
    running: float = UNKNOWN
    kv_usage: float = UNKNOWN
    finished: float = UNKNOWN
    tokens: float = UNKNOWN
    """Generated; as many are prefilled."""
    aborted: float = UNKNOWN
    framebuffer_bytes: float = UNKNOWN
    framebuffer_age_s: float = UNKNOWN
    gpus_unhealthy: float = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class NodeRow:
    """One node."""

    name: str
    kind: CapacityType | None = None
    zone: str = ""
    instance_type: str = ""
    exists: bool = True
    ready: bool = True
    unheard: bool | None = None
    """None: as it is not ready, by default."""
    unschedulable: bool = False
    cordoned_by_us: bool = False
    marked_drained: bool = False
    gpus_free: float = UNKNOWN
    gpus_unhealthy: float = UNKNOWN


_AGES = {
    "created_at": "age_s",
    "scheduled_at": "scheduled_age_s",
    "unschedulable_since": "unschedulable_age_s",
    "ready_at": "ready_age_s",
    "not_ready_since": "not_ready_age_s",
    "deleting_since": "deleting_age_s",
    "sampled_at": "sample_age_s",
    "framebuffer_at": "framebuffer_age_s",
}
_VALUES = {
    "grace_s": "grace_s",
    "waiting_requests": "waiting",
    "running_requests": "running",
    "kv_usage_ratio": "kv_usage",
    "finished_requests_total": "finished",
    "prompt_tokens_total": "tokens",
    "generation_tokens_total": "tokens",
    "aborted_requests_total": "aborted",
    "framebuffer_used_bytes": "framebuffer_bytes",
    "gpus_unhealthy": "gpus_unhealthy",
    "sample_interval_s": "sample_interval_s",
}
_UNTOLD = (
    "preemptions_total",
    "queue_time_s_total",
    "queued_requests_total",
    "steps_total",
    "step_tokens_total",
)


def columns(
    rows: Sequence[Row], *, at: float, pools: Sequence[str], nodes: Sequence[str]
) -> ReplicaColumns:
    """Rows as columns, ordered by (pool, name)."""
    places = {name: index for index, name in enumerate(pools)}
    homes = {name: index for index, name in enumerate(nodes)} | {None: NO_NODE}
    rows = sorted(rows, key=lambda row: (places[row.pool], row.name))

    def column(values: Iterable[object], kind: type) -> np.ndarray:
        return np.array(list(values), dtype=kind)

    floats = {name: [at - getattr(row, age) for row in rows] for name, age in _AGES.items()}
    floats |= {name: [getattr(row, value) for row in rows] for name, value in _VALUES.items()}
    floats |= {name: [UNKNOWN for _ in rows] for name in _UNTOLD}
    return ReplicaColumns(
        name=tuple(row.name for row in rows),
        pool=column((places[row.pool] for row in rows), np.int64),
        node=column((homes[row.node] for row in rows), np.int64),
        ready=column((not math.isnan(row.ready_age_s) for row in rows), np.bool_),
        deleting=column((row.deleting for row in rows), np.bool_),
        deletion_cost=column((row.deletion_cost for row in rows), np.int64),
        deletion_cost_ours=column((row.deletion_cost_ours for row in rows), np.bool_),
        **{name: column(values, np.float64) for name, values in floats.items()},
    )


def node_columns(nodes: Sequence[NodeRow]) -> NodeColumns:
    """Nodes as columns, ordered by name."""
    nodes = sorted(nodes, key=lambda row: row.name)
    masks = ("exists", "ready", "unschedulable", "cordoned_by_us", "marked_drained")
    return NodeColumns(
        name=tuple(row.name for row in nodes),
        capacity_type=tuple(row.kind for row in nodes),
        zone=tuple(row.zone for row in nodes),
        instance_type=tuple(row.instance_type for row in nodes),
        unheard=np.array(
            [not row.ready if row.unheard is None else row.unheard for row in nodes], dtype=np.bool_
        ),
        gpus_free=np.array([row.gpus_free for row in nodes], dtype=np.float64),
        gpus_unhealthy=np.array([row.gpus_unhealthy for row in nodes], dtype=np.float64),
        **{mask: np.array([getattr(row, mask) for row in nodes], dtype=np.bool_) for mask in masks},
    )
