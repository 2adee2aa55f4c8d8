"""Taking stock: each replica of a model by what can be expected of it.

Capacity on its way counts as supply, but with an expiry; a replica for which there is no node is
never on its way, and so is one that starts on a GPU that can carry none; a doomed one counts neither as supply nor in the floor from the notice on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import (
    CREATION_RESOLUTION_S,
    NO_NODE,
    BoolArray,
    ModelObservation,
    ReplicaColumns,
)
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.supply.framebuffers import LoadingMemory, watch_loading
from autoscaler.core.supply.free_gpus import FreeGpus
from autoscaler.core.supply.supply import PoolSupply, Supply
from autoscaler.core.tuning import TUNING


@dataclass(slots=True, kw_only=True)
class StockMemory:
    """What taking stock has to remember of one model. Part of the engine's memory."""

    loading: LoadingMemory = field(default_factory=LoadingMemory)
    missing_since: dict[str, float] = field(default_factory=dict)
    """By pool: since when it has had fewer pods than were asked for (a quota, an admission webhook)."""


class Stock(NamedTuple):
    """The replicas of one model, told apart."""

    supply: Supply
    ready: BoolArray
    """Rows that are ready, not deleting, not doomed."""
    doomed_rows: Mapping[int, Sequence[int]]
    """By row of a doomed node, the rows of its replicas that are not deleting."""
    risky_rows: Mapping[int, Sequence[int]]
    """Likewise of a node at risk: they are supply."""
    unhealthy_rows: Sequence[int]
    """Of replicas that are not deleting and not doomed, on a GPU that can carry none."""
    health_known: bool
    """Of the GPUs of any replica it is known how they are."""
    leaving_rows: Mapping[int, Sequence[int]]
    """By row of a node with a notice, the rows of its replicas that have been deleted since that notice: who
    empties a node may do so before anything else says that it goes."""


def take_stock(
    memory: StockMemory,
    *,
    at: float,
    spec: ModelSpec,
    observation: ModelObservation,
    doom: Doom | None,
    cold_starts_s: Sequence[float],
    gpus: FreeGpus,
) -> Stock:
    """Tell the replicas of a model apart, once a tick.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        spec: of the model.
        observation: of the model, its pools in the order of the spec.
        doom: the doomed nodes.
        cold_starts_s: by pool, of finished starts: one that hangs must not put off its own expiry.
        gpus: the account of free GPUs.
    """
    replicas = observation.replicas
    pools = observation.pools
    staying = ~replicas.deleting
    ready = staying & replicas.ready
    doomed = None if doom is None else staying & doom.doomed[replicas.node]
    if doomed is not None:
        ready &= ~doomed
    unhealthy, health_known = _find_unhealthy(replicas, staying, doomed)
    unhealthy_rows: Sequence[int] = [] if unhealthy is None else np.flatnonzero(unhealthy).tolist()
    staying_counts = _by_pool(replicas, staying, len(pools))
    risky_rows: Mapping[int, Sequence[int]] = {}
    if doom is not None and doom.at_risk is not None:
        risky_rows = _by_node(replicas, staying & doom.at_risk[replicas.node])
    all_ready = np.count_nonzero(ready) == np.count_nonzero(staying)
    ready_counts = staying_counts if all_ready else _by_pool(replicas, ready, len(pools))
    missing = [
        0 if pool.current_replicas is None else max(0, pool.current_replicas - count)
        for pool, count in zip(pools, staying_counts, strict=True)
    ]
    if all_ready and not any(missing):
        # Nothing starts and nothing is doomed: on most ticks, and half of the work is spared.
        memory.loading.climbs.clear()
        memory.missing_since.clear()
        calm = tuple(
            [
                PoolSupply(ready=count, ready_unhealthy=ill)
                for count, ill in zip(
                    ready_counts, _by_pool(replicas, unhealthy, len(pools)), strict=True
                )
            ]
        )
        return Stock(
            supply=Supply(ready=sum(ready_counts), pools=calm),
            ready=ready,
            doomed_rows={},
            risky_rows=risky_rows,
            unhealthy_rows=unhealthy_rows,
            health_known=health_known,
            leaving_rows={},
        )
    tallies = [
        _Tally(ready=count, ready_unhealthy=ill)
        for count, ill in zip(
            ready_counts,
            _by_pool(
                replicas, None if unhealthy is None else unhealthy & replicas.ready, len(pools)
            ),
            strict=True,
        )
    ]
    waiting = staying & ~replicas.ready
    if doom is not None and doomed is not None:
        waiting &= ~doomed
        _tally_doomed(tallies, replicas=replicas, doomed=doomed, doom=doom)
    _tally_starts(
        tallies,
        memory,
        at=at,
        replicas=replicas,
        waiting=waiting,
        cold_starts_s=cold_starts_s,
    )
    for index, tally in enumerate(tallies):
        pool, cold_start_s = spec.pools[index], cold_starts_s[index]
        _tally_missing(tally, memory, missing[index], at=at, pool=pool.name, cold_s=cold_start_s)
        tally.covered = gpus.cover(
            tally.unbound,
            capacity_type=pool.capacity_type,
            gpus_per_replica=pools[index].gpus_per_replica,
        )
    counted = tuple(tally.supply() for tally in tallies)
    remaining = sorted(left for pool in counted for left in pool.starting_remaining_s)
    supply = Supply(ready=sum(ready_counts), starting_remaining_s=tuple(remaining), pools=counted)
    return Stock(
        supply=supply,
        ready=ready,
        doomed_rows={} if doomed is None else _by_node(replicas, doomed),
        risky_rows=risky_rows,
        unhealthy_rows=unhealthy_rows,
        health_known=health_known,
        leaving_rows={} if doom is None else _leaving_rows(replicas, doom),
    )


