"""Placement over pools: the warm floor, the rest, and who stands in for whom.

Three rules keep capacity from dipping while replicas move between pools:

- Make before break: a replica that stands in for one of a pool that is preferred goes only once that
  one has been ready for the spec's return time.
- The level of a stuck replica is asked for in another pool that can have it, never in its own: there
  it is asked for already.
- A pool that holds doomed replicas is not cut below what it is to keep plus those: its ReplicaSet
  does not know who is doomed and might keep just them.

A worked example, floor 1 on on-demand, the rest on spot: level 4 is on-demand 1 and spot 3. One spot
replica is stuck: on-demand 2, spot 3 (the stuck one waits on; should a node come, it is ready, and
after the return time on-demand goes back to 1). With a maximum of 4 instead: on-demand 2, spot 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from autoscaler.core.pools.situation import PoolState, Situation, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """How a level lies on the pools."""

    beyond: tuple[int, ...]
    """By pool, replicas beyond its base that are not the preferred pool's rest: those kept where
    they serve, and stand-ins."""
    stand_ins: int
    """Asked for on top of the level."""
    outside: int
    """Of these, outside the preferred pool."""
    rest: int
    """What the preferred pool is to serve."""
    gap: int
    """Of the replicas asked for on spot, those that are not back: what a fallback may stand in for."""
    unplaced: int
    """Stuck replicas for which no other pool can be had."""


class Placement(NamedTuple):
    """Where the replicas are asked for."""

    desired: tuple[int, ...]
    """By pool, fallback included."""
    standing: int
    """Of the desired or current replicas: stand-ins outside the preferred pool."""
    unplaced: int
    """Stuck replicas for which no other pool can be had."""


def standing_in(pools: list[PoolState], *, preferred: int, remembered: int) -> int:
    """Return how many of the current replicas stand in for some of the preferred pool.

    Those outside it and beyond their pool's base, as far as the preferred pool's are not back; and
    those that are remembered as such, which are to go on the very tick on which it is.
    """
    if len(pools) == 1:
        return 0
    outside = sum([pool.beyond for index, pool in enumerate(pools) if index != preferred])
    return min(outside, max(remembered, pools[preferred].current - pools[preferred].returned))


def arrange(s: Situation, *, level: int, promised: int, stand_ins: bool = True) -> Arrangement:
    """Lay a level on the pools.

    Args:
        s: the facts.
        level: replicas that are to serve.
        promised: fallback replicas promised; what they cover needs no other stand-in.
        stand_ins: whether to stand in for stuck replicas and those that are not back.
    """
    pools = s.pools
    if s.quiet:
        floor = 0 if s.layout.floor is None else min(level, pools[s.layout.floor].base)
        return Arrangement(
            beyond=(0,) * len(pools),
            stand_ins=0,
            outside=0,
            rest=level - floor,
            gap=0,
            unplaced=0,
        )
    if len(pools) == 1:
        gap = max(0, level - pools[0].returned) if s.layout.interruptible else 0
        stuck = min(pools[0].stuck, max(0, level - pools[0].healthy))
        return Arrangement(beyond=(0,), stand_ins=0, outside=0, rest=level, gap=gap, unplaced=stuck)
    floor = 0 if s.layout.floor is None else min(level, pools[s.layout.floor].base)
    kept = _keep_level(s, level=level, floor=floor)
    rest = level - floor - sum(kept)
    gap = 0
    if s.layout.interruptible:
        back = sum([_net_returned(s, index) for index in s.layout.interruptible])
        kept_there = sum([kept[index] for index in s.layout.interruptible])
        gap = max(0, rest + kept_there - back)
    if not stand_ins:
        return Arrangement(
            beyond=tuple(kept), stand_ins=0, outside=0, rest=rest, gap=gap, unplaced=0
        )
    covered = min(promised, gap)
    extra = _keep_stand_ins(s, kept=kept, rest=rest, covered=covered)
    unplaced = _stand_in_for_stuck(s, extra=extra, rest=rest, covered=covered)
    unplaced += _stand_in_for_floor(s, extra=extra, rest=rest, floor=floor)
    return Arrangement(
        beyond=tuple([a + b for a, b in zip(kept, extra, strict=True)]),
        stand_ins=sum(extra),
        outside=sum(extra) - extra[s.layout.preferred],
        rest=rest,
        gap=gap,
        unplaced=unplaced,
    )


def at_level(s: Situation, wanted: Wanted, level: int, *, promised: int | None = None) -> Wanted:
    """Return what is asked for at another level, stand-ins recomputed."""
    if s.quiet or not wanted.stand_ins:
        return Wanted(level, level, wanted.stand_ins)
    arrangement = arrange(s, level=level, promised=s.promised if promised is None else promised)
    return Wanted(level, level + arrangement.stand_ins, stand_ins=True)


def place(s: Situation, wanted: Wanted) -> Placement:
    """Put what the guards let through on the pools; the fallback comes on top."""
    preferred = s.layout.preferred
    plan = wanted.plan
    if s.quiet and s.may_shrink and not s.pinned and plan is None:
        return _place_quietly(s, wanted)
    promised = s.promised if plan is None else plan.total
    fallback = 0 if plan is None else plan.in_force
    arrangement = arrange(s, level=wanted.level, promised=promised, stand_ins=wanted.stand_ins)
    desired = list(arrangement.beyond)
    if s.layout.floor is not None:
        desired[s.layout.floor] += min(wanted.level, s.pools[s.layout.floor].base)
    elsewhere = sum(desired) - desired[preferred]
    room = max(0, wanted.asked - min(s.layout.preferred_floor, wanted.asked))
    if elsewhere > room:
        _trim(s, desired, surplus=elsewhere - room)
        elsewhere = room
    desired[preferred] = wanted.asked - elsewhere
    if fallback and s.layout.fallback is not None:
        desired[s.layout.fallback] += fallback
    planned = list(desired)
    for index, pool in enumerate(s.pools):
        if desired[index] >= pool.current:
            continue
        if not s.may_shrink or pool.pinned:
            desired[index] = pool.current
        elif pool.doomed:
            desired[index] = min(pool.current, desired[index] + pool.doomed)
    # Holding a pool must not break the bound.
    surplus = sum(desired) - max(sum(planned), s.spec.max_replicas + fallback)
    if surplus > 0:
        _give_way(s, desired, planned=planned, fallback=fallback, surplus=surplus)
    return Placement(
        desired=tuple(desired),
        standing=max(arrangement.outside, s.standing),
        unplaced=arrangement.unplaced,
    )


def _place_quietly(s: Situation, wanted: Wanted) -> Placement:
    """Do the same where nothing is doomed, stuck, stood in for or held."""
    desired = [0] * len(s.pools)
    desired[s.layout.preferred] = wanted.asked
    if s.layout.floor is not None:
        floor = min(wanted.level, wanted.asked, s.pools[s.layout.floor].base)
        desired[s.layout.preferred] -= floor
        desired[s.layout.floor] = floor
    return Placement(tuple(desired), s.standing, 0)


def _keep_level(s: Situation, *, level: int, floor: int) -> list[int]:
    """Return, by pool, what is part of the level outside the preferred pool and its base.

    Somebody put them there (by hand, or at the maximum where a stuck replica had to give way), and
    they serve. They go first when the level falls. When the policy asks for at least what there
    is, they are stand-ins instead: the preferred pool is asked, and they go when it is back.
    """
    preferred = s.layout.preferred
    kept = [0] * len(s.pools)
    outside = sum([pool.beyond for index, pool in enumerate(s.pools) if index != preferred])
    left = outside - s.standing
    if left == 0 or (s.may_shrink and s.proposal is not None and s.proposal >= s.level):
        return kept
    left = min(left - max(0, s.level - level), level - floor - s.layout.preferred_floor)
    for index in s.layout.preference:
        if index != preferred and left > 0:
            kept[index] = min(s.pools[index].beyond, left)
            left -= kept[index]
    return kept


def _net_returned(s: Situation, index: int) -> int:
    """Return a pool's replicas that are back, without those of its warm floor."""
    return max(0, s.pools[index].returned - s.pools[index].base)


