"""A fleet sized for the peak of the trace and never touched: what most people run.

Sized in hindsight: the offered work of the busiest ten seconds, each replica taken to carry the
profile's in-flight target, rounded up.
"""

from __future__ import annotations

import math

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.serving.offered_demand import offered_replicas


class StaticPeak:
    """Always the same number of replicas."""

    sync_s = 3600.0

    def __init__(self, setting: BaselineSetting, *, share: float = 1.0) -> None:
        """Size the fleet to a share of the peak."""
        peak = float(offered_replicas(setting.scored_requests, setting.profile).max())
        desired = math.ceil(peak * share)
        self.initial_replicas = min(max(desired, setting.replicas_min), setting.replicas_max)

    def sync(self, view: TargetView) -> int | None:
        """Leave it."""
        del view
        return None
