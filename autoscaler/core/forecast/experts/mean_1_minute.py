"""Level expert: the mean over the last minute.

Smooths the noise of single requests and follows a ramp with half a minute's delay.
"""

from __future__ import annotations

from autoscaler.core.forecast.history import SLOT_S, History

SLOTS = round(60.0 / SLOT_S)


def level(history: History) -> float:
    """Return the mean demand over the last minute (what there is of them), replicas."""
    return history.mean(SLOTS)
