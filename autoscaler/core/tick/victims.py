"""Whom a scale-down takes: the replicas with the least in flight, told to the ReplicaSet by deletion costs.

A ReplicaSet chooses by its own order (`supply/deletion_order`), which knows nothing of requests: of equals
the youngest goes, busy or not. So before a scale-down those that are to go, and would not go anyway, get
a negative `pod-deletion-cost`; no other pod is touched. What survives with a cost of ours (the scale-down
was called off, or refused, or we died in between) loses it on the first tick that has nothing to take
away. Costs of others are never written over: a pod with a lower one goes before, one with a higher one
after those that we choose among.

What is not ready goes first whatever its cost is: that is the ReplicaSet's rule, and serves nobody.
During a rollout nothing is done: which ReplicaSet shrinks is then the Deployment's matter. Outside of one
all replicas that stay are of the current template's ReplicaSet.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from autoscaler.core.contract.commands import COMMAND_TIMEOUT_S
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.state import NO_NODE, CapacityType
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.situation import Situation
from autoscaler.core.supply.deletion_order import time_rank
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.tick.writes import Writes

ASK_AGAIN_S = 300.0
"""After costs were forbidden: so long no more are tried, then whether somebody has granted the right."""
MARKS_MAX = 250
"""Pods marked for one scale-down: two calls each, in the ten seconds that a command has. Of more, those with
the least in flight are marked, and the ReplicaSet chooses the rest."""
_MARGIN_S = 2 * COMMAND_TIMEOUT_S
"""The ReplicaSet looks at most so long after us: costs and scale take up to ten seconds each."""


Place: TypeAlias = tuple[int, int]
"""The lower, the earlier a ReplicaSet takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Victims:
    """Whom one scale-down is to take, and what has to be written for it."""

    names: tuple[str, ...]
    """Those that are to go, the first one first."""
    costs: tuple[tuple[str, int | None], ...]
    """Costs to be set before it; None: ours is to be taken away."""
    in_flight_requests: float
    """On those that go, as far as it is known."""
    untold: int
    """Of those that go, how many do not say, or not recently, what they have in flight."""


class _Replica(NamedTuple):
    """One that stays so far."""

    name: str
    ready: bool
    foreign_cost: int
    """0: it has none, or one of ours."""
    ours: bool
    doomed: bool
    in_flight: float
    """Infinite where it is unknown: what does not say may be busy."""
    risk: int
    """The lower, the sooner it may be taken away: 0 announced, or its GPU is ill; 1 spot; 2 neither."""
    pods_on_node: int
    ready_at: float

    @property
    def merit(self) -> tuple[bool, float, int]:
        """How good it is to lose this one: the lower, the better. Of equal ones it does not matter whom."""
        return not self.doomed, self.in_flight, self.risk

    @property
    def wish(self) -> tuple[bool, int, tuple[bool, float, int], bool, int, float, str]:
        """Order in which they are to go; of equals, those that need no write."""
        since = -math.inf if math.isnan(self.ready_at) else self.ready_at
        return (
            self.ready,
            self.foreign_cost,
            self.merit,
            not self.ours,
            -self.pods_on_node,
            -since,
            self.name,
        )

    def place(self, *, at: float) -> Place:
        """Return its place in the ReplicaSet's order among ready ones of equal cost, as far as it is known.

        What decides between equal places (the UID, restarts) is not known here.
        """
        return -self.pods_on_node, time_rank(self.ready_at, at=at)


def choose_victims(situation: Situation, event: Observed, *, pool: int, replicas: int) -> Victims:
    """Choose those that go when a pool is scaled down to so many replicas.

    Args:
        situation: the facts of the model.
        event: the observation; its nodes tell risks.
        pool: index of the pool; it is not rolling out.
        replicas: that are to be left, fewer than there are.
    """
    there = sorted(_replicas_of(situation, event, pool=pool), key=lambda each: each.wish)
    count = max(0, len(there) - replicas)
    going, staying = there[:count], there[count:]
    costs: list[tuple[str, int | None]] = [(each.name, None) for each in staying if each.ours]
    marked = _find_unsure(
        [each for each in going if _choosable(each) and not each.ours],
        [each for each in staying if _choosable(each)],
        at=situation.at,
    )[:MARKS_MAX]
    costs += [(each.name, place - len(marked)) for place, each in enumerate(marked)]
    ready = [each for each in going if each.ready]
    told = [each.in_flight for each in ready if math.isfinite(each.in_flight)]
    return Victims(
        names=tuple([each.name for each in going]),
        costs=tuple(costs),
        in_flight_requests=sum(told),
        untold=len(ready) - len(told),
    )


def _choosable(replica: _Replica) -> bool:
    """Tell whether a cost of ours decides about this one."""
    return replica.ready and replica.foreign_cost == 0


