"""From the number to the pools: a slot for each replica that is asked for.

The slots of those that are to serve and their stand-ins (`stand_ins`) are cut to what may be asked for,
the fallback comes on top, and a pool that is not to be cut keeps what it has:

- Nothing is cut while nothing may be scaled down, nor is a pool that rolls out or whose promises cannot
  be read.
- A pool that holds doomed replicas is not cut below what it is to keep plus those: its ReplicaSet
  does not know who is doomed and might keep just them.
"""

from __future__ import annotations

from autoscaler.core.contract.spec import Pause
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation
from autoscaler.core.pools.slots import FALLBACK, HELD, HELD_DOOMED, Placement, Slot, SlotReason
from autoscaler.core.pools.stand_ins import place_serving


def place(situation: Situation, count: ReplicaCount) -> Placement:
    """Put what the guards let through on the pools; the fallback comes on top."""
    order = situation.order
    promised = situation.promised if count.plan is None else count.plan.total
    serving = place_serving(situation, count.serving, promised=promised)
    calm = situation.quiet and situation.may_shrink and not situation.pinned
    if calm and count.plan is None and count.asked == serving.total:
        return serving  # almost every tick: there is nothing to cut, to add or to hold
    slots = [list(pool) for pool in serving.slots]
    _fit(situation, slots, asked=count.asked)
    if count.fallback and order.fallback is not None:
        slots[order.fallback][:0] = [FALLBACK] * count.fallback
    planned = [len(pool) for pool in slots]
    _hold(situation, slots)
    # Holding a pool must not break the bound. What replaces its doomed replicas in other spot pools may:
    # they are within it and about to be gone.
    going = 0
    if situation.spread is not None:
        going = sum([pool.count(HELD_DOOMED) for pool in slots])
    bound = situation.spec.max_replicas
    if situation.spec.pause is Pause.SCALE_UP:
        bound = min(bound, situation.asked_replicas)
    most = max(sum(planned), bound + count.fallback) + going
    if situation.spec.pause is Pause.SCALE_DOWN:  # nothing goes, though somebody lowered the bound
        most = max(most, sum([pool.current for pool in situation.pools]))
    surplus = sum([len(pool) for pool in slots]) - most
    if surplus > 0:
        _give_way(situation, slots, planned=planned, fallback=count.fallback, surplus=surplus)
    return Placement(
        slots=tuple([tuple(pool) for pool in slots]),
        stand_ins=max(serving.stand_ins, situation.stand_ins),
        floor_stand_ins=_floor_stand_ins(situation, slots),
        not_back=serving.not_back,
        unplaced=serving.unplaced,
    )


def hold_pools(situation: Situation) -> Placement:
    """Ask of every pool what it has; of one that cannot be read, nothing."""
    return Placement(
        slots=tuple([(HELD,) * pool.current for pool in situation.pools]),
        stand_ins=situation.stand_ins,
        floor_stand_ins=situation.floor_stand_ins,
        not_back=0,
        unplaced=0,
    )


def leave_alone(situation: Situation, count: ReplicaCount) -> Placement:
    """Ask of every pool what it has, for somebody else scales it; but for the bounds, and the fallback on top."""
    slots = [[HELD] * (pool.current - pool.fallback) for pool in situation.pools]
    order = situation.order
    more = count.asked - situation.asked_replicas
    slots[order.preferred].extend([HELD] * max(0, more))
    less = max(0, -more)
    for keeps_floor in (True, False):  # floors last
        for index in reversed(order.preference):
            floor = situation.pools[index].floor
            floor += order.preferred_floor if index == order.preferred else 0
            spare = len(slots[index]) - (floor if keeps_floor else 0)
            less -= _cut(slots[index], min(less, max(0, spare)))
    if order.fallback is not None:
        slots[order.fallback][:0] = [FALLBACK] * count.fallback
    return hold_pools(situation)._replace(slots=tuple([tuple(pool) for pool in slots]))