def _keep_stand_ins(s: Situation, *, kept: list[int], rest: int, covered: int) -> list[int]:
    """Keep the stand-ins that are there as long as the preferred pool is not back, cheapest first."""
    preferred = s.layout.preferred
    extra = [0] * len(s.pools)
    allowed = rest - s.pools[preferred].returned - covered
    for index in s.layout.preference:
        if index == preferred or allowed <= 0:
            continue
        extra[index] = min(s.pools[index].beyond - kept[index], allowed)
        allowed -= min(extra[index], max(0, _net_returned(s, index) - kept[index]))
    return extra


def _stand_in_for_stuck(s: Situation, *, extra: list[int], rest: int, covered: int) -> int:
    """Ask elsewhere for the preferred pool's stuck replicas; return how many nobody can have.

    Changes `extra`. Of the stuck ones, those that replace evicted replicas are covered by their
    promises already.
    """
    preferred = s.layout.preferred
    pool = s.pools[preferred]
    need = min(pool.stuck, max(0, rest - pool.healthy - pool.doomed))
    if need == 0:
        return 0
    doomed = sum([s.pools[index].doomed for index in s.layout.interruptible])
    need -= max(0, covered - doomed)
    need -= sum(
        [
            max(0, extra[index] - other.stuck)
            for index, other in enumerate(s.pools)
            if index != preferred
        ]
    )
    return _ask_elsewhere(s, extra=extra, need=need, stuck_pool=preferred)


