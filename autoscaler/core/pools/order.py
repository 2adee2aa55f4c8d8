"""Which pool takes what: the order of a model's pools.

The warm floor goes on its capacity type, the rest on spot where there is a spot pool (else on Mixed,
else on on-demand), the fallback on on-demand; among several of a kind, the cheapest. Computed once
for each specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscaler.core.contract.spec import ModelSpec, PoolSpec
from autoscaler.core.contract.state import CapacityType

_CLASS_ORDER = {CapacityType.SPOT: 0, CapacityType.MIXED: 1, CapacityType.ON_DEMAND: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOrder:
    """Pools by index into `ModelSpec.pools`."""

    preference: tuple[int, ...]
    """Where replicas that are not the floor go: the first that can have them."""
    preferred: int
    """The first of these: the pool that the next start goes to."""
    floor: int | None
    """The pool that keeps the warm floor, where that is not the preferred pool anyway."""
    warm: int
    """The pool that keeps a warm floor, whether it is the preferred one or not."""
    preferred_floor: int
    """The warm floor, where the preferred pool is the one that keeps it; else 0."""
    fallback: int | None
    """The on-demand pool that carries the promises; None: the model has none."""
    spot: tuple[int, ...]
    """The spot pools in this order, where the preferred pool is one and none keeps the warm floor: they
    may share what is to serve (`spread`). Else none."""
    interruptible: tuple[int, ...]
    """Spot and Mixed pools, for whose doomed replicas a promise is made."""
    at_floors: dict[int, tuple[ModelSpec, PoolOrder]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By warm floor: the same model with that floor, as far as it was asked for (`floor.in_force`). It changes no
    result."""


def order_pools(spec: ModelSpec) -> PoolOrder:
    """Order the pools of a model."""
    pools = spec.pools
    preference = tuple(sorted(range(len(pools)), key=lambda index: _cost_key(pools, index)))
    on_demand = [
        index for index in preference if pools[index].capacity_type is CapacityType.ON_DEMAND
    ]
    floor_type = spec.warm_floor.capacity_type
    floor: int | None = None
    preferred_floor = 0
    warm = preference[0]
    if floor_type is not None:
        of_type = [index for index in preference if pools[index].capacity_type is floor_type]
        warm = of_type[0] if of_type else warm
        if of_type and of_type[0] == preference[0]:
            preferred_floor = spec.warm_floor.replicas
        elif of_type and spec.warm_floor.replicas > 0:
            floor = of_type[0]
    return PoolOrder(
        preference=preference,
        preferred=preference[0],
        floor=floor,
        warm=warm,
        preferred_floor=preferred_floor,
        fallback=on_demand[0] if on_demand else None,
        spot=()
        if floor_type is CapacityType.SPOT
        else tuple(
            [index for index in preference if pools[index].capacity_type is CapacityType.SPOT]
        ),
        interruptible=tuple(
            index
            for index in range(len(pools))
            if pools[index].capacity_type is not CapacityType.ON_DEMAND
        ),
    )


def _cost_key(pools: tuple[PoolSpec, ...], index: int) -> tuple[int, float, int]:
    """Order by kind, then price (not given: after those given), then place in the spec."""
    price = pools[index].price_usd_per_hour
    return (_CLASS_ORDER[pools[index].capacity_type], math.inf if price is None else price, index)
