"""Loss budget: what a model may lose with a zone.

Where a model has several spot pools in zones that are known, a whole zone may go at once. Two things are
asked of what is left:

- the warm floor, where it lies on any capacity: always, whichever zone goes;
- the offered load, as far as the objective asks. What a zone holds is missing from the end of the notice's
  lead, until which it serves, until what replaces it has started: over the time that was watched, for
  some share of it (`supply.cooldown`). Over all zones, this share of what is then short of the load must
  not be more than the objective allows to miss. So a zone that was never lost whole asks for nothing, and
  one that goes every hour for much.

Where a played rule has the proposal (`candidates`), the load is left to it: what is missed when a zone goes
is missed in the very account that the rule was chosen by, and asking here too would pay for it twice. The
floor is asked for all the same.

Spreading comes first, and costs nothing (`pools.spread`). Where the zones do not leave enough even so,
more spot replicas are asked for, which go to the other zones: cheaper than as many on demand as it would
take. Where there is no other zone that can be asked, none are.

An example: 9 replicas in three zones, 3 each; 8 are needed, starts take 180 s, and leads 30. Zone a is
lost whole once in an hour: what it holds is missing 150 s of 3,600, which is 4.2 % of the time, and 2 of
the 8 are then short: 0.083 on average. An objective of 99 % allows 0.08 of 8. So one more is asked for,
in another zone: 1 is short, 0.042 on average. Lost every two hours, none would be asked for.

The load is its mean over a cold start, for which a loss lasts. And what was asked for stays for a cold
start after it was last asked for: load that swings about the edge would else start a replica and give it
up again on each tick.
"""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.hpa import stabilize
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.replica_count import ReplicaCount, with_stand_ins
from autoscaler.core.pools.situation import Situation
from autoscaler.core.pools.spread import Spread, by_zone, share_out
from autoscaler.core.tuning import ROUNDING


def adjust(situation: Situation, count: ReplicaCount, memory: ModelMemory, /) -> Verdict | None:
    """Ask for as many more as the other zones need to be enough without the one that is lost.

    And keep what was asked for within a cold start.
    """
    asked = _ask(situation, count)
    if asked is None and not memory.spare:
        return None
    enough = count.serving if asked is None else asked.after.serving
    kept = stabilize(
        memory.spare,
        at=situation.at,
        current=situation.serving_replicas,
        proposal=enough,
        down_window_s=situation.cold_start_s,
        remember=0 if asked is None else enough,
    ).replicas
    if not any(replicas for _, replicas in memory.spare):
        memory.spare.clear()
    if kept <= enough:
        return asked
    return Verdict(
        with_stand_ins(situation, kept),
        Reason.LOSS_BUDGET,
        f"within the last {situation.cold_start_s:.0f} s {kept} were asked for, lest a zone that is lost "
        "takes too much",
    )


def _ask(situation: Situation, count: ReplicaCount) -> Verdict | None:
    """Ask for as many more as would be enough now."""
    spread, serving = situation.spread, count.serving
    if spread is None or not (_asks_for_load(situation, spread) or _needed_floor(situation)):
        return None
    before = _shortage(situation, spread, serving)
    # More never makes it worse: the least number of which twice as many are no better.
    few, many = serving, 2 * serving
    best = _shortage(situation, spread, many)
    if before <= best + ROUNDING:
        return None
    while many - few > 1:
        middle = (few + many) // 2
        if _shortage(situation, spread, middle) <= best + ROUNDING:
            many = middle
        else:
            few = middle
    largest = max(by_zone(spread, _shares(situation, spread, serving)).values())
    return Verdict(
        with_stand_ins(situation, many),
        Reason.LOSS_BUDGET,
        f"a zone that is lost may take up to {largest} of {serving}{_lost(spread)}: {before:.2g} replicas' "
        f"worth more than may be missed; with {many} it is {best:.2g}",
    )


def _asks_for_load(situation: Situation, spread: Spread) -> bool:
    return bool(spread.missing) and not situation.counts_losses


def _lost(spread: Spread) -> str:
    """Say which zone is missing for longest."""
    if not spread.missing:
        return ""
    zone = max(spread.missing, key=spread.missing.__getitem__)
    named = f"zone {zone}" if zone else "a zone without a name"
    return f" ({named} is missing {100.0 * spread.missing[zone]:.2g} % of the time)"


def _needed_floor(situation: Situation) -> int:
    """Return the warm floor, where it may be lost with a zone."""
    floor = situation.spec.warm_floor
    return floor.replicas if floor.capacity_type is None else 0


def _shortage(situation: Situation, spread: Spread, serving: int) -> float:
    """Return what is short with so many: of the floor in the worst case, and on average of the load.

    In replicas; of the load, what the objective does not allow to miss. 0: the budget is kept.
    """
    zones = by_zone(spread, _shares(situation, spread, serving))
    short = float(max(0, _needed_floor(situation) - serving + max(zones.values())))
    # What waits is cleared sooner than another replica starts, and asks for none to be spare.
    load = situation.needed if situation.offered_lately is None else situation.offered_lately
    if load is None or not _asks_for_load(situation, spread):
        return short
    missed = sum(
        [
            share * max(0.0, load - (serving - zones.get(zone, 0)))
            for zone, share in spread.missing.items()
            if zones.get(zone)
        ]
    )
    return short + max(0.0, missed - load * (1.0 - situation.spec.objective.attainment_ratio))


def _shares(situation: Situation, spread: Spread, serving: int) -> list[int]:
    """Return where so many would be; the warm floor that lies apart is in none of the zones."""
    order = situation.order
    floor = 0 if order.floor is None else min(serving, situation.pools[order.floor].floor)
    return share_out(spread, situation.pools, serving - floor)