def _stand_in_for_floor(s: Situation, *, extra: list[int], rest: int, floor: int) -> int:
    """Let the preferred pool stand in for a warm floor that is not ready. Changes `extra`."""
    if s.layout.floor is None:
        return 0
    preferred = s.layout.preferred
    pool = s.pools[s.layout.floor]
    extra[preferred] = min(max(0, s.pools[preferred].current - rest), max(0, floor - pool.ready))
    need = min(pool.stuck, max(0, floor - pool.healthy - pool.doomed)) - extra[preferred]
    return _ask_elsewhere(s, extra=extra, need=need, stuck_pool=s.layout.floor)


def _ask_elsewhere(s: Situation, *, extra: list[int], need: int, stuck_pool: int) -> int:
    if need <= 0:
        return 0
    kind = s.spec.pools[stuck_pool].capacity_type
    able = [
        index for index in s.layout.preference if index != stuck_pool and s.pools[index].stuck == 0
    ]
    # A pool of the same capacity type before all others, so that a floor stays a floor.
    able.sort(key=lambda index: s.spec.pools[index].capacity_type is not kind)
    if not able:
        return need
    extra[able[0]] += need
    return 0


def _trim(s: Situation, desired: list[int], *, surplus: int) -> None:
    """Take a surplus from the pools but the preferred one, most expensive first, the floor last."""
    order = [index for index in reversed(s.layout.preference) if index != s.layout.floor]
    if s.layout.floor is not None:
        order.append(s.layout.floor)
    for index in order:
        if index != s.layout.preferred:
            cut = min(desired[index], surplus)
            desired[index] -= cut
            surplus -= cut


def _give_way(
    s: Situation, desired: list[int], *, planned: list[int], fallback: int, surplus: int
) -> None:
    """Give way until the bound is kept.

    In this order: pools that were to grow beyond their floor; those that hold doomed replicas; floors
    that were to be filled; and last, where somebody lowered the bound itself, those that are not to be
    cut. The fallback does not give way: it is what may exceed the bound.
    """
    order = tuple(reversed(s.layout.preference))
    promised = [fallback if index == s.layout.fallback else 0 for index in range(len(s.pools))]
    grown = [
        pool.current + max(0, due - pool.fallback)
        for pool, due in zip(s.pools, promised, strict=True)
    ]
    floors = [pool.base + due for pool, due in zip(s.pools, promised, strict=True)]
    floors[s.layout.preferred] += s.layout.preferred_floor
    firm = [not s.may_shrink or pool.pinned for pool in s.pools]
    limits = (
        [max(grown[index], floors[index]) for index in range(len(grown))],
        [desired[index] if firm[index] else planned[index] for index in range(len(grown))],
        grown,
        planned,
    )
    for limit in limits:
        for index in order:
            cut = max(0, min(desired[index] - limit[index], surplus))
            desired[index] -= cut
            surplus -= cut
