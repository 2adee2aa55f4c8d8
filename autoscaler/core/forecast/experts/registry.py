"""The forecasters there are: one file each, and one line here.

Each says at which level demand is; how far it strays from there is learnt from its residuals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from autoscaler.core.forecast.experts import (
    last_value,
    mean_1_minute,
    mean_5_minutes,
    mean_15_minutes,
)
from autoscaler.core.forecast.history import History

Level: TypeAlias = Callable[[History], float]
"""Given a history with at least its newest value, the level in replicas, >= 0."""

FORECASTERS: Mapping[str, Level] = {
    "last-value": last_value.level,
    "mean-1-minute": mean_1_minute.level,
    "mean-5-minutes": mean_5_minutes.level,
    "mean-15-minutes": mean_15_minutes.level,
}
