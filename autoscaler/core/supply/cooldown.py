"""Where spot was taken away or could not be had lately: places that cool down.

A place is a zone and an instance type, as nodes name them; of a pool whose nodes name neither, it is the
pool itself. A place cools after an interruption there, and after replicas waited for a node there in
vain. While it cools, another place is asked (`pools.spread`): what was just taken back is taken back
again, and who asks there at once starts a replica in vain. Where it fails again soon after it has
cooled, it cools for twice as long.

Memory, for nothing that is observed says it: after a restart no place cools until the next interruption
or wait, and interruptions that hold then count as new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import (
    CapacityType,
    InterruptionKind,
    NodeColumns,
    ReplicaColumns,
)
from autoscaler.core.supply.doomed import Doom, DoomedNode
from autoscaler.core.supply.supply import PoolSupply
from autoscaler.core.tuning import TUNING

NEVER_COOLED = -1.0
SEPARATOR = "/"
POOL_PLACE = "pool"
"""Begins the place of a pool whose nodes name none; no zone has the separator in its name."""


@dataclass(slots=True, kw_only=True)
class Cooldown:
    """Of one place."""

    since: float
    until: float
    length_s: float
    """Of the present one, or the last."""


@dataclass(slots=True, kw_only=True)
class CooldownMemory:
    """What is remembered of the places of one model. Part of the engine's memory."""

    places: dict[str, Cooldown] = field(default_factory=dict)
    """Those that cool, or did not long ago."""
    known: dict[str, list[str]] = field(default_factory=dict)
    """By pool: the places in which its replicas have been."""
    interrupted: list[str] = field(default_factory=list)
    """Nodes whose interruption has been seen, as long as it holds."""
    lost_whole: list[str] = field(default_factory=list)
    """Of these, those that went with their whole zone, which has been counted."""
    watched_s: float = 0.0
    """Time watched, of which a day ago counts 1/e."""
    missing_s: dict[str, float] = field(default_factory=dict)
    """By zone: of this time, likewise, how long all that the zone held was missing (`Places.missing`)."""
    at: float | None = None
    """The last look."""


class PoolPlace(NamedTuple):
    """Where a pool's replicas are, and how that place is doing."""

    zone: str
    """Empty: not known, or several."""
    cooling_since: float
    cooling_until: float
    """NEVER_COOLED: some place of it does not cool, or none is known."""


class Places(NamedTuple):
    """The places of a model's interruptible pools at one tick."""

    pools: Mapping[int, PoolPlace]
    """By index into `ModelSpec.pools`."""
    missing: Mapping[str, float]
    """By zone that was lost whole: the share of the time in which what it held was missing, as far as it
    was watched. From the end of its shortest lead, until which what is doomed serves, until a replica
    that was asked for at the notice has started."""


def watch_places(
    memory: CooldownMemory,
    *,
    at: float,
    spec: ModelSpec,
    members: Sequence[int],
    nodes: NodeColumns,
    replicas: ReplicaColumns,
    supply: Sequence[PoolSupply],
    doom: Doom | None,
    cold_start_s: float,
) -> Places | None:
    """Learn which places of a model's spot pools cool, once a tick.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        spec: of the model.
        members: its spot pools, two or more.
        nodes: as observed.
        replicas: of the model.
        supply: of each pool of the spec.
        doom: the nodes that are doomed or at risk.
        cold_start_s: of a replica that is asked for now.

    Returns:
        None: no pool of these was ever seen in a zone or on an instance type that is named.
    """
    counts = _learn_known(memory, spec=spec, members=members, nodes=nodes, replicas=replicas)
    _age(memory, at=at)
    _learn_interruptions(
        memory, at=at, nodes=nodes, doom=doom, on=counts, cold_start_s=cold_start_s
    )
    for index in members:
        if supply[index].stuck and supply[index].unschedulable:
            name = spec.pools[index].name
            for place in memory.known.get(name) or [_pool_place(name)]:
                cooling = memory.places.get(place)
                if cooling is None or cooling.until <= at:
                    _cool(memory, place, at=at)
    if not memory.known:
        return None
    watched_s = memory.watched_s
    return Places(
        pools={index: _of_pool(memory, spec.pools[index].name, at=at) for index in members},
        missing={zone: lost_s / watched_s for zone, lost_s in memory.missing_s.items()}
        if watched_s > 0.0
        else {},
    )


def place_of(nodes: NodeColumns, row: int) -> str:
    """Return a node's place; empty: it names neither zone nor type."""
    zone, kind = nodes.zone[row], nodes.instance_type[row]
    return f"{zone}{SEPARATOR}{kind}" if zone or kind else ""


def _pool_place(pool: str) -> str:
    return f"{POOL_PLACE}{SEPARATOR}{SEPARATOR}{pool}"


def _learn_known(
    memory: CooldownMemory,
    *,
    spec: ModelSpec,
    members: Sequence[int],
    nodes: NodeColumns,
    replicas: ReplicaColumns,
) -> dict[int, dict[int, int]]:
    """Remember the places of each pool; return, by pool, its replicas by row of a node."""
    counts: dict[int, dict[int, int]] = {}
    for index in members:
        here = (replicas.pool == index) & (replicas.node >= 0)
        rows, number = np.unique(replicas.node[here], return_counts=True)
        counts[index] = dict(zip(rows.tolist(), number.tolist(), strict=True))
        for row in counts[index]:
            place = place_of(nodes, row)
            if place and nodes.capacity_type[row] is not CapacityType.ON_DEMAND:
                known = memory.known.setdefault(spec.pools[index].name, [])
                if place not in known:
                    known.append(place)
    return counts


