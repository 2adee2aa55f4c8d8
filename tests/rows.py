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
    deleting: bool = False
    grace_s: float = 30.0
    sample_age_s: float = UNKNOWN
    waiting: float = UNKNOWN
    running: float = UNKNOWN
    kv_usage: float = UNKNOWN
    finished: float = UNKNOWN
    framebuffer_bytes: float = UNKNOWN
    framebuffer_age_s: float = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class NodeRow:
    """One node."""

    name: str
    kind: CapacityType | None = None
    exists: bool = True
    ready: bool = True
    unschedulable: bool = False
    cordoned_by_us: bool = False
    gpus_free: float = UNKNOWN


_AGES = {
    "created_at": "age_s",
    "scheduled_at": "scheduled_age_s",
    "unschedulable_since": "unschedulable_age_s",
    "ready_at": "ready_age_s",
    "sampled_at": "sample_age_s",
    "framebuffer_at": "framebuffer_age_s",
}
_VALUES = {
    "grace_s": "grace_s",
    "waiting_requests": "waiting",
    "running_requests": "running",
    "kv_usage_ratio": "kv_usage",
    "finished_requests_total": "finished",
    "framebuffer_used_bytes": "framebuffer_bytes",
}
_UNTOLD = ("prompt_tokens_total", "generation_tokens_total", "preemptions_total")


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
        **{name: column(values, np.float64) for name, values in floats.items()},
    )


def node_columns(nodes: Sequence[NodeRow]) -> NodeColumns:
    """Nodes as columns, ordered by name."""
    nodes = sorted(nodes, key=lambda row: row.name)
    masks = ("exists", "ready", "unschedulable", "cordoned_by_us")
    return NodeColumns(
        name=tuple(row.name for row in nodes),
        capacity_type=tuple(row.kind for row in nodes),
        gpus_free=np.array([row.gpus_free for row in nodes], dtype=np.float64),
        **{mask: np.array([getattr(row, mask) for row in nodes], dtype=np.bool_) for mask in masks},
    )