def _find_unsure(
    going: Sequence[_Replica], staying: Sequence[_Replica], *, at: float
) -> list[_Replica]:
    """Return those that have to be marked so that the ReplicaSet takes no worse ones than these.

    Args:
        going: to go, unmarked, in the order of the wish.
        staying: that could go in their place.
        at: now, seconds. The ReplicaSet looks up to `_MARGIN_S` later, when both may seem older.
    """
    if not going or not staying:
        return []
    last = going[-1].merit
    everyone = [*going, *staying]
    # Each place is worked out once: they are compared many times over.
    places = {each.name: each.place(at=at) for each in everyone}
    late_places = {each.name: each.place(at=at + _MARGIN_S) for each in everyone}
    now, later = sorted(places.values()), sorted(late_places.values())

    def surely_goes(each: _Replica) -> bool:
        return bisect_right(now, late_places[each.name]) <= len(going)

    def surely_stays(each: _Replica) -> bool:
        return bisect_left(later, places[each.name]) >= len(going)

    worse = [each for each in staying if each.merit > last]
    best = [each for each in going if each.merit < last]
    if all(surely_goes(each) for each in best) and all(surely_stays(each) for each in worse):
        return []
    equal = [each for each in going if each.merit == last]
    others = [each for each in everyone if each.merit >= last]

    def not_surely_before(replicas: Sequence[_Replica], of: Sequence[_Replica]) -> list[_Replica]:
        first = min([places[each.name] for each in of])
        return [each for each in replicas if not late_places[each.name] < first]

    return not_surely_before(best, others) + (not_surely_before(equal, worse) if worse else [])


def tell_costs(
    situation: Situation,
    event: Observed,
    *,
    pool: int,
    replicas: int,
    memory: ModelMemory,
    writes: Writes,
) -> tuple[str, ...]:
    """Send the costs that a scale-down needs; return the commands that it has to wait for.

    Args:
        situation: the facts of the model.
        event: the observation.
        pool: index of the pool.
        replicas: that it is about to be set to.
        memory: of the model; what it knows of the right is heeded, what was chosen is noted.
        writes: takes the commands.
    """
    observed = situation.observation.pools[pool]
    if observed.rolling_out or replicas >= situation.pools[pool].current:
        return ()
    victims = choose_victims(situation, event, pool=pool, replicas=replicas)
    told = memory.victims
    told.chosen, told.untold = len(victims.names), victims.untold
    if told.forbidden_at is not None and situation.at - told.forbidden_at < ASK_AGAIN_S:
        return ()
    target = situation.spec.pools[pool].target
    sent = [
        writes.set_deletion_cost(
            model=situation.spec.key, namespace=target.namespace, pod=pod, cost=cost
        )
        for pod, cost in victims.costs
    ]
    return tuple([command for command in sent if command is not None])


def clear_costs(
    situation: Situation, desired: tuple[int, ...], *, memory: ModelMemory, writes: Writes
) -> None:
    """Take our costs from replicas that stay, in pools with nothing left to take away."""
    replicas = situation.observation.replicas
    if not np.count_nonzero(replicas.deletion_cost_ours):
        return  # almost every tick
    told = memory.victims
    if situation.blind is not None or (
        told.forbidden_at is not None and situation.at - told.forbidden_at < ASK_AGAIN_S
    ):
        return
    for index, pool in enumerate(situation.spec.pools):
        state = situation.pools[index]
        there = (replicas.pool == index) & ~replicas.deleting
        settled = state.current <= desired[index] and np.count_nonzero(there) <= state.current
        if state.rolling_out or not settled:
            continue
        for row in np.flatnonzero(there & replicas.deletion_cost_ours).tolist():
            writes.set_deletion_cost(
                model=situation.spec.key,
                namespace=pool.target.namespace,
                pod=replicas.name[row],
                cost=None,
            )


def _replicas_of(situation: Situation, event: Observed, *, pool: int) -> list[_Replica]:
    """Read the replicas of one pool that are not being deleted."""
    columns, doom = situation.observation.replicas, situation.doom
    rows = np.flatnonzero((columns.pool == pool) & ~columns.deleting)
    nodes = columns.node[rows]
    risks = _risks(event, doom)
    in_flight = columns.waiting_requests[rows] + columns.running_requests[rows]
    fresh = situation.at - columns.sampled_at[rows] <= situation.spec.sample_age_s_max
    in_flight = np.where(fresh & (in_flight >= 0.0), in_flight, np.inf)
    on_node: dict[int, int] = {}
    for node in nodes.tolist():
        on_node[node] = on_node.get(node, 0) + 1
    found = zip(
        rows.tolist(),
        nodes.tolist(),
        columns.ready[rows].tolist(),
        columns.ready_at[rows].tolist(),
        columns.deletion_cost[rows].tolist(),
        columns.deletion_cost_ours[rows].tolist(),
        in_flight.tolist(),
        (columns.gpus_unhealthy[rows] > 0.0).tolist(),
        strict=True,
    )
    return [
        _Replica(
            name=columns.name[row],
            ready=ready,
            foreign_cost=0 if ours else cost,
            ours=ours,
            doomed=doom is not None and bool(doom.doomed[node]),
            in_flight=requests,
            risk=0 if ill else risks[node],
            pods_on_node=0 if node == NO_NODE else on_node[node],
            ready_at=ready_at,
        )
        for row, node, ready, ready_at, cost, ours, requests, ill in found
    ]


def _risks(event: Observed, doom: Doom | None) -> list[int]:
    """Rate the nodes by how soon they may be taken away, with one more for NO_NODE, which is the last."""
    risks = [1 if kind is CapacityType.SPOT else 2 for kind in event.nodes.capacity_type] + [2]
    if doom is not None and doom.at_risk is not None:
        for row in np.flatnonzero(doom.at_risk).tolist():
            risks[row] = 0
    return risks
