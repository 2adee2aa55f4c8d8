"""What one model's guards and its placement look at: the facts of one tick.

Replicas are counted in two ways. The *level* is how many are to serve. The number that is asked of
the API is the level, plus stand-ins (replicas asked for in one pool because another pool's are stuck
or not back yet), plus the fallback (promised on-demand replicas, the interruption's own stand-ins).
Policy, stabilization and rate think in levels; bounds and budget bind what is asked for, fallback
apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import CapacityType, ModelObservation, NodeColumns, Promise
from autoscaler.core.hpa import HpaMemory
from autoscaler.core.pools.layout import Layout
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.supply.stock import Stock


@dataclass(slots=True, kw_only=True)
class PoolState:
    """One pool at this tick. Written once, by `assess_pools`."""

    current: int
    ready: int
    """Ready and not doomed."""
    healthy: int
    """Ready, and starting ones that are counted on."""
    returned: int
    """Ready long enough to release a stand-in; of an on-demand pool, simply ready."""
    stuck: int
    doomed: int
    lost: int
    base: int
    """The warm floor, in the pool that keeps it; else 0."""
    fallback: int
    """Of the current replicas: promised ones."""
    rolling_out: bool
    pinned: bool
    """Not to be cut: it rolls out, or its promises cannot be read."""

    @property
    def beyond(self) -> int:
        """Current replicas beyond its base and its fallback."""
        return max(0, self.current - self.base - self.fallback)


@dataclass(slots=True, kw_only=True)
class Situation:
    """One model at this tick. Written by `Assessment`; only `proposal`, `granted` and `unseen` are filled in later."""

    at: float
    spec: ModelSpec
    layout: Layout
    observation: ModelObservation
    doom: Doom | None
    stock: Stock
    pools: list[PoolState]
    standing: int
    """Of the current replicas: stand-ins outside the preferred pool."""
    hpa: HpaMemory
    """The stabilization window and rate events; the only part that a guard may change."""
    cold_start_s: float
    """Of the pool that the next start would go to."""
    current: int
    """As asked of the API, without the fallback in force."""
    level: int
    """Of the current ones, those that are to serve: without stand-ins."""
    promised: int
    """Fallback replicas promised on the on-demand target."""
    blind: str
    """Why nothing may be scaled down, one CamelCase word; empty: we can see."""
    blind_message: str
    may_shrink: bool
    """Replicas may be given up at all: we can see, a whole window has been watched, no pause."""
    pinned: bool
    """Some pool is not to be cut."""
    quiet: bool
    """No node is doomed, nothing is promised, stuck or stood in for: almost every tick."""
    floor_ready: int
    """Replicas that count in the warm floor: ready, not doomed, on its capacity type."""
    proposal: int | None = None
    """The policy's; None: it could not tell."""
    granted: int | None = None
    """What the GPU budget leaves this model; None: there is no budget."""
    unseen: tuple[str, ...] = ()
    """Models that share the budget, and of whose GPUs nothing is known."""

    @property
    def rolling_out(self) -> bool:
        """Tell whether a target is in the middle of a rollout."""
        return any(pool.rolling_out for pool in self.pools)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisePlan:
    """What is to stand on the on-demand scale target, and how much of it is in force."""

    promises: tuple[Promise, ...] = ()
    """Ordered by node."""
    in_force: int = 0
    """Fallback replicas on top of what placement gives the on-demand pool."""
    raised: tuple[Promise, ...] = ()
    """New ones, or ones made larger, of this tick."""
    released: int = 0
    """Replicas released in this tick."""

    @property
    def total(self) -> int:
        """Sum of what is promised."""
        return sum([promise.replicas for promise in self.promises])


class Wanted(NamedTuple):
    """The number on its way through the guards."""

    level: int
    """Replicas that are to serve."""
    asked: int
    """Asked for: the level and its stand-ins, within the bounds; without the fallback."""
    stand_ins: bool = False
    """Whether stuck and missing replicas are stood in for (the guard `starting` says so)."""
    plan: PromisePlan | None = None
    """The interruption's; None: it has not been asked yet."""

    @property
    def replicas(self) -> int:
        """All that is asked for, fallback included: the number in the trail."""
        return self.asked if self.plan is None else self.asked + self.plan.in_force