def _leaving_rows(replicas: ReplicaColumns, doom: Doom) -> dict[int, list[int]]:
    """Find the replicas that were told to go from nodes that are being taken away, not before the notice."""
    leaving = _by_node(replicas, replicas.deleting & doom.doomed[replicas.node])
    found: dict[int, list[int]] = {}
    for node in doom.nodes:
        if node.lost or node.at_risk or node.index not in leaving:
            continue
        since = node.noticed_at - CREATION_RESOLUTION_S
        rows = [row for row in leaving[node.index] if replicas.deleting_since[row] >= since]
        if rows:
            found[node.index] = rows
    return found


@dataclass(slots=True, kw_only=True)
class _Tally:
    """One pool's replicas while they are counted."""

    ready: int
    ready_unhealthy: int
    """Of the ready: on a GPU that can carry none."""
    remaining_s: list[float] = field(default_factory=list)
    unbound: int = 0
    """Of those counted on, how many have no node."""
    covered: int = 0
    """Of the unbound, how many have a free GPU, as far as is known."""
    unschedulable: int = 0
    unschedulable_for_long: int = 0
    """Of the unschedulable: for longer than a node provisioner takes to add a node."""
    expired: int = 0
    unhealthy: int = 0
    """Not ready, on a GPU that can carry none."""
    doomed: int = 0
    lost: int = 0

    def supply(self) -> PoolSupply:
        """Return the pool's supply: those without a GPU are the last ones that were expected."""
        remaining_s = sorted(self.remaining_s)
        without_gpu = self.unbound - self.covered
        if without_gpu:
            del remaining_s[-without_gpu:]
        return PoolSupply(
            ready=self.ready,
            starting=len(remaining_s),
            unschedulable=self.unschedulable,
            expired=self.expired,
            without_gpu=without_gpu,
            unhealthy=self.unhealthy,
            ready_unhealthy=self.ready_unhealthy,
            stuck=self.expired + self.unhealthy + self.unschedulable_for_long,
            doomed=self.doomed,
            lost=self.lost,
            starting_remaining_s=tuple(remaining_s),
        )


def _tally_doomed(
    tallies: Sequence[_Tally], *, replicas: ReplicaColumns, doomed: BoolArray, doom: Doom
) -> None:
    lost = doomed & doom.lost[replicas.node]
    for tally, count, gone in zip(
        tallies,
        _by_pool(replicas, doomed, len(tallies)),
        _by_pool(replicas, lost, len(tallies)),
        strict=True,
    ):
        tally.doomed, tally.lost = count, gone


