"""A fleet sized for the mean of the trace and never touched: the cheapest static one that could do.

Sized in hindsight: the mean offered work, rounded up.
"""

from __future__ import annotations

import math

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.serving.offered_demand import offered_replicas


class StaticMean:
    """Always the same number of replicas."""

    sync_s = 3600.0

    def __init__(self, setting: BaselineSetting, *, share: float = 1.0) -> None:
        """Size the fleet to a share of the mean."""
        desired = math.ceil(
            float(offered_replicas(setting.scored_requests, setting.profile).mean()) * share
        )
        self.initial_replicas = min(max(desired, setting.replicas_min), setting.replicas_max)

    def sync(self, view: TargetView) -> int | None:
        """Leave it."""
        del view
        return None
