"""What imagined fleets do with the requests that arrive: how long these wait, and how many are held.

A replica runs up to so many requests at once, each the slower the more run beside it; the rest waits. Unlike the
fleets of `candidates`, of which there are hundreds and whose misses alone count, these are read by an HPA,
and so what they hold, and how much of that waits, has to be what pages would show.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import FloatArray

PATIENCE_S = 120.0
"""Seconds after which a client that waits is gone. Judgement: as in the replay."""
_NONE = 1e-6
"""Replicas: a fleet without any holds what arrives, and does not divide by zero."""


class Serving(NamedTuple):
    """How one replica serves."""

    alone_s: float
    """What a request takes alone, seconds."""
    beside_s: float
    """By how much each request that runs beside it lengthens that, seconds."""
    seats: float
    """Requests that run at once."""


class Crowds(NamedTuple):
    """What became of one step, by crowd: replicas that hold the same."""

    held: FloatArray
    """Requests at its end, those that wait among them."""
    late_ratio: FloatArray
    """Share of its arrivals that waited too long."""
    service_s: FloatArray
    """How long a request ran."""


def serve_crowds(
    held: FloatArray,
    *,
    arrivals: FloatArray,
    ready: FloatArray,
    serving: Serving,
    step_s: float,
    slack_s: float,
) -> Crowds:
    """Serve one step.

    Args:
        held: requests at its beginning, by crowd.
        arrivals: requests that come in it, evenly, by crowd.
        ready: replicas that serve, by crowd.
        serving: how each does.
        step_s: length of the step, seconds.
        slack_s: an arrival that waits longer misses, seconds.
    """
    alone_s, beside_s, seats = serving
    replicas = np.maximum(ready, _NONE)
    room = replicas * seats
    rate = arrivals * (1.0 / step_s)
    each = np.minimum(held, room) / replicas
    service_s = alone_s + beside_s * each
    free = rate * service_s
    free += (held - free) * _left(step_s / service_s)
    # Once more, with what runs beside a request in the middle of the step.
    service_s = alone_s + beside_s * 0.5 * (each + np.minimum(free, room) / replicas)
    free = rate * service_s
    free += (held - free) * _left(step_s / service_s)
    full_rate = room * (1.0 / (alone_s + beside_s * seats))
    queued = np.maximum(held + arrivals - full_rate * step_s, np.minimum(free, room))
    after = np.where((held > room) | (free > room), queued, free)
    after = np.minimum(after, room + full_rate * PATIENCE_S)
    waited, waits = np.maximum(held - room, 0.0), np.maximum(after - room, 0.0)
    high, low = np.maximum(waited, waits), np.minimum(waited, waits)
    late = (high - full_rate * slack_s) / np.maximum(high - low, 1e-9)
    return Crowds(
        held=after, late_ratio=np.minimum(np.maximum(late, 0.0), 1.0), service_s=service_s
    )


def _left(times: FloatArray) -> FloatArray:
    """Return about exp(-times), by arithmetic that is the same on every machine; within 0.01."""
    left: FloatArray = 1.0 / (1.0 + times * (1.0 + times * (0.5 + times * (1 / 6 + times / 24))))
    return left