def _tally_starts(
    tallies: Sequence[_Tally],
    memory: StockMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    waiting: BoolArray,
    cold_starts_s: Sequence[float],
) -> None:
    """Count the replicas that are not ready; an overdue one has 0 s to go until it expires.

    One that was ready and is not any more gets the time of a start, from its Ready's own transition: a
    probe that failed once, a container or a kubelet that was restarted. To ask elsewhere at once would buy
    a replica for each blip.

    A loop over these alone: they are few but in a cold start of the whole fleet, and for a few
    rows it is quicker than columns.
    """
    rows = np.flatnonzero(waiting)
    if len(rows) == 0:
        memory.loading.climbs.clear()
        return
    columns = zip(
        replicas.pool[rows].tolist(),
        replicas.node[rows].tolist(),
        replicas.created_at[rows].tolist(),
        replicas.scheduled_at[rows].tolist(),
        replicas.unschedulable_since[rows].tolist(),
        replicas.not_ready_since[rows].tolist(),
        replicas.gpus_unhealthy[rows].tolist(),
        watch_loading(memory.loading, at=at, replicas=replicas, rows=rows),
        strict=True,
    )
    for pool, node, created_at, scheduled_at, since, turned_at, ill, rose_at in columns:
        tally = tallies[pool]
        if ill > 0.0:
            tally.unhealthy += 1
            continue
        if not math.isnan(since):
            tally.unschedulable += 1
            tally.unschedulable_for_long += at - since > TUNING.unschedulable_patience_s
            continue
        began_at = created_at if math.isnan(scheduled_at) else scheduled_at
        # It was ready, and its container begins anew; of NaN, `max` returns its first argument.
        began_at = max(began_at, turned_at)
        expected_s = cold_starts_s[pool]
        if rose_at is None:
            expires_at = began_at + TUNING.expiry_cold_starts * expected_s
        else:
            expires_at = max(rose_at, began_at) + expected_s
        if at > expires_at:
            tally.expired += 1
            continue
        tally.remaining_s.append(max(0.0, began_at + expected_s - at))
        tally.unbound += node == NO_NODE


def _tally_missing(
    tally: _Tally, memory: StockMemory, missing: int, *, at: float, pool: str, cold_s: float
) -> None:
    """Count the replicas that were asked for and have no pod: just asked, or never to be had."""
    if missing == 0:
        memory.missing_since.pop(pool, None)
        return
    since = memory.missing_since.setdefault(pool, at)
    if at - since > TUNING.expiry_cold_starts * cold_s:
        tally.expired += missing
    else:
        tally.remaining_s.extend([cold_s] * missing)
        tally.unbound += missing


def _by_node(replicas: ReplicaColumns, mask: BoolArray) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    rows = np.flatnonzero(mask)
    for row, node in zip(rows.tolist(), replicas.node[rows].tolist(), strict=True):
        found.setdefault(node, []).append(row)
    return found


def _find_unhealthy(
    replicas: ReplicaColumns, staying: BoolArray, doomed: BoolArray | None
) -> tuple[BoolArray | None, bool]:
    """Return the rows that stay, on a GPU that can carry none (None: no row), and whether any GPU is known."""
    told = replicas.gpus_unhealthy >= 0.0  # NaN, unknown, is not
    if not np.count_nonzero(told):
        return None, False  # nobody exports it
    unhealthy: BoolArray = staying & (replicas.gpus_unhealthy > 0.0)
    if doomed is not None:
        unhealthy &= ~doomed
    return (unhealthy if np.count_nonzero(unhealthy) else None), True


def _by_pool(replicas: ReplicaColumns, mask: BoolArray | None, pools: int) -> list[int]:
    """Count the rows of a mask by pool; None: a mask without a row."""
    if mask is None:
        return [0] * pools
    if pools == 1:
        return [int(np.count_nonzero(mask))]
    counts: list[int] = np.bincount(replicas.pool[mask], minlength=pools).tolist()
    return counts