class Verdict(NamedTuple):
    """What a guard makes of it, and why. None instead of a verdict: it has nothing to say."""

    wanted: Wanted
    reason: str
    message: str


def assess_pools(
    *,
    at: float,
    spec: ModelSpec,
    layout: Layout,
    observation: ModelObservation,
    stock: Stock,
    placed: dict[str, int],
    promised: int,
    interrupted: bool,
) -> list[PoolState]:
    """Put the pools' numbers together.

    Args:
        at: now, seconds.
        spec: of the model.
        layout: of its pools.
        observation: of the model; every pool's target can be read.
        stock: its replicas, told apart.
        placed: what was last decided for each pool without the fallback.
        promised: fallback replicas promised.
        interrupted: whether some node is doomed.
    """
    states = []
    for index, pool in enumerate(observation.pools):
        counts = stock.supply.pools[index]
        base = spec.warm_floor.replicas if index == layout.floor else 0
        current = pool.current_replicas or 0
        fallback = 0
        if promised and index == layout.fallback:
            # What we placed there is known unless we have just started; then only the floor is.
            # A promise that is written and not yet acted on adds nothing to the pool.
            known = placed.get(pool.name, base)
            fallback = min(promised, max(0, current - known))
        elif index == layout.fallback and not pool.promises_readable:
            # What is promised is unknown; what is there beyond what we placed is left alone.
            fallback = max(0, current - placed.get(pool.name, current))
        states.append(
            PoolState(
                current=current,
                ready=counts.ready,
                healthy=counts.ready + counts.starting,
                returned=counts.ready,
                stuck=counts.stuck,
                doomed=counts.doomed,
                lost=counts.lost,
                base=base,
                fallback=fallback,
                rolling_out=pool.rolling_out,
                pinned=pool.rolling_out or not pool.promises_readable,
            )
        )
    outside = any(state.beyond for index, state in enumerate(states) if index != layout.preferred)
    if (outside or promised or interrupted) and layout.interruptible:
        _count_returned(
            states, at=at, spec=spec, layout=layout, observation=observation, stock=stock
        )
    return states


def is_quiet(pools: list[PoolState], *, layout: Layout, promised: int, doom: Doom | None) -> bool:
    """Tell whether a level lies on the pools in the plain way."""
    if doom is not None or promised:
        return False
    for index, pool in enumerate(pools):
        if pool.stuck or (index != layout.preferred and pool.beyond):
            return False
    return layout.floor is None or pools[layout.floor].ready >= pools[layout.floor].base


def _count_returned(
    states: list[PoolState],
    *,
    at: float,
    spec: ModelSpec,
    layout: Layout,
    observation: ModelObservation,
    stock: Stock,
) -> None:
    """Count the spot replicas that have been ready for the return time, by their own transition."""
    replicas = observation.replicas
    back = stock.ready & (at - replicas.ready_at >= spec.spot.return_after_s)
    counts = np.bincount(replicas.pool[back], minlength=len(states)).tolist()
    for index in layout.interruptible:
        states[index].returned = counts[index]


def count_floor_ready(
    *, spec: ModelSpec, observation: ModelObservation, nodes: NodeColumns, stock: Stock
) -> int:
    """Count the replicas that count in the warm floor. Those of a Mixed pool are told by their nodes."""
    wanted = spec.warm_floor.capacity_type
    if spec.warm_floor.replicas == 0 or wanted is None:
        return stock.supply.ready
    count = 0
    for index, pool in enumerate(spec.pools):
        ready = stock.supply.pools[index].ready
        if pool.capacity_type is wanted:
            count += ready
        elif pool.capacity_type is CapacityType.MIXED and ready:
            replicas = observation.replicas
            of_type = np.array([*(kind is wanted for kind in nodes.capacity_type), False])
            mine = stock.ready & (replicas.pool == index)
            count += int(np.count_nonzero(mine & of_type[replicas.node]))
    return count
