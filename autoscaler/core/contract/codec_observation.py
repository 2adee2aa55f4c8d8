"""Observations to plain builtins and back: columns as lists, NaN as None."""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.plain import (
    Plain,
    plain_bools,
    plain_ints,
    plain_strings,
    read_bools,
    read_float,
    read_int,
    read_list,
    read_optional_float,
    read_record,
    read_strings,
)
from autoscaler.core.contract.state import (
    CapacityType,
    FloatArray,
    Interruption,
    InterruptionKind,
    ModelObservation,
    NodeColumns,
    PoolObservation,
    Promise,
    ReplicaColumns,
)

REPLICA_FLOATS = (
    "created_at",
    "scheduled_at",
    "unschedulable_since",
    "ready_at",
    "grace_s",
    "sampled_at",
    "waiting_requests",
    "running_requests",
    "kv_usage_ratio",
    "finished_requests_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "preemptions_total",
    "framebuffer_used_bytes",
    "framebuffer_at",
)
"""The float columns of `ReplicaColumns`, in its order."""


def nodes_to_builtins(nodes: NodeColumns) -> Plain:
    """Write the nodes."""
    return {
        "name": plain_strings(nodes.name),
        "capacity_type": [None if kind is None else kind.value for kind in nodes.capacity_type],
        "exists": plain_bools(nodes.exists),
        "ready": plain_bools(nodes.ready),
        "unschedulable": plain_bools(nodes.unschedulable),
        "cordoned_by_us": plain_bools(nodes.cordoned_by_us),
        "gpus_free": _column_to_builtins(nodes.gpus_free),
    }


def nodes_from_builtins(value: Plain) -> NodeColumns:
    """Read back what `nodes_to_builtins` wrote."""
    record = read_record(value)
    return NodeColumns(
        name=read_strings(record["name"]),
        capacity_type=tuple(
            [
                None if kind is None else CapacityType(str(kind))
                for kind in read_list(record["capacity_type"])
            ]
        ),
        exists=read_bools(record["exists"]),
        ready=read_bools(record["ready"]),
        unschedulable=read_bools(record["unschedulable"]),
        cordoned_by_us=read_bools(record["cordoned_by_us"]),
        gpus_free=_column_from_builtins(record["gpus_free"]),
    )


def interruption_to_builtins(interruption: Interruption) -> Plain:
    """Write one interruption."""
    return {
        "node": interruption.node,
        "kind": interruption.kind.value,
        "source": interruption.source,
        "noticed_at": interruption.noticed_at,
        "deadline_at": interruption.deadline_at,
    }


def interruption_from_builtins(value: Plain) -> Interruption:
    """Read back what `interruption_to_builtins` wrote."""
    record = read_record(value)
    return Interruption(
        node=str(record["node"]),
        kind=InterruptionKind(str(record["kind"])),
        source=str(record["source"]),
        noticed_at=read_float(record["noticed_at"]),
        deadline_at=read_optional_float(record["deadline_at"]),
    )


def observation_to_builtins(observation: ModelObservation) -> Plain:
    """Write one model's observation."""
    replicas = observation.replicas
    columns: dict[str, Plain] = {
        "name": plain_strings(replicas.name),
        "pool": plain_ints(replicas.pool),
        "node": plain_ints(replicas.node),
        "ready": plain_bools(replicas.ready),
        "deleting": plain_bools(replicas.deleting),
    }
    for name in REPLICA_FLOATS:
        columns[name] = _column_to_builtins(getattr(replicas, name))
    return {
        "model": observation.model,
        "pools": [_pool_to_builtins(pool) for pool in observation.pools],
        "replicas": columns,
    }


def observation_from_builtins(value: Plain) -> ModelObservation:
    """Read back what `observation_to_builtins` wrote."""
    record = read_record(value)
    columns = read_record(record["replicas"])
    floats = {name: _column_from_builtins(columns[name]) for name in REPLICA_FLOATS}
    return ModelObservation(
        model=str(record["model"]),
        pools=tuple([_pool_from_builtins(item) for item in read_list(record["pools"])]),
        replicas=ReplicaColumns(
            name=read_strings(columns["name"]),
            pool=np.array(read_list(columns["pool"]), dtype=np.int64),
            node=np.array(read_list(columns["node"]), dtype=np.int64),
            ready=read_bools(columns["ready"]),
            deleting=read_bools(columns["deleting"]),
            **floats,
        ),
    )


def _pool_to_builtins(pool: PoolObservation) -> Plain:
    return {
        "name": pool.name,
        "current_replicas": pool.current_replicas,
        "rolling_out": pool.rolling_out,
        "gpus_per_replica": pool.gpus_per_replica,
        "promises": [
            {"node": promise.node, "replicas": promise.replicas, "since": promise.since}
            for promise in pool.promises
        ],
        "promises_readable": pool.promises_readable,
    }


def _pool_from_builtins(value: Plain) -> PoolObservation:
    record = read_record(value)
    current = record["current_replicas"]
    return PoolObservation(
        name=str(record["name"]),
        current_replicas=None if current is None else read_int(current),
        rolling_out=bool(record["rolling_out"]),
        gpus_per_replica=read_int(record["gpus_per_replica"]),
        promises=tuple([_promise_from_builtins(item) for item in read_list(record["promises"])]),
        promises_readable=bool(record["promises_readable"]),
    )


def _promise_from_builtins(value: Plain) -> Promise:
    record = read_record(value)
    return Promise(
        node=str(record["node"]),
        replicas=read_int(record["replicas"]),
        since=read_float(record["since"]),
    )


def _column_to_builtins(column: FloatArray) -> Plain:
    """Write a float column; the common case, nothing unknown, is one conversion."""
    values: list[Plain] = column.tolist()
    if np.isnan(column).any():
        return [None if value != value else value for value in values]  # noqa: PLR0124  NaN alone differs from itself
    return values


def _column_from_builtins(value: Plain) -> FloatArray:
    # None becomes NaN in a float array.
    return np.array(read_list(value), dtype=np.float64)
