"""What one replica is worth, step by step: a program of two states, on and off.

Replica k (k = 1, 2, ...) serves the part of demand between k - 1 and k times what a replica carries: the
first one all of it up to one replica's worth, the second what is beyond that, and so on. So each replica is a problem of its
own, and what is best for all nests: where k is worth having, so is k - 1. Money is in replica-steps: a
replica costs one a step, from the moment it is asked for; unmet work costs the price lambda for each
replica-step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from autoscaler.core.forecast import Forecast
from autoscaler.core.forecast.distribution import between_leads
from autoscaler.core.tuning import ROUNDING, TUNING

BLOCK = 8
"""Replicas that are looked up at once, beyond the first two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How time ahead is cut. Step h = 1..horizon covers [(h - 1) * step, h * step) from now."""

    step_s: float
    start: int
    """n: a start is paid for so many steps before it serves."""
    horizon: int
    """H."""
    leads: IntArray
    """Of each step: the lead of the forecast after which its middle lies."""
    shares: FloatArray
    """And which share of the way to the next lead it lies."""


@lru_cache(maxsize=256)
def steps_ahead(*, cold_start_s: float, tick_s: float) -> Steps:
    """Cut the time ahead: a sixth of a cold start, but not less than a tick.

    The cache changes no result: cold starts are learnt slowly, and ticks are many.
    """
    step_s = max(tick_s, cold_start_s / TUNING.start_steps)
    start = max(1, math.ceil(cold_start_s / step_s - ROUNDING))
    horizon = start + min(TUNING.after_steps_max, math.ceil(TUNING.after_s / step_s))
    middles = [between_leads((step + 0.5) * step_s) for step in range(horizon)]
    return Steps(
        step_s=step_s,
        start=start,
        horizon=horizon,
        leads=np.array([lead for lead, _ in middles], dtype=np.int64),
        shares=np.array([share for _, share in middles], dtype=np.float64),
    )


def price_of_unmet_work(attainment_ratio: float) -> float:
    """Return lambda_0, the price of unmet work: 60 at 99 %, 97 at 99.5 %, 300 at 99.9 %."""
    return TUNING.price * math.pow(0.01 / (1.0 - attainment_ratio), TUNING.price_power)


class Values(NamedTuple):
    """Of one replica: the best that can be had from each step on, by its state before that step.

    Both are indexed by step (1..horizon); beyond the horizon they are zero.
    """

    on: list[float]
    """It is ready: it serves this step."""
    off: list[float]
    """It is neither ready nor starting; from now on a start costs `start` steps."""


def solve(gains: list[float], *, start: int) -> Values:
    """Solve one replica backwards: `gains[h - 1]` is what step h brings, less its cost of 1."""
    horizon = len(gains)
    on = [0.0] * (horizon + start + 2)
    off = on.copy()
    stay = leave = 0.0
    step = horizon
    for gain in reversed(gains):
        # With `max` in its two places this loop takes 2.4 times as long.
        stay = gain + (stay if stay >= leave else leave)  # noqa: FURB136
        started = on[step + start] - start
        if started > leave:  # noqa: PLR1730
            leave = started
        on[step] = stay
        off[step] = leave
        step -= 1
    return Values(on=on, off=off)


class ReplicaValues:
    """What each replica is worth under one forecast; its program is solved when asked for, once.

    Replicas are counted from 1.
    """

    __slots__ = ("_carried", "_forecast", "_gains", "_price", "_solved", "_steps")

    def __init__(
        self,
        forecast: Forecast,
        *,
        steps: Steps,
        price_ratio: float,
        likely: int,
        carried_ratio: float = 1.0,
    ) -> None:
        """Begin with replica `likely` and the next: mostly nothing else is asked for."""
        self._carried = carried_ratio
        self._forecast = forecast
        self._steps = steps
        self._price = price_ratio
        self._gains: dict[int, list[float]] = {}
        self._solved: dict[int, Values] = {}
        self._look_up(max(1, likely), count=2)

    def _look_up(self, first: int, *, count: int) -> None:
        """Look up the gains of `count` replicas, their use between two leads on a straight line."""
        steps = self._steps
        use = self._forecast.expected_use(first, first + count - 1, carried_ratio=self._carried)
        change = use[:, 1:] - use[:, :-1]
        use = use.take(steps.leads, axis=1) + steps.shares * change.take(steps.leads, axis=1)
        gains: list[list[float]] = (self._price * use - 1.0).tolist()
        self._gains.update(zip(range(first, first + count), gains, strict=True))

    def gains(self, replica: int) -> list[float]:
        """Return what a replica is expected to bring in each step, less its cost."""
        if replica not in self._gains:
            # A search that comes from above goes on downwards.
            down = replica + 1 in self._gains
            self._look_up(max(1, replica - BLOCK + 1) if down else replica, count=BLOCK)
        return self._gains[replica]

    def values(self, replica: int) -> Values:
        """Return the solved program of a replica."""
        solved = self._solved.get(replica)
        if solved is None:
            solved = solve(self.gains(replica), start=self._steps.start)
            self._solved[replica] = solved
        return solved

    def stays(self, replica: int) -> bool:
        """Tell whether a replica that is ready is worth keeping."""
        if min(self.gains(replica)) >= 0.0:
            return True  # in every step: no need to solve
        values = self.values(replica)
        return values.on[1] >= values.off[1]

    def arrives(self, replica: int, remaining_s: float) -> bool:
        """Tell whether one that is starting is worth the rest of its start."""
        values = self.values(replica)
        rest = max(1, math.ceil(remaining_s / self._steps.step_s - ROUNDING))
        ready = min(1 + rest, len(values.on) - 1)
        return values.on[ready] - rest >= values.off[2]

    def starts(self, replica: int) -> bool:
        """Tell whether a new one is worth its start."""
        start = self._steps.start
        if sum([gain for gain in self.gains(replica)[start:] if gain > 0.0]) <= start:
            return False  # not even if it served in its best steps alone
        values = self.values(replica)
        return values.on[1 + start] - start > values.off[2]

    def account(self, replica: int, *, remaining_s: float) -> tuple[float, float]:
        """Return what a replica is worth and what it costs as long as it is kept, replica-steps.

        Args:
            replica: which one.
            remaining_s: until it is ready (0: it is), paid for without use.
        """
        gains = self.gains(replica)
        rest = math.ceil(remaining_s / self._steps.step_s - ROUNDING)
        last = len(gains)
        if min(gains) < 0.0:
            on, off = self.values(replica)
            last = min(1 + rest, last)
            while last < len(gains) and on[last + 1] >= off[last + 1]:
                last += 1
        served = gains[rest:last]
        return sum(served) + len(served), float(max(rest, last))
