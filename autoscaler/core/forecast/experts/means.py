"""Baselines: demand returns to its mean over the last minutes.

- one minute: evens out the noise of single requests, and follows a ramp half a minute late;
- five minutes: a burst shorter than a cold start is over before a replica could serve it, so what
  counts is the demand from which bursts rise, and to which they fall back;
- fifteen minutes: the steadiest, for the longest leads.
"""

from __future__ import annotations

from autoscaler.core.forecast.history import SLOT_S, History

_MINUTE_SLOTS = round(60.0 / SLOT_S)


def mean_1_minute(history: History) -> float:
    """Return the mean demand over the last minute (what is known of it), replicas."""
    return history.mean(_MINUTE_SLOTS)


def mean_5_minutes(history: History) -> float:
    """Return the mean demand over the last five minutes (what is known of them), replicas."""
    return history.mean(5 * _MINUTE_SLOTS)


def mean_15_minutes(history: History) -> float:
    """Return the mean demand over the last fifteen minutes (what is known of them), replicas."""
    return history.mean(15 * _MINUTE_SLOTS)
