"""What can be bought, when and for how much, cut into steps so that it stays a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTerms:
    """What a pool costs and when it can be had."""

    usd_per_hour: float | Callable[[int, int], float]
    """Of one replica: always, or at least so much between two moments, in nanoseconds."""
    initial: int = 0
    """Replicas ready before the trace begins."""
    available: tuple[FloatArray, FloatArray] | None = None
    """(moments in seconds, most replicas from then on); None: no limit."""


def step_prices_usd_per_hour(
    usd_per_hour: float | Callable[[int, int], float], moments: FloatArray, step_s: float
) -> FloatArray:
    """Dollars an hour in each step, the lowest of it."""
    if not callable(usd_per_hour):
        return np.full(len(moments), usd_per_hour)
    return np.array(
        [usd_per_hour(int(at * 1e9), int((at + step_s) * 1e9)) for at in moments], dtype=float
    )


def steps_available(
    available: tuple[FloatArray, FloatArray] | None, moments: FloatArray, step_s: float
) -> FloatArray | None:
    """The most that could be had at any moment of each step: rounded so that it stays a bound."""
    if available is None:
        return None
    at, most = available
    now = np.maximum(np.searchsorted(at, moments, side="right") - 1, 0)
    end = np.maximum(np.searchsorted(at, moments + step_s, side="left") - 1, 0)
    return np.array([most[a : b + 1].max() for a, b in zip(now, end, strict=True)], dtype=float)
