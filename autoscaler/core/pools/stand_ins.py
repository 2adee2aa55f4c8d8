"""Where the replicas that are to serve go, and who stands in for whom.

The replicas that are to serve go to the pools in their order: the warm floor to its pool, the rest to
the preferred pool. A *stand-in* is a replica on top of these, asked for in one pool because a replica
of another pool is stuck (no node, or not ready in time) or not back yet. Two rules keep capacity from
dipping while replicas move between pools:

- Make before break: a stand-in for a replica of the preferred pool goes only once that one has been
  ready for the spec's return time.
- What a stuck replica was to serve is asked for in another pool that can have it, never in its own:
  there it is asked for already.

A worked example, floor 1 on on-demand, the rest on spot: 4 that are to serve are on-demand 1 and spot
3. One spot replica is stuck: on-demand 2, spot 3 (the stuck one waits on; should a node come, it is
ready, and after the return time on-demand goes back to 1). With a maximum of 4 instead: on-demand 2,
spot 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.pools.pool_state import PoolState
from autoscaler.core.pools.situation import Situation
from autoscaler.core.pools.slots import FLOOR, SERVING, Placement, Slot, SlotReason
from autoscaler.core.pools.spread import share_out


def count_stand_ins(pools: Sequence[PoolState], *, shared: Sequence[int], remembered: int) -> int:
    """Return how many of the current replicas stand in for some of the preferred pool (or those shared).

    They are ordinary replicas of other pools: as many as the preferred pool's are not back, and those
    that are remembered as stand-ins, which are to go on the very tick on which it is.
    """
    if len(pools) == 1:
        return 0
    elsewhere = sum([pool.ordinary for index, pool in enumerate(pools) if index not in shared])
    not_back = sum([pools[index].current - pools[index].returned for index in shared])
    return min(elsewhere, max(remembered, not_back))


def place_serving(situation: Situation, serving: int, *, promised: int) -> Placement:
    """Place replicas that are to serve, and their stand-ins. Each number is placed once a tick.

    Args:
        situation: the facts.
        serving: replicas that are to serve.
        promised: fallback replicas promised; what they cover needs no other stand-in.
    """
    found = situation.placements.get((serving, promised))
    if found is None:
        found = _place(situation, serving, promised=promised)
        situation.placements[serving, promised] = found
    return found


def _place(situation: Situation, serving: int, *, promised: int) -> Placement:
    order, pools = situation.order, situation.pools
    preferred = order.preferred
    floor = 0 if order.floor is None else min(serving, pools[order.floor].floor)
    if situation.quiet or len(pools) == 1:
        shares = _share(situation, [0] * len(pools), rest=serving - floor)
        slots = _to_slots(order, shares, floor=floor)
        not_back = unplaced = 0
        if not situation.quiet:
            alone = pools[preferred]
            not_back = max(0, serving - alone.returned) if order.interruptible else 0
            unplaced = min(alone.stuck, max(0, serving - alone.healthy))
        return Placement(
            tuple(slots), stand_ins=0, floor_stand_ins=0, not_back=not_back, unplaced=unplaced
        )
    shares = _keep_elsewhere(situation, serving=serving, floor=floor)
    rest = serving - floor - sum(shares)
    shares = _share(situation, shares, rest=rest)
    not_back = 0
    if order.interruptible:
        back = sum([_back(situation, index) for index in order.interruptible])
        not_back = max(0, sum([shares[index] for index in order.interruptible]) - back)
    covered = min(promised, not_back)
    for_preferred = _keep_stand_ins(situation, shares=shares, rest=rest, covered=covered)
    unplaced = _ask_for_stuck(situation, for_preferred, shares=shares, covered=covered)
    for_floor = [0] * len(pools)
    unplaced += _ask_for_floor(situation, for_floor, rest=rest, floor=floor)
    slots = _to_slots(order, shares, floor=floor)
    for index in range(len(pools)):
        slots[index] += (Slot(SlotReason.STAND_IN, preferred),) * for_preferred[index]
        slots[index] += (Slot(SlotReason.STAND_IN, order.floor),) * for_floor[index]
    inside = sum([for_preferred[index] + for_floor[index] for index in situation.shared])
    outside = sum(for_preferred) + sum(for_floor) - inside
    return Placement(
        tuple(slots),
        stand_ins=outside,
        floor_stand_ins=inside,
        not_back=not_back,
        unplaced=unplaced,
    )


def _share(situation: Situation, elsewhere: Sequence[int], *, rest: int) -> list[int]:
    """Give the rest to the preferred pool, or to those that share it; return what each pool serves."""
    if situation.spread is not None:
        inside = share_out(situation.spread, situation.pools, rest)
        return [one + other for one, other in zip(elsewhere, inside, strict=True)]
    shares = list(elsewhere)
    shares[situation.order.preferred] = rest
    return shares


def _to_slots(order: PoolOrder, shares: Sequence[int], *, floor: int) -> list[tuple[Slot, ...]]:
    """Write a slot for each replica of the pools' shares, and of the floor that lies apart from them."""
    slots = [(SERVING,) * share for share in shares]
    if order.floor is not None:
        slots[order.floor] = (FLOOR,) * floor + slots[order.floor]
    elif order.preferred_floor:
        warm = min(order.preferred_floor, shares[order.preferred])  # part of what the pool serves
        slots[order.preferred] = (FLOOR,) * warm + slots[order.preferred][warm:]
    return slots


