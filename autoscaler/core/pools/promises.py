"""On-demand replicas owed for doomed nodes: promised, kept, released.

A promise is written once per node on the on-demand scale target, before the act, and never adds to
itself: what is promised is read from there, and a node's replicas that were there when it was made
make no second one. How much of the promises is in force is computed anew on every tick:

    min(sum of promises, replicas asked for on spot - those not doomed and back for the return time)

So the spot pool's return releases exactly, and a crash between any two writes changes nothing.

Replicas of on-demand pools on *lost* nodes are stood in for too, as long as their pods are there: a
ReplicaSet replaces a pod only once it is deleted, and for a node that is gone that takes minutes. So are
those on nodes that somebody empties at his own pace (*disruption*): the promise is made before he evicts,
and is released with the eviction, for then the ReplicaSet makes another pod by itself. Where a notice
lets us evict, the ReplicaSet replaces at once; raising that Deployment too would buy double.

Who empties a node may be quicker than any word about it: the replicas of spot pools that were told to go
from a node since its notice are owed for as those that are still there.

For a node *at risk* as much is promised as for a doomed one, though nothing there is drained: it is warm
elsewhere when the notice comes, and that makes no second promise. When the risk goes, so does the promise.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from autoscaler.core.contract.spec import Pause
from autoscaler.core.contract.state import CapacityType, InterruptionKind, Promise
from autoscaler.core.pools.situation import Situation
from autoscaler.core.pools.stand_ins import place_serving
from autoscaler.core.supply.doomed import DoomedNode


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


def plan_promises(situation: Situation, *, serving: int) -> PromisePlan:
    """Plan the promises for so many serving replicas, which have passed the other guards."""
    pool = situation.order.fallback
    if pool is None:
        return PromisePlan()
    observed = situation.observation.pools[pool]
    if not observed.promises_readable:
        # Somebody broke the annotation. It is left alone, and so is the fallback that we know of.
        return PromisePlan(in_force=situation.pools[pool].fallback)
    if situation.spec.pause is Pause.ALL or (situation.left_alone and situation.locked(pool)):
        return PromisePlan(promises=observed.promises, in_force=situation.pools[pool].fallback)
    if situation.doom is None and not observed.promises:
        return PromisePlan()
    needed = _forecast_needs(situation, serving=serving)
    raised = _raise(situation, serving=needed, promises=observed.promises)
    renewed = {promise.node for promise in raised}
    promises = tuple(
        sorted(
            [*(old for old in observed.promises if old.node not in renewed), *raised],
            key=lambda promise: promise.node,
        )
    )
    total = sum([promise.replicas for promise in promises])
    in_force = _in_force(situation, serving=serving, promised=total)
    if not situation.may_shrink or situation.pools[pool].pinned:
        in_force = min(total, max(in_force, situation.pools[pool].fallback))
        if in_force <= situation.promised:
            # What stands in for nothing is not promised: it would go again with the next look.
            promises, renewed = observed.promises, set()
    else:
        promises = _release(situation, promises, surplus=total - in_force)
        total = in_force
    return PromisePlan(
        promises=promises,
        in_force=in_force,
        raised=tuple([promise for promise in promises if promise.node in renewed]),
        released=max(0, situation.promised - total),
    )


def _forecast_needs(situation: Situation, *, serving: int) -> int:
    """Return how many are to be there by what the policy foresees over a cold start and beyond.

    What only waits out a dip, and would go in a few minutes, is worth keeping; it is not worth a start on
    on-demand. Where nothing is foreseen yet, or nothing may be given up, it is what is to serve: a notice is
    no way around the guards.
    """
    if situation.proposal is None or not (situation.foresees and situation.may_shrink):
        return serving
    spec = situation.spec
    return min(serving, max(situation.proposal, spec.min_replicas, spec.warm_floor.replicas))


def _in_force(situation: Situation, *, serving: int, promised: int) -> int:
    """Return how much of the promises still stands in for something."""
    not_back = 0
    if situation.spec.spot.on_demand_fallback:
        not_back = place_serving(situation, serving, promised=promised).not_back
    lost = sum(
        [
            pool.lost
            for pool, spec in zip(situation.pools, situation.spec.pools, strict=True)
            if spec.capacity_type is CapacityType.ON_DEMAND
        ]
    )
    return min(promised, not_back + lost + _moved_on_demand(situation))


def _moved_on_demand(situation: Situation) -> int:
    """Count the replicas of on-demand pools that somebody is about to evict, and has not yet."""
    if situation.doom is None:
        return 0
    pools = situation.observation.replicas.pool
    return sum(
        [
            int(pools[row]) not in situation.order.interruptible
            for node in situation.doom.nodes
            if node.kind is InterruptionKind.DISRUPTION
            for row in situation.stock.doomed_rows.get(node.index, ())
        ]
    )


def _raise(
    situation: Situation, *, serving: int, promises: tuple[Promise, ...]
) -> tuple[Promise, ...]:
    """Return the promises to be made now: one for each node, doomed or at risk, that lacks one.

    The shortfall of a node is what the forecast needs less what will serve, within what the node takes
    with it.
    Promises made before, and for nodes looked at before, count as covered, also where they will not
    be ready by the deadline: another one would come later still.
    """
    stock = situation.stock
    if situation.doom is None or not (stock.doomed_rows or stock.risky_rows or stock.leaving_rows):
        return ()
    at_risk = sum([len(rows) for rows in stock.risky_rows.values()])
    made: list[Promise] = []
    pools: list[int] = situation.observation.replicas.pool.tolist()
    by_node = {promise.node: promise for promise in promises}
    new = 0
    for node in sorted(situation.doom.nodes, key=_by_deadline):
        old = by_node.get(node.name)
        doomed = _doomed_since(
            situation, node, pools=pools, since=None if old is None else old.since
        )
        if doomed == 0:
            continue
        limit = (
            situation.cold_start_s if node.deadline_at is None else node.deadline_at - situation.at
        )
        covered = (
            _serving_by(situation, limit_s=limit)
            + _promised_beside(situation, limit_s=limit)
            + _asked_on_spot(situation, serving=serving, limit_s=limit)
            + new
        )
        if node.at_risk:
            covered -= at_risk  # all of those nodes may go together
        shortfall = max(0, min(serving - covered, doomed))
        if shortfall == 0:
            continue
        before = 0 if old is None else old.replicas
        made.append(
            Promise(
                node=node.name, replicas=before + shortfall, since=float(math.ceil(situation.at))
            )
        )
        new += shortfall
    return tuple(made)


def _by_deadline(node: DoomedNode) -> tuple[bool, float, str]:
    deadline_at = -math.inf if node.deadline_at is None else node.deadline_at
    return (node.at_risk, deadline_at, node.name)


def _doomed_since(
    situation: Situation, node: DoomedNode, *, pools: list[int], since: float | None
) -> int:
    """Count a node's replicas that a promise may be made for, and that no promise was made for.

    A second interruption of a node of that name has other replicas: they came after the promise.
    """
    stock = situation.stock
    created_at = situation.observation.replicas.created_at
    rows = list((stock.risky_rows if node.at_risk else stock.doomed_rows).get(node.index, ()))
    # Evicted before anything was promised for them: their ReplicaSet asks for others, on spot.
    left = [
        row
        for row in stock.leaving_rows.get(node.index, ())
        if pools[row] in situation.order.interruptible
    ]
    rows += left
    if since is not None:
        rows = [row for row in rows if created_at[row] > since]
    interruptible = sum([pools[row] in situation.order.interruptible for row in rows])
    promised = interruptible if situation.spec.spot.on_demand_fallback else 0
    if node.kind in {InterruptionKind.LOST, InterruptionKind.DISRUPTION}:
        promised += len(rows) - interruptible
    # Under a notice, a ReplicaSet replaces on-demand replicas as they are evicted.
    return promised


def _serving_by(situation: Situation, *, limit_s: float) -> int:
    """Count the replicas, not doomed, that are ready or expected so by a node's deadline.

    Of a lost node (it is gone already) the limit is one cold start: by then a replica that were
    started now would be ready.
    """
    supply = situation.stock.supply
    return supply.ready + bisect_right(supply.starting_remaining_s, limit_s)


def _asked_on_spot(situation: Situation, *, serving: int, limit_s: float) -> int:
    """Count what is asked of spot pools that do not cool, and is not among those serving by then.

    It replaces doomed replicas as soon as on-demand would, for less. Those that wait for a node do not.
    """
    if situation.spread is None:
        return 0
    placement = place_serving(situation, serving, promised=situation.promised)
    asked = 0
    for member in situation.spread.open_members:
        counts = situation.stock.supply.pools[member.pool]
        coming = counts.ready + bisect_right(counts.starting_remaining_s, limit_s)
        waiting = counts.unschedulable + counts.expired + counts.without_gpu
        asked += max(0, len(placement.slots[member.pool]) - coming - waiting)
    return asked


def _promised_beside(situation: Situation, *, limit_s: float) -> int:
    """Count the promised replicas that are not among those serving by then."""
    pool = situation.order.fallback
    if pool is None or situation.promised == 0:
        return 0
    counts = situation.stock.supply.pools[pool]
    serving = counts.ready + bisect_right(counts.starting_remaining_s, limit_s)
    return situation.promised - min(
        situation.pools[pool].fallback, max(0, serving - situation.pools[pool].floor)
    )


def _release(
    situation: Situation, promises: tuple[Promise, ...], *, surplus: int
) -> tuple[Promise, ...]:
    """Take a surplus from the promises: first of nodes with no interruption, then of those at risk.

    Among equals, oldest first.
    """
    if surplus <= 0:
        return promises
    nodes = () if situation.doom is None else situation.doom.nodes
    doomed = {node.name: 1 if node.at_risk else 2 for node in nodes}
    left = {promise.node: promise.replicas for promise in promises}
    for promise in sorted(promises, key=lambda p: (doomed.get(p.node, 0), p.since, p.node)):
        cut = min(left[promise.node], surplus)
        left[promise.node] -= cut
        surplus -= cut
    return tuple(
        [
            Promise(node=promise.node, replicas=left[promise.node], since=promise.since)
            for promise in promises
            if left[promise.node] > 0
        ]
    )
