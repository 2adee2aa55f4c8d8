"""One replica as an on/off problem: what it is worth, step by step.

Replica k (k = 1, 2, ...) serves the part of demand between k - 1 and k. Levels are independent, so
each is a program of two states, and solutions nest: where k is on, so is k - 1. Money is in
replica-steps: a replica costs one a step, from the moment it is asked for; unmet work costs the
price lambda for each replica-step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from autoscaler.core.forecast import Forecast
from autoscaler.core.forecast.distribution import between_leads
from autoscaler.core.tuning import ROUNDING, TUNING

BLOCK = 8
"""Levels whose use is computed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How time ahead is cut. Step h = 1..horizon covers [(h - 1) * step, h * step) from now."""

    step_s: float
    start: int
    """n: a start is paid for so many steps before it serves."""
    horizon: int
    """H."""
    leads: tuple[tuple[int, float], ...]
    """Where the middle of each step lies among the forecast's leads: after which one, and which
    share of the way to the next."""


@lru_cache(maxsize=256)
def cut(*, cold_start_s: float, tick_s: float) -> Steps:
    """Cut the time ahead: a sixth of a cold start, but not less than a tick.

    The cache changes no result: cold starts are learnt slowly, and ticks are many.
    """
    step_s = max(tick_s, cold_start_s / TUNING.start_steps)
    start = max(1, math.ceil(cold_start_s / step_s - ROUNDING))
    horizon = start + min(TUNING.after_steps_max, math.ceil(TUNING.after_s / step_s))
    middles = [(step + 0.5) * step_s for step in range(horizon)]
    return Steps(
        step_s=step_s,
        start=start,
        horizon=horizon,
        leads=tuple(between_leads(middle) for middle in middles),
    )


def price(attainment_ratio: float) -> float:
    """Return lambda_0, the price of unmet work: 60 at 99 %, 97 at 99.5 %, 300 at 99.9 %."""
    return TUNING.price * math.pow(0.01 / (1.0 - attainment_ratio), TUNING.price_power)


class Values(NamedTuple):
    """Of one replica: the best that can be had from each step on, by its state before that step.

    Both are indexed by step (1..horizon); beyond the horizon they are zero.
    """

    on: list[float]
    """It is ready: it serves this step."""
    off: list[float]
    """It is not there; from now on a start costs `start` steps."""


def solve(gains: list[float], *, start: int) -> Values:
    """Solve one level backwards: `gains[h - 1]` is what step h brings, less its cost of 1."""
    horizon = len(gains)
    on = [0.0] * (horizon + start + 2)
    off = on.copy()
    stay = leave = 0.0
    step = horizon
    for gain in reversed(gains):
        stay = gain + (stay if stay >= leave else leave)  # noqa: FURB136  a third of its time
        started = on[step + start] - start
        if started > leave:  # noqa: PLR1730  likewise
            leave = started
        on[step] = stay
        off[step] = leave
        step -= 1
    return Values(on=on, off=off)


class Levels:
    """The programs of all replicas under one forecast; each is solved when asked for, once."""

    __slots__ = ("_forecast", "_gains", "_price", "_solved", "_steps", "_use")

    def __init__(
        self, forecast: Forecast, *, steps: Steps, price_ratio: float, likely: int
    ) -> None:
        """Begin with replica `likely` and the next: mostly nothing else is asked for."""
        self._forecast = forecast
        self._steps = steps
        self._price = price_ratio
        self._use: dict[int, list[float]] = {}
        self._gains: dict[int, list[float]] = {}
        self._solved: dict[int, Values] = {}
        self._look_up(max(1, likely), count=2)

    def _look_up(self, first: int, *, count: int) -> None:
        rows: list[list[float]] = self._forecast.use(first, first + count - 1).tolist()
        for level, row in enumerate(rows, first):
            self._use[level] = row

    def gains(self, level: int) -> list[float]:
        """Return what replica `level` (from 1) is expected to bring in each step, less its cost."""
        gains = self._gains.get(level)
        if gains is None:
            if level not in self._use:
                # A search that comes from above goes on downwards.
                down = level + 1 in self._use
                self._look_up(max(1, level - BLOCK + 1) if down else level, count=BLOCK)
            use, worth = self._use[level], self._price
            gains = [
                worth * (use[lead] + share * (use[lead + 1] - use[lead])) - 1.0
                for lead, share in self._steps.leads
            ]
            self._gains[level] = gains
        return gains

    def values(self, level: int) -> Values:
        """Return the solved program of replica `level`."""
        solved = self._solved.get(level)
        if solved is None:
            solved = solve(self.gains(level), start=self._steps.start)
            self._solved[level] = solved
        return solved

    def stays(self, level: int) -> bool:
        """Tell whether a replica that is ready is worth keeping."""
        if min(self.gains(level)) >= 0.0:
            return True  # in every step: no need to solve
        values = self.values(level)
        return values.on[1] >= values.off[1]

    def arrives(self, level: int, remaining_s: float) -> bool:
        """Tell whether one that is starting is worth the rest of its start."""
        values = self.values(level)
        rest = max(1, math.ceil(remaining_s / self._steps.step_s - ROUNDING))
        ready = min(1 + rest, len(values.on) - 1)
        return values.on[ready] - rest >= values.off[2]

    def starts(self, level: int) -> bool:
        """Tell whether a new one is worth its start."""
        start = self._steps.start
        if sum([gain for gain in self.gains(level)[start:] if gain > 0.0]) <= start:
            return False  # not even if it served in its best steps alone
        values = self.values(level)
        return values.on[1 + start] - start > values.off[2]

    def account(self, level: int, *, remaining_s: float) -> tuple[float, float]:
        """Return what a replica is worth and what it costs as long as it is kept, replica-steps.

        Args:
            level: which one, from 1.
            remaining_s: until it is ready (0: it is), paid for without use.
        """
        gains = self.gains(level)
        rest = math.ceil(remaining_s / self._steps.step_s - ROUNDING)
        last = len(gains)
        if min(gains) < 0.0:
            on, off = self.values(level)
            last = min(1 + rest, last)
            while last < len(gains) and on[last + 1] >= off[last + 1]:
                last += 1
        served = gains[rest:last]
        return sum(served) + len(served), float(max(rest, last))
