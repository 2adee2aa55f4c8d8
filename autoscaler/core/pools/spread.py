"""Several spot pools in several places: which of them is asked for how many.

Where a model has two or more spot pools and nodes say in which zones they are, they share what is to
serve on spot, as one preferred pool would have it:

- What serves stays where it is: nobody is moved for the sake of balance.
- New replicas, and those that replace doomed ones, go where no place cools (`supply.cooldown`), to the
  cheapest such pools, among these to the zone that has the fewest: so the largest zone, which a loss may
  take at once, is as small as it can be. Pools whose zone is not known count as one.
- Replicas that have no node yet leave a pool that cools, and are asked for elsewhere.
- Where all places cool, the one that has cooled first is asked, as a single pool would be: a pod that
  waits costs nothing. On-demand stands in meanwhile.
- Fewer are taken from where a replica is not ready yet, then from the largest zone.

A worked example: zones a, b and c with 4, 2 and 0 replicas, and 8 are to serve: one more in c, and then
one more in c, as it still has the fewest. Zone a is noticed with two nodes: it cools, and keeps the two
that are left; of the two that are missed b and c get one each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import NO_NODE, ReplicaColumns
from autoscaler.core.pools.pool_state import PoolState
from autoscaler.core.supply.cooldown import NEVER_COOLED, Places
from autoscaler.core.supply.doomed import Doom


class Member(NamedTuple):
    """One of the spot pools."""

    pool: int
    """Into `ModelSpec.pools`."""
    price: float
    """Of a replica; infinite where none is given."""
    zone: str
    cooling_until: float
    """NEVER_COOLED: it does not cool."""
    kept: int
    """Replicas that stay here, whatever else happens."""


class Spread(NamedTuple):
    """The spot pools of a model that share what is to serve on spot."""

    members: tuple[Member, ...]
    """In the order of preference."""
    missing: Mapping[str, float]
    """By zone that was lost whole: the share of the time in which what it held was missing."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Of the pools."""
        return tuple([member.pool for member in self.members])

    @property
    def open_members(self) -> tuple[Member, ...]:
        """Those that may be asked for more: of places that do not cool."""
        return tuple([each for each in self.members if each.cooling_until == NEVER_COOLED])


def make_spread(
    places: Places,
    *,
    spec: ModelSpec,
    replicas: ReplicaColumns,
    pools: Sequence[PoolState],
    doom: Doom | None,
) -> Spread:
    """Say what each pool keeps, and how its place is doing."""
    members = []
    for index, place in places.pools.items():
        pool = pools[index]
        kept = pool.current
        if place.cooling_until != NEVER_COOLED:
            # those without a node that were asked for before it cooled may be on their way
            staying = (replicas.pool == index) & ~replicas.deleting
            bound = replicas.node != NO_NODE
            coming = np.isnan(replicas.unschedulable_since) & (
                replicas.created_at < place.cooling_since
            )
            staying &= bound | coming
            if doom is not None:
                staying &= ~doom.doomed[replicas.node]
            kept = min(kept, int(np.count_nonzero(staying)))
        price = spec.pools[index].price_usd_per_hour
        members.append(
            Member(
                pool=index,
                price=math.inf if price is None else price,
                zone=place.zone,
                cooling_until=place.cooling_until,
                kept=kept,
            )
        )
    return Spread(members=tuple(members), missing=places.missing)


def share_out(spread: Spread, pools: Sequence[PoolState], replicas: int) -> list[int]:
    """Return how many of the `replicas` that are to serve on spot each pool of the model has."""
    shares = [0] * len(pools)
    for member in spread.members:
        shares[member.pool] = member.kept
    missing = replicas - sum(shares)
    for _ in range(missing):
        shares[_next_of(spread, shares)] += 1
    for _ in range(-missing):
        shares[_least_missed(spread, pools, shares)] -= 1
    return shares


def _next_of(spread: Spread, shares: Sequence[int]) -> int:
    """Return the pool that one more is asked of."""
    asked = spread.open_members
    if not asked:
        return min(spread.members, key=lambda each: (each.cooling_until, each.price)).pool
    zones = by_zone(spread, shares)
    return min(asked, key=lambda each: (each.price, zones[each.zone], shares[each.pool])).pool


def _least_missed(spread: Spread, pools: Sequence[PoolState], shares: Sequence[int]) -> int:
    """Return the pool that one is taken from; in vain, where none has any."""
    zones = by_zone(spread, shares)

    def rank(member: Member) -> tuple[bool, bool, float, int, int]:
        some = shares[member.pool] > 0
        starting = shares[member.pool] > pools[member.pool].ready
        return (some, starting, member.price, zones[member.zone], shares[member.pool])

    return max(reversed(spread.members), key=rank).pool


def by_zone(spread: Spread, shares: Sequence[int]) -> dict[str, int]:
    """Return the replicas of each zone; pools whose zone is not known count as one zone."""
    zones: dict[str, int] = {}
    for member in spread.members:
        zones[member.zone] = zones.get(member.zone, 0) + shares[member.pool]
    return zones
