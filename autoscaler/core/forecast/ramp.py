"""The ramp: how far a model's own load rises above what it was one cold start before.

Replicas that are asked for now serve one cold start from now; until then there is what there was. So what a
load rises by within one cold start is served by what is kept warm, or waits. At every moment the load is
compared with the highest that it was between two cold starts before and one: so many replicas were asked for, and
the stabilization window keeps them. What of it lies above that is *risen*, and is counted by where it lies: with a
floor of F replicas, what rose above F is not served in time. The ramp's part of the warm floor is the least F with
which this is no more of all load than the objective allows to miss.

An example: a load of 2 leaps to 5 twice a day for ten minutes, and starts take three: 3 replicas' worth had risen
for three minutes each time, 18 replica-minutes of some 2,940 a day. At 99 % 29 may be missed: nothing is to be kept. At 99.9 %
2.9 may: a floor of 4 leaves 6 risen above it, and one of 5 none.

Load is a mean over a third of a cold start, as the forecast has it: bursts of seconds are the queue's.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field

from autoscaler.core.forecast.history import BRIDGED_SLOTS, SLOT_S, SLOTS, History
from autoscaler.core.tuning import ROUNDING, TUNING

LOOKS = 4
"""So often a load is looked at within the span of its mean: more often it is the same."""
_RESCALE_AT = 1e9
"""New load weighs more instead of old load less; at this growth all is scaled back."""


def _edges() -> list[float]:
    """Return the edges of the cells: quarters of a replica, halves, wholes, and then ever wider.

    Whole replicas are edges, so that where each carries what it is told to a floor is exact.
    """
    edges = [0.0]
    for width in (0.25, 0.5, 1.0):
        edges += [edges[-1] + width * number for number in range(1, 17)]
    return edges + [edges[-1] * math.pow(1.2, number) for number in range(1, 17)]


EDGES = _edges()
"""Of the cells: replicas' worth of load, ascending from 0 to some 500."""
CELLS = len(EDGES) - 1


@dataclass(slots=True, kw_only=True)
class RampMemory:
    """What is remembered of one model's ramp. Part of the engine's memory."""

    risen: list[float] = field(default_factory=lambda: [0.0] * CELLS)
    """Replica-seconds that had risen within one cold start, by the cell in which they lay; decayed, in units of
    `growth`."""
    load: float = 0.0
    """All replica-seconds that were watched, likewise."""
    growth: float = 1.0
    """Weight of the load of now."""
    watched_s: float = 0.0
    """Seconds that were watched, ever."""
    asked_s: float = 0.0
    """Seconds that must have been before the ramp is told."""
    slot: int = -1
    """The newest of the history that was taken in."""
    replicas: int | None = None
    """The ramp's part of the warm floor; None: not known yet."""


def learn_ramp(
    memory: RampMemory,
    history: History,
    *,
    cold_start_s: float,
    mean_slots: int,
    attainment_ratio: float,
    carried_ratio: float,
) -> None:
    """Take in the load of a tick, and say what floor follows.

    Args:
        memory: of this model; changed.
        history: of its offered load.
        cold_start_s: of the pool that the next start would go to: until then the floor serves what rises.
        mean_slots: slots over which load is averaged.
        attainment_ratio: of the objective.
        carried_ratio: what each replica carries, of those that the history counts in.
    """
    every = max(1, mean_slots // LOOKS)
    if history.slot < 0 or 0 <= history.slot - memory.slot < every:
        return
    opened = max(1, history.slot - memory.slot)
    memory.slot = history.slot
    elapsed_s = min(opened, every + BRIDGED_SLOTS) * SLOT_S
    memory.growth *= math.exp(opened * SLOT_S / TUNING.residual_decay_s)
    if memory.growth > _RESCALE_AT:
        memory.risen = [each / memory.growth for each in memory.risen]
        memory.load /= memory.growth
        memory.growth = 1.0
    before = _load_before(history, lag=math.ceil(cold_start_s / SLOT_S), slots=mean_slots)
    if before is None:
        return
    now = history.mean_until(history.slot, mean_slots)
    memory.watched_s += elapsed_s
    memory.load += memory.growth * elapsed_s * now
    _add(memory.risen, before, now, weight=memory.growth * elapsed_s)
    missable = 1.0 - attainment_ratio
    memory.asked_s = min(
        max(cold_start_s / missable, TUNING.ramp_watched_s_min), TUNING.ramp_watched_s_max
    )
    if memory.watched_s < memory.asked_s:
        return
    allowed = missable * memory.load
    least = _replicas(memory.risen, allowed=allowed, carried_ratio=carried_ratio)
    if memory.replicas is None or least > memory.replicas:
        memory.replicas = least
        return
    allowed *= TUNING.ramp_calm_ratio
    calm = _replicas(memory.risen, allowed=allowed, carried_ratio=carried_ratio)
    memory.replicas = min(memory.replicas, calm)


def _load_before(history: History, *, lag: int, slots: int) -> float | None:
    """Return the highest mean between two and one cold starts before, as far back as it is known.

    None: it is not known what was one cold start before.
    """
    lag = min(lag, SLOTS - slots)
    oldest = max(history.since, history.slot - SLOTS + 1)
    highest = None
    for back in range(0, lag + 1, slots):
        slot = history.slot - lag - back
        if slot - slots + 1 < oldest:
            break
        mean = history.mean_until(slot, slots)
        highest = mean if highest is None else max(highest, mean)
    return highest


def _add(risen: list[float], before: float, now: float, *, weight: float) -> None:
    """Add what lies between two loads to the cells that it lies in; the last one has all above it."""
    cell = min(bisect_right(EDGES, before) - 1, CELLS - 1)
    while before < now:
        end = now if cell == CELLS - 1 else min(now, EDGES[cell + 1])
        risen[cell] += weight * (end - before)
        before = end
        cell += 1


def _replicas(risen: list[float], *, allowed: float, carried_ratio: float) -> int:
    """Return the least number of replicas above which no more had risen than is allowed."""
    above, place = 0.0, 0.0
    for cell in range(CELLS - 1, -1, -1):
        if above + risen[cell] > allowed:
            # Within a cell what rose is taken to lie evenly.
            share = (allowed - above) / risen[cell]
            place = EDGES[cell + 1] - share * (EDGES[cell + 1] - EDGES[cell])
            break
        above += risen[cell]
    return math.ceil(place / carried_ratio - ROUNDING)