def _keep_elsewhere(situation: Situation, *, serving: int, floor: int) -> list[int]:
    """Return, by pool, replicas that are to serve outside the preferred pool and the floor.

    Somebody put them there (by hand, or at the maximum where a stuck replica had to give way), and
    they serve. They go first when fewer are to serve. When the policy asks for at least what there
    is, they are stand-ins instead: the preferred pool is asked, and they go when it is back.
    """
    order = situation.order
    kept = [0] * len(situation.pools)
    shared = situation.shared
    elsewhere = sum(
        [pool.ordinary for index, pool in enumerate(situation.pools) if index not in shared]
    )
    left = elsewhere - situation.stand_ins
    proposal = situation.proposal
    grows = proposal is not None and proposal >= situation.serving_replicas
    if left == 0 or (situation.may_shrink and grows):
        return kept
    fewer = max(0, situation.serving_replicas - serving)
    left = min(left - fewer, serving - floor - order.preferred_floor)
    for index in order.preference:
        if index not in shared and left > 0:
            kept[index] = min(situation.pools[index].ordinary, left)
            left -= kept[index]
    return kept


def _back(situation: Situation, index: int) -> int:
    """Return a pool's replicas that are back, without those of its warm floor."""
    return max(0, situation.pools[index].returned - situation.pools[index].floor)


def _keep_stand_ins(
    situation: Situation, *, shares: Sequence[int], rest: int, covered: int
) -> list[int]:
    """Keep the stand-ins that are there while the preferred pool is not back, cheapest first."""
    order = situation.order
    stand_ins = [0] * len(situation.pools)
    shared = situation.shared
    allowed = rest - sum([situation.pools[index].returned for index in shared]) - covered
    for index in order.preference:
        if index in shared or allowed <= 0:
            continue
        stand_ins[index] = min(situation.pools[index].ordinary - shares[index], allowed)
        allowed -= min(stand_ins[index], max(0, _back(situation, index) - shares[index]))
    return stand_ins


def _ask_for_stuck(
    situation: Situation, stand_ins: list[int], *, shares: Sequence[int], covered: int
) -> int:
    """Ask elsewhere for the preferred pool's stuck replicas; return how many nobody can have.

    Changes `stand_ins`. Of the stuck ones, those that replace evicted replicas are covered by their
    promises already.
    """
    order, shared = situation.order, situation.shared
    need = 0
    for index in shared:
        pool = situation.pools[index]
        need += min(pool.stuck, max(0, shares[index] - pool.healthy - pool.doomed))
    if need == 0:
        return 0
    doomed = sum([situation.pools[index].doomed for index in order.interruptible])
    need -= max(0, covered - doomed)
    need -= sum(
        [
            max(0, stand_ins[index] - other.stuck)
            for index, other in enumerate(situation.pools)
            if index not in shared
        ]
    )
    return _ask_elsewhere(
        situation, stand_ins, need=need, stuck_pool=order.preferred, beside=shared
    )


def _ask_for_floor(situation: Situation, stand_ins: list[int], *, rest: int, floor: int) -> int:
    """Let other pools stand in for a warm floor that is not ready. Changes `stand_ins`.

    The preferred pool first, with what it has and need not serve; return how many nobody can have.
    """
    order = situation.order
    if order.floor is None:
        return 0
    pool = situation.pools[order.floor]
    spare = max(0, sum([situation.pools[index].current for index in situation.shared]) - rest)
    stand_ins[order.preferred] = min(spare, max(0, floor - pool.ready))
    need = min(pool.stuck, max(0, floor - pool.healthy - pool.doomed))
    need -= stand_ins[order.preferred]
    return _ask_elsewhere(
        situation, stand_ins, need=need, stuck_pool=order.floor, beside=(order.floor,)
    )


def _ask_elsewhere(
    situation: Situation,
    stand_ins: list[int],
    *,
    need: int,
    stuck_pool: int,
    beside: Sequence[int],
) -> int:
    """Ask the first pool that can have them, none of those `beside`; return how many nobody can have."""
    if need <= 0:
        return 0
    kind = situation.spec.pools[stuck_pool].capacity_type
    able = [
        index
        for index in situation.order.preference
        if index not in beside and situation.pools[index].stuck == 0
    ]
    # A pool of the same capacity type before all others, so that a floor stays a floor.
    able.sort(key=lambda index: situation.spec.pools[index].capacity_type is not kind)
    if not able:
        return need
    stand_ins[able[0]] += need
    return 0
