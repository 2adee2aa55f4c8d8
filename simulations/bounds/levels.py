"""The clairvoyant optimum by levels: exact, and fast because it splits.

Replica k (k = 1, 2, …) serves `clip(need - (k - 1), 0, 1)` of the need of a step. Without a limit
across replicas the levels are independent and their solutions nest, so each is an on/off problem:
paid while on, and for `start_steps` before it is of use. At a price `lambda` of one replica-step of
unmet work the best schedule of a level is a two-state program backwards in time.

By weak duality `lambda * served - value(lambda)` is a lower bound of what any schedule that serves
so much must cost, for every price; the largest over the prices is the hull. Source of the method:
right-sizing of data centres (Lin et al.), in whole replicas (Albers and Quedenfeld).
"""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.state import FloatArray


def default_prices() -> FloatArray:
    """Prices of unmet work that draw the hull from 50 % to 99.99 %; any set is valid."""
    return np.geomspace(1.0, 2000.0, 34)


def level_values(
    need: FloatArray,
    *,
    start_steps: int,
    prices: FloatArray,
    floor: int = 0,
    ceiling: int | None = None,
    initial: int = 0,
) -> FloatArray:
    """Value of the best schedule at each price: price * work served - replica-steps paid.

    Args:
        need: Work of each step in replicas, >= 0.
        start_steps: Steps that a replica is paid for before it serves, >= 0.
        prices: Price of one replica-step of unmet work over the cost of one replica-step.
        floor: Replicas that are always on.
        ceiling: Most replicas there may be; None: no limit.
        initial: Replicas that are on, ready, at the first step; `floor` at least.

    Returns:
        One value per price, in replica-steps. At price p, serving `w` costs at least `p * w - value`.
    """
    levels = int(np.ceil(need.max(initial=0.0)))
    levels = max(levels if ceiling is None else min(levels, ceiling), floor)
    if levels == 0 or not need.size:
        return np.zeros(len(prices))
    below = np.arange(levels, dtype=np.float64)
    forced = below < floor
    steps = len(need)
    shape = (len(prices), levels)
    # on[t % (start_steps + 1)] holds the value of being on and useful from step t
    on = np.zeros((start_steps + 1, *shape))
    off = np.zeros(shape)
    scratch = np.empty(shape)
    price = prices[:, None]
    for t in range(steps - 1, -1, -1):
        following = on[(t + 1) % (start_steps + 1)]
        np.maximum(following, off, out=scratch)
        scratch[:, forced] = following[:, forced]
        scratch += price * np.clip(need[t] - below, 0.0, 1.0)
        scratch -= 1.0
        if start_steps == 0:
            np.maximum(off, scratch, out=off)
        elif t + start_steps < steps:
            # before `on` of step t overwrites the slot of step t + start_steps + 1
            np.maximum(off, on[(t + start_steps) % (start_steps + 1)] - start_steps, out=off)
        on[t % (start_steps + 1)] = scratch
    started = below < max(initial, floor)
    first = on[0].copy()
    free = started & ~forced
    first[:, free] = np.maximum(first[:, free], off[:, free])
    value: FloatArray = np.where(started, first, off).sum(axis=1)
    return value


def hull_cost(values: FloatArray, *, prices: FloatArray, served: float) -> float:
    """Least cost, in replica-steps, of any schedule that serves `served` replica-steps of work."""
    return float(max(0.0, (prices * served - values).max()))