def _age(memory: CooldownMemory, *, at: float) -> None:
    """Let the watch fade, and forget places that have been calm for long."""
    if memory.at is not None and at > memory.at:
        passed_s = min(at - memory.at, TUNING.zone_losses_span_s)
        kept = 1.0 - passed_s / TUNING.zone_losses_span_s
        memory.watched_s = memory.watched_s * kept + passed_s
        for zone in memory.missing_s:
            memory.missing_s[zone] *= kept
    memory.at = at
    for place in [name for name, each in memory.places.items() if _is_forgiven(each, at=at)]:
        del memory.places[place]


def _is_forgiven(cooling: Cooldown, *, at: float) -> bool:
    return at - cooling.until > TUNING.cooldown_forgiven_ratio * cooling.length_s


def _learn_interruptions(
    memory: CooldownMemory,
    *,
    at: float,
    nodes: NodeColumns,
    doom: Doom | None,
    on: Mapping[int, Mapping[int, int]],
    cold_start_s: float,
) -> None:
    """Cool the places of spot nodes that are newly interrupted, and count the zones that go with them."""
    if doom is None:
        memory.interrupted.clear()
        memory.lost_whole.clear()
        return
    before = set(memory.interrupted)
    new = [node for node in doom.nodes if node.name not in before and _is_taken(nodes, node)]
    memory.interrupted = [node.name for node in doom.nodes]
    hit = set()
    for node in new:
        if not node.at_risk:
            hit.add(nodes.zone[node.index])
        place = place_of(nodes, node.index)
        if place:
            _cool(memory, place, at=at)
    memory.lost_whole = [name for name in memory.lost_whole if name in memory.interrupted]
    if hit:
        _count_zones(memory, hit, nodes=nodes, doom=doom, on=on, cold_start_s=cold_start_s)


def _is_taken(nodes: NodeColumns, node: DoomedNode) -> bool:
    """Tell whether the market takes it: who moves a pod at his own pace says nothing of the market."""
    spot = nodes.capacity_type[node.index] is CapacityType.SPOT
    return spot and node.kind is not InterruptionKind.DISRUPTION


def _count_zones(
    memory: CooldownMemory,
    hit: set[str],
    *,
    nodes: NodeColumns,
    doom: Doom,
    on: Mapping[int, Mapping[int, int]],
    cold_start_s: float,
) -> None:
    """Count those of the zones that were hit in which nothing is left, by how long what they held is missing.

    Of a zone that goes node by node the last is not the zone: a zone with less than its share of the
    replicas counts for so much less.
    """
    each: dict[int, int] = {}
    for counts in on.values():
        for row, number in counts.items():
            each[row] = each.get(row, 0) + number
    held: dict[str, int] = {}
    for row, number in each.items():
        held[nodes.zone[row]] = held.get(nodes.zone[row], 0) + number
    left = {nodes.zone[row] for row in each if not doom.doomed[row]}
    for zone in hit - left:
        gone = [
            node
            for node in doom.nodes
            if nodes.zone[node.index] == zone
            and node.index in each
            and node.name not in memory.lost_whole
        ]
        if not gone:
            continue
        memory.lost_whole += [node.name for node in gone]
        taken = sum([each[node.index] for node in gone])
        part = min(1.0, taken * len(held) / sum(held.values()))
        gap_s = max(0.0, cold_start_s - min([_lead_s(node) for node in gone]))
        memory.missing_s[zone] = memory.missing_s.get(zone, 0.0) + part * gap_s


def _lead_s(node: DoomedNode) -> float:
    """Return how long before the end a node's notice came; 0: there was none, or it does not say."""
    if node.deadline_at is None:
        return 0.0
    return max(0.0, node.deadline_at - node.noticed_at)


def _cool(memory: CooldownMemory, place: str, *, at: float) -> None:
    """Begin a cooldown, twice as long where the last one was in vain; or begin the present one anew."""
    cooling = memory.places.get(place)
    if cooling is None:
        length_s, since = TUNING.cooldown_s, at
    elif at < cooling.until:
        length_s, since = cooling.length_s, cooling.since
    else:
        length_s, since = min(2.0 * cooling.length_s, TUNING.cooldown_s_max), at
    memory.places[place] = Cooldown(since=since, until=at + length_s, length_s=length_s)


def _of_pool(memory: CooldownMemory, pool: str, *, at: float) -> PoolPlace:
    """Say how a pool is doing: it cools where all places that are known of it do."""
    known = memory.known.get(pool, [])
    zones = {place.split(SEPARATOR)[0] for place in known}
    zone = zones.pop() if len(zones) == 1 else ""
    cooling = [memory.places.get(place) for place in known or [_pool_place(pool)]]
    since, until = at, NEVER_COOLED
    for each in cooling:
        if each is None or each.until <= at:
            return PoolPlace(zone=zone, cooling_since=at, cooling_until=NEVER_COOLED)
        since = min(since, each.since)
        until = each.until if until == NEVER_COOLED else min(until, each.until)
    return PoolPlace(zone=zone, cooling_since=since, cooling_until=until)
