"""Level expert: the mean over the last fifteen minutes.

The steadiest level, for the longest leads.
"""

from __future__ import annotations

from autoscaler.core.forecast.history import SLOT_S, History

SLOTS = round(900.0 / SLOT_S)


def level(history: History) -> float:
    """Return the mean demand over the last fifteen minutes (what there is of them), replicas."""
    return history.mean(SLOTS)
