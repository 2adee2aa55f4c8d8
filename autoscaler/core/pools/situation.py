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

from autoscaler.core.candidates import TickTraffic
from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import Mode, ModelSpec, Pause
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.pools.floor import FloorNow
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.pools.pool_state import PoolState
from autoscaler.core.pools.slots import Placement
from autoscaler.core.pools.spread import Spread
from autoscaler.core.supply.conflicts import Conflict
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.supply.stock import Stock


class Blindness(NamedTuple):
    """Why what is seen may not be true any more, so that nothing may be scaled down."""

    reason: Reason
    message: str


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
    floor_stand_ins: int
    """Of these, the ones inside it that stand in for a warm floor elsewhere."""
    promised: int
    """Fallback replicas promised on the on-demand target."""
    blind: Blindness | None
    """None: we can see."""
    still: int
    """Replicas whose gauges are not believed: they hold something and do not get on with it."""
    mute: int
    """Ready replicas that have not answered for long, and are counted as full."""
    may_shrink: bool
    """Replicas may be given up at all: we can see, a whole window has been watched, no pause, and nobody else scales
    it."""
    pinned: bool
    """Some pool is not to be cut."""
    overdue_rollouts: tuple[str, ...]
    """Pools whose rollout does not come to its end, and holds nothing any more."""
    spread: Spread | None
    """The spot pools that share what is to serve on spot; None: the preferred pool has it all."""
    quiet: bool
    """No node is doomed, nothing is promised, stuck or stood in for: almost every tick."""
    floor: FloorNow
    """The warm floor of this tick; `spec` has its replicas."""
    floor_ready: int
    """Replicas that count in the warm floor: ready, not doomed, on its capacity type."""
    proposal: int | None
    """The policy's, in serving replicas; None: it could not tell."""
    foresees: bool
    """The proposal looks ahead; False: the forecast has no history yet."""
    needed: float | None
    """Replicas that the demand of this moment needs, what waits included; None: unknown."""
    counts_losses: bool
    """The proposal is of a rule that was chosen by what was really missed, while capacity was taken away too."""
    offered: float | None
    """Replicas' worth of the offered load; None: unknown."""
    offered_lately: float | None
    """Likewise on average of a cold start; None: unknown."""
    traffic: TickTraffic | None
    """What came since the last tick; None: unknown."""
    conflict: Conflict | None
    """Who else scales it; None: nobody."""
    placements: dict[tuple[int, int], Placement]
    """What `stand_ins.place_serving` has found so far, empty at first; it changes no result."""

    @property
    def shared(self) -> tuple[int, ...]:
        """The pools, by index, on which all but the floor is to serve: the preferred one, or the spread's."""
        return (self.order.preferred,) if self.spread is None else self.spread.indices

    @property
    def left_alone(self) -> bool:
        """Tell whether the number stays for somebody else's sake; what never acts is in nobody's way."""
        return self.conflict is not None and scales(self.spec)

    def locked(self, pool: int) -> bool:
        """Tell whether nothing may be written to the target of a pool, by index."""
        return self.conflict is not None and self.conflict.locked[pool]

    @property
    def rolling_out(self) -> bool:
        """Tell whether a target is in the middle of a rollout."""
        return any(pool.rolling_out for pool in self.pools)


def acts(spec: ModelSpec) -> bool:
    """Tell whether what is decided of a model is written: it is not to be observed only, nor paused."""
    return spec.mode is Mode.ACTIVE and spec.pause is not Pause.ALL


def scales(spec: ModelSpec) -> bool:
    """Tell whether a model's replicas are written: those of one that acts, or is paused at a number."""
    return spec.mode is Mode.ACTIVE and (
        spec.pause is not Pause.ALL or spec.paused_replicas is not None
    )


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
    rolling_out: Sequence[bool],
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
        rolling_out: by pool, whether a rollout holds it.
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
                rolling_out=rolling_out[index],
                pinned=rolling_out[index] or not pool.promises_readable,
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
    pools: Sequence[PoolState],
    *,
    order: PoolOrder,
    promised: int,
    doom: Doom | None,
    spread: Spread | None = None,
) -> bool:
    """Tell whether the replicas that are to serve lie on the pools in their order, without stand-ins."""
    if doom is not None or promised:
        return False
    shared = (order.preferred,) if spread is None else spread.indices
    for index, pool in enumerate(pools):
        if pool.stuck or (pool.ordinary and index not in shared):
            return False
    return order.floor is None or pools[order.floor].ready >= pools[order.floor].floor


def _count_returned(
    *, at: float, spec: ModelSpec, observation: ModelObservation, stock: Stock
) -> list[int]:
    """Count, by pool, replicas that have been ready for the return time, by their own transition.

    None of them is on a node at risk: what stands in for those is not to go before the risk does.
    """
    replicas = observation.replicas
    back = stock.ready & (at - replicas.ready_at >= spec.spot.return_after_s)
    for rows in stock.risky_rows.values():
        back[list(rows)] = False
    counts: list[int] = np.bincount(replicas.pool[back], minlength=len(spec.pools)).tolist()
    return counts
