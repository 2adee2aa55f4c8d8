"""The sweeps of the program of one queue, compiled: `queue` says what they mean.

The state before a step is (replicas, backlog in bins). All arrays are made by the caller.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.contract.state import FloatArray
from simulations.serving.kernel.compiled import compiled_function, entry_point

Whole = NDArray[np.int64]


class QueueArrays(NamedTuple):
    """One program, as compiled code takes it."""

    serves: Whole
    """Bins that each number of replicas serves in a step."""
    limits: Whole
    """Largest backlog that each leaves, in bins: what is beyond is dropped."""
    arrives: Whole
    """Bins that arrive in each step."""
    usd: FloatArray
    """(steps, numbers of replicas): paid in the step."""
    raise_usd: FloatArray
    """Of each step: paid for a replica more than in the step before."""
    rows: Whole
    """Of each step its first request, and one more."""
    slack_bins: FloatArray
    """Of each request: what one replica serves from its step's beginning to its limit."""
    ahead_bins: FloatArray
    """Of each request: its own work, and that of its step before it."""


@compiled_function
def _price_late(
    q: QueueArrays, step: int, replicas: int, price: float, late_usd: FloatArray
) -> None:
    """Write what the step's late requests cost at each backlog."""
    bins = len(late_usd)
    for b in range(bins):
        late_usd[b] = 0.0
    for row in range(q.rows[step], q.rows[step + 1]):
        # one bin more: so much may have been rounded away
        most = replicas * q.slack_bins[row] - q.ahead_bins[row] + 1.0
        if most < 0.0:
            late_usd[0] += price
        elif most < bins - 1:
            late_usd[int(most) + 1] += price
    total = 0.0
    for b in range(bins):
        total += late_usd[b]
        late_usd[b] = total


@entry_point
def sweep_back(
    q: QueueArrays,
    first: int,
    last: int,
    price: float,
    values: FloatArray,
    scratch: FloatArray,
    late_usd: FloatArray,
    kept: FloatArray,
) -> None:
    """Turn the least costs behind step `last - 1` into those before step `first`, in place.

    `kept` takes the values behind each step, where it has room for them.
    """
    counts, bins = values.shape
    for step in range(last - 1, first - 1, -1):
        if len(kept):
            for n in range(counts):
                for b in range(bins):
                    kept[step - first, n, b] = values[n, b]
        busy = q.rows[step + 1] > q.rows[step]
        for n in range(counts):
            move, limit, cost = q.arrives[step] - q.serves[n], q.limits[n], q.usd[step, n]
            behind, here = values[n], scratch[n]
            for b in range(bins):
                here[b] = cost + behind[min(limit, max(0, b + move))]
            if busy:
                _price_late(q, step, n, price, late_usd)
                for b in range(bins):
                    here[b] += late_usd[b]
        # fewer replicas from this step on, for nothing
        for n in range(1, counts):
            fewer, here = scratch[n - 1], scratch[n]
            for b in range(bins):
                here[b] = min(here[b], fewer[b])
        # and more, each for a start
        for b in range(bins):
            values[counts - 1, b] = scratch[counts - 1, b]
        start = q.raise_usd[step]
        for n in range(counts - 2, -1, -1):
            more, here, out = values[n + 1], scratch[n], values[n]
            for b in range(bins):
                out[b] = min(here[b], more[b] + start)


@entry_point
def follow(
    q: QueueArrays,
    first: int,
    last: int,
    price: float,
    kept: FloatArray,
    state: Whole,
    chosen: Whole,
) -> None:
    """Go a cheapest way through the steps; `chosen` takes the replicas of each.

    `state` is (replicas before, backlog, late requests so far); with replicas below 0 the first step
    begins with any number for nothing. `kept` are the values behind each step.
    """
    counts = len(q.serves)
    n, b, late = state[0], state[1], state[2]
    for step in range(first, last):
        least, to, to_late = np.inf, 0, 0
        for other in range(counts):
            missed = 0
            for row in range(q.rows[step], q.rows[step + 1]):
                if b > other * q.slack_bins[row] - q.ahead_bins[row] + 1.0:
                    missed += 1
            behind = min(q.limits[other], max(0, b + q.arrives[step] - q.serves[other]))
            cost = q.usd[step, other] + price * missed + kept[step - first, other, behind]
            if n >= 0 and other > n:
                cost += (other - n) * q.raise_usd[step]
            if cost < least:
                least, to, to_late = cost, other, missed
        n, late = to, late + to_late
        b = min(q.limits[n], max(0, b + q.arrives[step] - q.serves[n]))
        chosen[step] = n
    state[0], state[1], state[2] = n, b, late
