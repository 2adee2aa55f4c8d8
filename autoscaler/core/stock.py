"""Taking stock: each replica of a model by what can be expected of it. Pure: no I/O, no clock.

Capacity on its way counts as supply, but with an expiry; a replica for which there is no node is
never on its way; a doomed one counts neither as supply nor in the floor from the notice on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from autoscaler.core.doomed import Doom
from autoscaler.core.free_gpus import FreeGpus
from autoscaler.core.loading import LoadingMemory
from autoscaler.core.plain import Plain, read_float, read_list, read_record
from autoscaler.core.spec import ModelSpec
from autoscaler.core.state import (
    NO_NODE,
    BoolArray,
    FloatArray,
    IntArray,
    ModelObservation,
    ReplicaColumns,
)
from autoscaler.core.supply import PoolSupply, Supply

EXPIRY_COLD_STARTS = 2.0
"""A start that shows no sign of life is given up after this many expected cold starts."""
UNSCHEDULABLE_PATIENCE_S = 60.0
"""An unschedulable replica is no supply from its first moment, but its level is asked for in another
pool only after this long: a node provisioner first sees the pod when it is unschedulable, and takes
about a minute to add a node; asking elsewhere at once would buy every scale-up twice."""

WatchLoading: TypeAlias = Callable[..., FloatArray]
"""`loading.watch_loading`, or what replaces it."""


@dataclass(slots=True, kw_only=True)
class StockMemory:
    """What taking stock has to remember of one model. Part of the engine's memory."""

    loading: LoadingMemory = field(default_factory=LoadingMemory)
    missing_since: dict[str, float] = field(default_factory=dict)
    """By pool: since when it has had fewer pods than were asked for (a quota, an admission webhook)."""

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "loading": self.loading.to_builtins(),
            "missing_since": [[pool, since] for pool, since in self.missing_since.items()],
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> StockMemory:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        pairs = [read_list(pair) for pair in read_list(record["missing_since"])]
        return cls(
            loading=LoadingMemory.from_builtins(record["loading"]),
            missing_since={str(pool): read_float(since) for pool, since in pairs},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """The replicas of one model, told apart."""

    supply: Supply
    ready: BoolArray
    """Rows that are ready, not deleting, not doomed."""
    doomed: BoolArray | None
    """Rows on a doomed node, not deleting; None: no node is doomed."""


def take_stock(
    memory: StockMemory,
    *,
    at: float,
    spec: ModelSpec,
    observation: ModelObservation,
    doom: Doom | None,
    cold_starts_s: Sequence[float],
    gpus: FreeGpus,
    watch: WatchLoading,
) -> Stock:
    """Tell the replicas of a model apart, once a tick.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        spec: of the model.
        observation: of the model, its pools in the order of the spec.
        doom: the doomed nodes.
        cold_starts_s: by pool, what a start is expected to take, by those that are finished: a start
            that hangs must not put off its own expiry.
        gpus: the account of free GPUs.
        watch: tells when framebuffers rose.
    """
    replicas = observation.replicas
    pools = observation.pools
    there = ~replicas.deleting
    doomed: BoolArray | None = None
    whole = there
    if doom is not None:
        on_doomed = doom.doomed[replicas.node]
        doomed = there & on_doomed
        whole = there & ~on_doomed
    ready = whole & replicas.ready
    ready_counts = _by_pool(replicas, ready, len(pools))
    there_counts = _by_pool(replicas, there, len(pools))
    missing = [
        0 if pool.current_replicas is None else max(0, pool.current_replicas - count)
        for pool, count in zip(pools, there_counts, strict=True)
    ]
    doomed_counts = lost_counts = [0] * len(pools)
    if doom is not None and doomed is not None:
        doomed_counts = _by_pool(replicas, doomed, len(pools))
        lost_counts = _by_pool(replicas, doomed & doom.lost[replicas.node], len(pools))
    if ready_counts == there_counts and not any(missing):
        # Nothing starts, nothing is doomed: almost every tick of a calm fleet.
        memory.loading.climbs.clear()
        memory.missing_since.clear()
        counted = tuple([PoolSupply(ready=count) for count in ready_counts])
        supply = Supply(ready=sum(ready_counts), pools=counted)
        return Stock(supply=supply, ready=ready, doomed=doomed)
    starts = _take_starts(
        memory, at=at, replicas=replicas, waiting=whole & ~replicas.ready,
        cold_starts_s=cold_starts_s, watch=watch,
    )  # fmt: skip
    counted = tuple(
        [
            _count_pool(
                memory,
                at=at,
                spec=spec,
                observation=observation,
                index=index,
                starts=starts,
                missing=missing[index],
                cold_start_s=cold_starts_s[index],
                gpus=gpus,
                ready=ready_counts[index],
                doomed=doomed_counts[index],
                lost=lost_counts[index],
            )
            for index in range(len(pools))
        ]
    )
    remaining = sorted([s for pool in counted for s in pool.starting_remaining_s])
    supply = Supply(ready=sum(ready_counts), starting_remaining_s=tuple(remaining), pools=counted)
    return Stock(supply=supply, ready=ready, doomed=doomed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Starts:
    """Replicas that are not ready, by row; columns of one length."""

    pool: IntArray
    remaining_s: FloatArray
    """Until the expected moment; below 0: overdue."""
    unschedulable: BoolArray
    patience_over: BoolArray
    expired: BoolArray
    unbound: BoolArray


def _take_starts(
    memory: StockMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    waiting: BoolArray,
    cold_starts_s: Sequence[float],
    watch: WatchLoading,
) -> _Starts:
    rows = np.flatnonzero(waiting)
    pool = replicas.pool[rows]
    expected = np.array(cold_starts_s, dtype=np.float64)[pool]
    scheduled = replicas.scheduled_at[rows]
    began = np.where(np.isnan(scheduled), replicas.created_at[rows], scheduled)
    rose = watch(memory.loading, at=at, replicas=replicas, rows=rows)
    expires = np.where(
        np.isnan(rose),
        began + EXPIRY_COLD_STARTS * expected,
        np.fmax(rose, began) + expected,
    )
    since = replicas.unschedulable_since[rows]
    unschedulable = ~np.isnan(since)
    return _Starts(
        pool=pool,
        remaining_s=began + expected - at,
        unschedulable=unschedulable,
        patience_over=at - since > UNSCHEDULABLE_PATIENCE_S,
        expired=~unschedulable & (at > expires),
        unbound=replicas.node[rows] == NO_NODE,
    )


def _count_pool(
    memory: StockMemory,
    *,
    at: float,
    spec: ModelSpec,
    observation: ModelObservation,
    index: int,
    starts: _Starts,
    missing: int,
    cold_start_s: float,
    gpus: FreeGpus,
    ready: int,
    doomed: int,
    lost: int,
) -> PoolSupply:
    """Count one pool; those that are overdue have 0 s to go until they expire."""
    mine = starts.pool == index
    unschedulable = mine & starts.unschedulable
    expired = mine & starts.expired
    hopeful = mine & ~starts.unschedulable & ~starts.expired
    remaining: list[float] = np.maximum(starts.remaining_s[hopeful], 0.0).tolist()
    unbound = int(np.count_nonzero(hopeful & starts.unbound))
    overdue = _missing_too_long(
        memory, at=at, pool=spec.pools[index].name, missing=missing, cold_start_s=cold_start_s
    )
    given_up = missing if overdue else 0
    remaining.extend([cold_start_s] * (missing - given_up))
    remaining.sort()
    nowhere = unbound + missing - given_up
    uncovered = nowhere - gpus.cover(
        nowhere,
        capacity_type=spec.pools[index].capacity_type,
        gpus_per_replica=observation.pools[index].gpus_per_replica,
    )
    if uncovered:
        del remaining[-uncovered:]
    given_up += int(np.count_nonzero(expired))
    return PoolSupply(
        ready=ready,
        starting=len(remaining),
        unschedulable=int(np.count_nonzero(unschedulable)),
        expired=given_up,
        uncovered=uncovered,
        stuck=given_up + int(np.count_nonzero(unschedulable & starts.patience_over)),
        doomed=doomed,
        lost=lost,
        starting_remaining_s=tuple(remaining),
    )


def _missing_too_long(
    memory: StockMemory, *, at: float, pool: str, missing: int, cold_start_s: float
) -> bool:
    """Tell whether pods that were asked for have not even been created for too long."""
    if missing == 0:
        memory.missing_since.pop(pool, None)
        return False
    since = memory.missing_since.setdefault(pool, at)
    return at - since > EXPIRY_COLD_STARTS * cold_start_s


def _by_pool(replicas: ReplicaColumns, mask: BoolArray, pools: int) -> list[int]:
    if pools == 1:
        return [int(np.count_nonzero(mask))]
    counts: list[int] = np.bincount(replicas.pool[mask], minlength=pools).tolist()
    return counts
