"""SkyPilot's SkyServe: request rate over a rate per replica, with on-demand standing in for spot.

Every 20 s the requests of the last 60 s over `target_qps_per_replica` (what one replica carries of this
trace's mean request at the profile's in-flight target; a user has to measure that). A higher figure has
to hold for 300 s, a lower one for 1200 s. On spot (dynamic fallback) it keeps as many on-demand replicas
as spot ones are missing, for whatever reason, up to the target; a notice is not heard, a preemption is
found by its failed probe, and what was in flight is lost. Where the market has zones, `SpotPlacer` says
which of them a spot replica goes to.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.spot_placer import SpotPlacer
from simulations.serving.offered_demand import work_s

DECIDE_S = 20.0
WINDOW_S = 60.0
UP_DELAY_S = 300.0
DOWN_DELAY_S = 1200.0


class SkyServe:
    """One service's controller."""

    sync_s = DECIDE_S
    hears_notices = False

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        target_share: float = 1.0,
        up_delay_s: float = UP_DELAY_S,
        down_delay_s: float = DOWN_DELAY_S,
        overprovision: float = 0.0,
    ) -> None:
        """With its default delays."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        work = work_s(setting.requests, setting.profile)
        mean_s = float(np.mean(work)) if len(work) else 1.0
        self._requests_per_s = target_share / mean_s
        self._ticks = {1: math.ceil(up_delay_s / DECIDE_S), -1: math.ceil(down_delay_s / DECIDE_S)}
        self._held = {1: 0, -1: 0}
        self._target = setting.replicas_initial
        self._arrived: deque[tuple[float, int]] = deque()
        self._overprovision = round(overprovision)
        self._placer = SpotPlacer()

    def sync(self, view: TargetView) -> int:
        """Decide for a fleet on demand."""
        return self._decide(view)

    def sync_spot(self, spot: Sequence[TargetView], on_demand: TargetView) -> Sequence[int]:
        """Decide for all; on-demand ones cover every spot replica that is not ready."""
        target = self._decide(on_demand)
        most = self._setting.replicas_max
        desired = min(target + self._overprovision, most)
        ready = sum(len(view.ready) for view in spot)
        return (*self._placer.place(spot, desired), min(max(0, desired - ready), target))

    def _decide(self, view: TargetView) -> int:
        self._arrived.append((view.at, view.router().arrived_total))
        while len(self._arrived) > 1 and self._arrived[1][0] <= view.at - WINDOW_S:
            self._arrived.popleft()
        since = self._arrived[0][1] if self._arrived[0][0] <= view.at - WINDOW_S else 0
        rate = (self._arrived[-1][1] - since) / WINDOW_S
        desired = math.ceil(rate / self._requests_per_s)
        desired = min(max(desired, self._setting.replicas_min), self._setting.replicas_max)
        direction = (desired > self._target) - (desired < self._target)
        for way in (1, -1):
            self._held[way] = self._held[way] + 1 if way == direction else 0
        if direction and self._held[direction] >= self._ticks[direction]:
            self._held[direction] = 0
            self._target = desired
        return self._target
