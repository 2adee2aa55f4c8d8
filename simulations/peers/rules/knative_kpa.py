"""Knative's pod autoscaler (KPA): concurrency over a stable and a panic window, every 2 s.

Defaults of Knative Serving: stable window 60 s, panic window a tenth of it, panic at twice what the
ready pods carry, target utilization 70 % of the concurrency target (here the profile's in-flight
target, where Knative's own default of 100 knows nothing of the model), up to 1000 times and down to
half in one step. While it panics it never goes down.
"""

from __future__ import annotations

import math

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.sliding import SlidingMean

TARGET_UTILIZATION = 0.7
STABLE_WINDOW_S = 60.0
PANIC_WINDOW_SHARE = 0.1
PANIC_THRESHOLD = 2.0
UP_RATE = 1000.0
DOWN_RATE = 2.0


class KnativeKpa:
    """One revision's decider."""

    sync_s = 2.0

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        utilization: float = TARGET_UTILIZATION,
        stable_window_s: float = STABLE_WINDOW_S,
    ) -> None:
        """Not in panic."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._target = max(0.01, setting.profile.in_flight_target * utilization)
        self._stable = SlidingMean(stable_window_s)
        self._panic = SlidingMean(stable_window_s * PANIC_WINDOW_SHARE)
        self._panic_at: float | None = None
        self._panic_most = 0

    def sync(self, view: TargetView) -> int:
        """One tick."""
        concurrency = view.router().outstanding_requests
        for window in (self._stable, self._panic):
            window.add(view.at, concurrency)
        ready = max(1, len(view.ready))
        most, least = math.ceil(UP_RATE * ready), math.floor(ready / DOWN_RATE)
        stable = math.ceil((self._stable.mean(view.at) or 0.0) / self._target)
        panic = math.ceil((self._panic.mean(view.at) or 0.0) / self._target)
        self._watch(view.at, over=panic / ready >= PANIC_THRESHOLD)
        stable, panic = (min(max(desired, least), most) for desired in (stable, panic))
        desired = stable
        if self._panic_at is not None:
            self._panic_most = max(self._panic_most, stable, panic)
            desired = self._panic_most
        return min(max(desired, self._setting.replicas_min), self._setting.replicas_max)

    def _watch(self, at: float, *, over: bool) -> None:
        """Enter, extend or leave panic."""
        if over:
            self._panic_at = at
        elif self._panic_at is not None and self._panic_at + self._stable.window_s < at:
            self._panic_at, self._panic_most = None, 0
