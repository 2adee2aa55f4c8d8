"""The situation: what is true of one model at one tick, for its guards and its placement to look at.

Replicas are counted in two ways. The *serving replicas* are those that are to serve. The *asked
replicas* are what is asked of the API: the serving ones, and stand-ins on top (`stand_ins`). The
on-demand fallback (`promises`) is in neither; it comes on top of both. Policy, stabilization and rate
think in serving replicas; bounds and budget bind what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.pools.slots import Placement
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.supply.stock import Stock


class Blindness(NamedTuple):
    """Why what is seen may not be true any more, so that nothing may be scaled down."""

    reason: Reason
    message: str


class PoolState(NamedTuple):
    """One pool at this tick."""

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
    floor: int
    """The warm floor, in the pool that keeps it; else 0."""
    fallback: int
    """Of the current replicas: promised ones."""
    rolling_out: bool
    pinned: bool
    """Not to be cut: it rolls out, or its promises cannot be read."""

    @property
    def ordinary(self) -> int:
        """Current replicas that are neither its warm floor nor its fallback."""
        return max(0, self.current - self.floor - self.fallback)


class Situation(NamedTuple):
    """One model at this tick."""

    at: float
    spec: ModelSpec
    order: PoolOrder
    observation: ModelObservation
    doom: Doom | None
    stock: Stock
    pools: Sequence[PoolState]
    cold_start_s: float
    """Of the pool that the next start would go to."""
    asked_replicas: int
    """Asked of the API now, without the fallback in force."""
    serving_replicas: int
    """Of these, the ones that are to serve: without stand-ins."""
    stand_ins: int
    """Of these, the ones that stand in for others, outside the preferred pool."""
    promised: int
    """Fallback replicas promised on the on-demand target."""
    blind: Blindness | None
    """None: we can see."""
    may_shrink: bool
    """Replicas may be given up at all: we can see, a whole window has been watched, no pause."""
    pinned: bool
    """Some pool is not to be cut."""
    quiet: bool
    """No node is doomed, nothing is promised, stuck or stood in for: almost every tick."""
    floor_ready: int
    """Replicas that count in the warm floor: ready, not doomed, on its capacity type."""
    proposal: int | None
    """The policy's, in serving replicas; None: it could not tell."""
    placements: dict[tuple[int, int], Placement]
    """What `stand_ins.place_serving` has found so far, empty at first; it changes no result."""

    @property
    def rolling_out(self) -> bool:
        """Tell whether a target is in the middle of a rollout."""
        return any(pool.rolling_out for pool in self.pools)


def assess_pools(
    *,
    at: float,
    spec: ModelSpec,
    order: PoolOrder,
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
        order: of its pools.
        observation: of the model; the target of every pool can be read.
        stock: its replicas, told apart.
        placed: what was last decided for each pool without the fallback.
        promised: fallback replicas promised.
        interrupted: whether some node is doomed.
    """
    states = []
    for index, pool in enumerate(observation.pools):
        counts = stock.supply.pools[index]
        floor = spec.warm_floor.replicas if index == order.floor else 0
        current = pool.current_replicas or 0
        fallback = 0
        if promised and index == order.fallback:
            # What we placed there is known unless we have just started; then only the floor is.
            # A promise that is written and not yet acted on adds nothing to the pool.
            known = placed.get(pool.name, floor)
            fallback = min(promised, max(0, current - known))
        elif index == order.fallback and not pool.promises_readable:
            # What is promised is unknown; what is there on top of what we placed is left alone.
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
                floor=floor,
                fallback=fallback,
                rolling_out=pool.rolling_out,
                pinned=pool.rolling_out or not pool.promises_readable,
            )
        )
    elsewhere = any(
        state.ordinary for index, state in enumerate(states) if index != order.preferred
    )
    if (elsewhere or promised or interrupted) and order.interruptible:
        back = _count_returned(at=at, spec=spec, observation=observation, stock=stock)
        for index in order.interruptible:
            states[index] = states[index]._replace(returned=back[index])
    return states


def is_quiet(
    pools: Sequence[PoolState], *, order: PoolOrder, promised: int, doom: Doom | None
) -> bool:
    """Tell whether the replicas that are to serve lie on the pools in their order, without stand-ins."""
    if doom is not None or promised:
        return False
    for index, pool in enumerate(pools):
        if pool.stuck or (index != order.preferred and pool.ordinary):
            return False
    return order.floor is None or pools[order.floor].ready >= pools[order.floor].floor


def _count_returned(
    *, at: float, spec: ModelSpec, observation: ModelObservation, stock: Stock
) -> list[int]:
    """Count, by pool, replicas that have been ready for the return time, by their own transition."""
    replicas = observation.replicas
    back = stock.ready & (at - replicas.ready_at >= spec.spot.return_after_s)
    counts: list[int] = np.bincount(replicas.pool[back], minlength=len(spec.pools)).tolist()
    return counts
