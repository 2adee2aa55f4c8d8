"""Level expert: the mean over the last five minutes.

On bursty traffic the burst is over before a replica is ready: this is the level it bursts from.
"""

from __future__ import annotations

from autoscaler.core.forecast.history import SLOT_S, History

SLOTS = round(300.0 / SLOT_S)


def level(history: History) -> float:
    """Return the mean demand over the last five minutes (what there is of them), replicas."""
    return history.mean(SLOTS)
