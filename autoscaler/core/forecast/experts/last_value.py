"""Baseline: demand stays what it is now.

It is the first to see a ramp, and best for the next half minute, in which demand moves less than a
mean lags behind it.
"""

from __future__ import annotations

from autoscaler.core.forecast.history import History


def last_value(history: History) -> float:
    """Return the newest demand, replicas."""
    return history.last
