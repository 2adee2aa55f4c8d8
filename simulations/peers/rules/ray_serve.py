"""Ray Serve's default autoscaling policy: ongoing requests over a target, after long delays.

Queued and running requests, averaged over the last 30 s of reports that come every 10 s, over the
target (here the profile's in-flight target; Ray's own default of 2 is for models that serve two
requests at once). A direction has to hold for 30 s on the way up and 600 s on the way down; a change of
mind starts anew. Ray's loop runs every 0.1 s on reports that are 10 s apart; here it runs with them.
"""

from __future__ import annotations

import math

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.sliding import SlidingMean

REPORT_S = 10.0
LOOK_BACK_S = 30.0
UP_DELAY_S = 30.0
DOWN_DELAY_S = 600.0


class RayServe:
    """One deployment's policy."""

    sync_s = REPORT_S

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        target_share: float = 1.0,
        up_delay_s: float = UP_DELAY_S,
        down_delay_s: float = DOWN_DELAY_S,
    ) -> None:
        """Factors of 1.0, as they are by default."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._target = setting.profile.in_flight_target * target_share
        self._delays = {1: up_delay_s, -1: down_delay_s}
        self._ongoing = SlidingMean(LOOK_BACK_S)
        self._direction = 0
        self._since = 0.0

    def sync(self, view: TargetView) -> int:
        """Decide once."""
        self._ongoing.add(view.at, view.router().outstanding_requests)
        now = view.spec_replicas
        desired = self._desired(self._ongoing.mean(view.at) or 0.0, now)
        direction = (desired > now) - (desired < now)
        if direction != self._direction:
            self._direction, self._since = direction, view.at
        if direction == 0 or view.at - self._since < self._delays[direction]:
            return now
        self._direction = 0
        return desired

    def _desired(self, ongoing: float, now: int) -> int:
        needed = ongoing / self._target
        desired = math.ceil(now + (needed - now))
        if desired == now and math.ceil(needed) < now:
            desired = now - 1
        return min(max(desired, self._setting.replicas_min), self._setting.replicas_max)
