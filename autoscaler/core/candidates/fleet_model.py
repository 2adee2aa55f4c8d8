"""What a fleet does with the requests that arrive: a small model of queues, of many fleets at once.

A replica serves so many at once, and what is beyond that waits. An arrival that waits too long misses. Of the
others some miss by chance, the more the fuller replicas are and the fewer they are, for no router
spreads evenly. How well that describes the fleet that really runs is measured (`capacity`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from autoscaler.core.tuning import TUNING

REPLICAS_MAX = 4096
"""Larger fleets are taken to be as even as this one."""
_HEADROOM = 0.02
"""Replicas: a load that exceeds what a fleet carries by less asks for no more."""
_NOBODY = 0.01
"""Replicas: a fleet without any lets each arrival wait for ever, and not divide by zero."""


_EVEN = 256
"""Replicas from which on a fleet is as even as one of so many."""
_GRID = 40
"""Places of a load of one, between which the share that misses by chance is a straight line."""


def _growth() -> FloatArray:
    count = np.arange(REPLICAS_MAX, dtype=np.float64)
    each = 1.0 - TUNING.uneven_ratio / np.sqrt(np.maximum(count, 1.0))
    carried: FloatArray = count * each / (1.0 - 0.5 * TUNING.uneven_ratio)
    return carried


def _chances() -> FloatArray:
    places = range(math.ceil(TUNING.chance_load_max * _GRID) + 2)
    powers = [
        TUNING.chance_power * math.sqrt(max(count, 1)) + TUNING.chance_power_least
        for count in range(_EVEN)
    ]
    return np.array([[math.pow(place / _GRID, power) for place in places] for power in powers])


_CARRIED = _growth()
"""[replicas]: what they carry together, in what each of four carries."""
_CARRIED_BY: list[float] = _CARRIED.tolist()
"""The same as a list: one number is looked up in a tenth of the time."""
_PLACES = len(_chances()[0])
_CHANCES: FloatArray = _chances().reshape(-1)
"""[replicas * _PLACES + place]: the share that misses by chance, in budgets."""
_RISES: FloatArray = np.append(_CHANCES[1:] - _CHANCES[:-1], 0.0)
"""Likewise, what it rises by to the next place; of the last place of a row it is not looked up."""


def carried_by(replicas: float) -> float:
    """Return what so many replicas carry together, in what each of four carries."""
    whole = min(int(replicas), REPLICAS_MAX - 2)
    low = _CARRIED_BY[whole]
    return low + (replicas - whole) * (_CARRIED_BY[whole + 1] - low)


def replicas_for(load: FloatArray, *, least: int = 0, most: int = REPLICAS_MAX) -> IntArray:
    """Return the fewest replicas that carry a load, within bounds; at most REPLICAS_MAX.

    A table that ends at the most is searched in fewer steps, and what would be above it is the most.
    """
    found = _CARRIED[:most].searchsorted(load - _HEADROOM)
    return np.maximum(found, min(least, most), out=found)


def replicas_for_one(load: float) -> int:
    """Return the same of one load, without bounds."""
    return bisect_left(_CARRIED_BY, load - _HEADROOM)


def most_load(replicas: int) -> float:
    """Return the greatest load for which `replicas_for` asks for no more than so many."""
    return float(_CARRIED[min(replicas, REPLICAS_MAX - 1)]) + _HEADROOM


class Flow(NamedTuple):
    """What became of one step, by fleet."""

    in_flight: FloatArray
    """Requests at its end."""
    late_ratio: FloatArray
    """Share of its arrivals that waited too long."""


def serve(
    in_flight: FloatArray,
    *,
    arrivals: float,
    ready: FloatArray | float,
    seats: FloatArray | float,
    service_s: float,
    step_s: float,
    slack_s: float,
) -> Flow:
    """Serve one step.

    Args:
        in_flight: requests at its beginning, by fleet.
        arrivals: requests that come in it, evenly.
        ready: replicas that serve, by fleet.
        seats: requests that one replica serves at once.
        service_s: what a request takes alone, seconds.
        step_s: length of the step, seconds.
        slack_s: an arrival that waits longer misses, seconds.
    """
    # As it is written in the comments, with half of the arrays: of a thousand fleets the memory that is
    # asked for costs as much as the arithmetic.
    room = np.asarray(ready * seats)
    held = in_flight + arrivals
    if service_s < step_s:  # held - min(held, room * (step_s / service_s))
        left = room * (step_s / service_s)
        np.minimum(held, left, out=left)
        np.subtract(held, left, out=left)
    else:  # held + min(held, room) * expm1(-step_s / service_s)
        left = np.minimum(held, room)
        left *= math.expm1(-step_s / service_s)
        left += held
    before, after = np.subtract(in_flight, room, out=held), left - room
    np.maximum(before, 0.0, out=before)
    np.maximum(after, 0.0, out=after)
    # (high - patience) / max(high - low, 1e-9), between 0 and 1
    late = np.maximum(before, after)
    span = np.minimum(before, after, out=before)
    np.maximum(np.subtract(late, span, out=span), 1e-9, out=span)
    patience = np.maximum(room, _NOBODY * seats, out=room)
    patience *= slack_s / service_s
    late -= patience
    late /= span
    np.minimum(np.maximum(late, 0.0, out=late), 1.0, out=late)
    return Flow(in_flight=left, late_ratio=late)


def chance_ratio(
    load: float, *, ready: FloatArray, carried_ratio: FloatArray, budget_ratio: float
) -> FloatArray:
    """Return the share of arrivals that misses by chance, by fleet.

    Args:
        load: mean of now, in replicas as told.
        ready: replicas that serve, by fleet.
        carried_ratio: of what was told, what a replica carries.
        budget_ratio: share that may miss: at the load that a fleet carries so many do.
    """
    rows = np.minimum(ready, REPLICAS_MAX - 1).astype(np.int64)
    return _chance(
        load,
        carried=_CARRIED.take(rows) * carried_ratio,
        row=np.minimum(rows, _EVEN - 1) * _PLACES,
        budget_ratio=budget_ratio,
    )


def chance_ratio_of_one(
    load: float, *, ready: float, carried_ratio: FloatArray, budget_ratio: float
) -> FloatArray:
    """Return the same of one fleet, by hypothesis of what a replica of it carries."""
    row = min(int(ready), REPLICAS_MAX - 1)
    return _chance(
        load,
        carried=_CARRIED_BY[row] * carried_ratio,
        row=min(row, _EVEN - 1) * _PLACES,
        budget_ratio=budget_ratio,
    )


def _chance(
    load: float, *, carried: FloatArray, row: IntArray | int, budget_ratio: float
) -> FloatArray:
    full = load / np.maximum(carried, 1e-9)
    places = np.minimum(full, TUNING.chance_load_max) * _GRID
    below = places.astype(np.int64)
    places -= below
    below += row
    ratio: FloatArray = _CHANCES.take(below) + places * _RISES.take(below)
    return np.minimum(budget_ratio * ratio, 1.0)