def hold_at(situation: Situation, replicas: int) -> Placement:
    """Ask for so many in all, whatever the pools' state: more of the preferred one; fewer of the shared ones first.

    Those keep their warm floor as long as others have more; the one that keeps the floor elsewhere gives way last.
    """
    order = situation.order
    kept = [pool.current for pool in situation.pools]
    kept[order.preferred] += max(0, replicas - sum(kept))
    others = [index for index in reversed(order.preference) if index not in situation.shared]
    others.sort(key=lambda index: index == order.floor)
    for index, least in (
        *((index, order.preferred_floor) for index in situation.shared),
        *((index, 0) for index in others),
        *((index, 0) for index in situation.shared),
    ):
        kept[index] -= min(max(0, kept[index] - least), max(0, sum(kept) - replicas))
    elsewhere = sum(kept) - sum([kept[index] for index in situation.shared])
    return Placement(
        slots=tuple([(HELD,) * replicas for replicas in kept]),
        stand_ins=min(situation.stand_ins, elsewhere),
        floor_stand_ins=min(situation.floor_stand_ins, sum(kept) - elsewhere),
        not_back=0,
        unplaced=0,
    )


def _floor_stand_ins(situation: Situation, slots: list[list[Slot]]) -> int:
    """Count those inside the preferred pool, or those shared: what is held of them stands in still."""
    inside = [slot for index in situation.shared for slot in slots[index]]
    kept = sum([slot.reason is SlotReason.STAND_IN for slot in inside])
    held = sum([slot.reason is SlotReason.HELD for slot in inside])
    return kept + min(held, max(0, situation.floor_stand_ins - kept))


def _fit(situation: Situation, slots: list[list[Slot]], *, asked: int) -> None:
    """Make it as many as are asked for. Changes `slots`.

    The preferred pool gives way first, down to its warm floor; then the others, the most expensive
    first, the one that keeps the warm floor last. Where more are asked for, the preferred pool holds
    them.
    """
    order, shared = situation.order, situation.shared
    inside = sum([len(slots[index]) for index in shared])
    elsewhere = sum([len(pool) for pool in slots]) - inside
    surplus = elsewhere - (asked - min(order.preferred_floor, asked))
    if surplus > 0:
        others = [index for index in reversed(order.preference) if index not in shared]
        others.sort(key=lambda index: index == order.floor)
        for index in others:
            surplus -= _cut(slots[index], surplus)
        elsewhere = asked - min(order.preferred_floor, asked)
    more = asked - elsewhere - inside
    for _ in range(-more):
        _cut(max([slots[index] for index in shared], key=len), 1)
    if more > 0:
        slots[order.preferred].extend([HELD] * more)


def _hold(situation: Situation, slots: list[list[Slot]]) -> None:
    """Keep what must not be cut. Changes `slots`."""
    for pool, kept in zip(situation.pools, slots, strict=True):
        gone = pool.current - len(kept)
        if gone <= 0:
            continue
        if not situation.may_shrink or pool.pinned:
            kept.extend([HELD] * gone)
        elif pool.doomed:
            kept.extend([HELD_DOOMED] * min(gone, pool.doomed))


def _give_way(
    situation: Situation,
    slots: list[list[Slot]],
    *,
    planned: list[int],
    fallback: int,
    surplus: int,
) -> None:
    """Give way until the bound is kept. Changes `slots`.

    In four rounds, each over all pools, the most expensive first: what a pool was to grow by beyond its
    floor; what is held for doomed replicas; floors that were to be filled; and last, where somebody
    lowered the bound itself, what is not to be cut. The fallback does not give way: it is what may
    exceed the bound.
    """
    order = situation.order
    keeps = [
        _keeps(situation, index, held=len(slots[index]), planned=planned[index], fallback=fallback)
        for index in range(len(slots))
    ]
    for number in range(4):
        for index in reversed(order.preference):
            over = min(len(slots[index]) - keeps[index][number], surplus)
            if over > 0:
                surplus -= _cut(slots[index], over)


def _keeps(
    situation: Situation, index: int, *, held: int, planned: int, fallback: int
) -> tuple[int, int, int, int]:
    """Return what a pool keeps in each of the four rounds in which pools give way."""
    order, pool = situation.order, situation.pools[index]
    due = fallback if index == order.fallback else 0
    grown_by_fallback = pool.current + max(0, due - pool.fallback)
    floor = pool.floor + due
    if index == order.preferred:
        floor += order.preferred_floor
    firm = not situation.may_shrink or pool.pinned
    return (max(grown_by_fallback, floor), held if firm else planned, grown_by_fallback, planned)


def _cut(slots: list[Slot], replicas: int) -> int:
    """Take the last slots of a pool; return how many that was."""
    gone = min(len(slots), replicas)
    del slots[len(slots) - gone :]
    return gone
