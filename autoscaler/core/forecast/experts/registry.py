"""The forecasters there are, by name. To add one: a function in this folder, and one line here.

Each is an expert with one simple view of the future: its baseline. How far demand strays from the
baseline, and how often, is not its business: that is learnt from its past errors (`residuals`), and so
is how much it is listened to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from autoscaler.core.forecast.experts.last_value import last_value
from autoscaler.core.forecast.experts.means import mean_1_minute, mean_5_minutes, mean_15_minutes
from autoscaler.core.forecast.history import History

Baseline: TypeAlias = Callable[[History], float]
"""Given a history with at least its newest value, the demand that is expected if nothing changes, the
same for every lead: replicas, >= 0."""

FORECASTERS: Mapping[str, Baseline] = {
    "last-value": last_value,
    "mean-1-minute": mean_1_minute,
    "mean-5-minutes": mean_5_minutes,
    "mean-15-minutes": mean_15_minutes,
}
