"""KubeAI's model autoscaler: active requests over ten minutes, up at once, down after three ticks.

Every 10 s the requests active in its proxies go into a mean over 60 such samples,
over the target (here the profile's in-flight target, where its own default of 100 knows nothing of
the model). The window begins empty and its mean is of what was seen so far: a fleet that is being
served has a state to take it from (its ConfigMap), and zeros would be a load that nobody had. Down only
where three ticks in a row asked for fewer (`scaleDownDelaySeconds` 30).
"""

from __future__ import annotations

import math
from collections import deque

from simulations.peers.baseline import BaselineSetting, TargetView

INTERVAL_S = 10.0
WINDOW_S = 600.0
DOWN_DELAY_S = 30.0


class KubeAI:
    """One model's autoscaler."""

    sync_s = INTERVAL_S

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        target_share: float = 1.0,
        window_s: float = WINDOW_S,
    ) -> None:
        """Its window is empty."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._target = setting.profile.in_flight_target * target_share
        samples = max(1, round(window_s / INTERVAL_S))
        self._active: deque[int] = deque(maxlen=samples)
        self._fewer = 0

    def sync(self, view: TargetView) -> int:
        """One tick."""
        self._active.append(view.router().outstanding_requests)
        now = view.spec_replicas
        desired = math.ceil(sum(self._active) / len(self._active) / self._target)
        desired = min(max(desired, self._setting.replicas_min), self._setting.replicas_max)
        if desired >= now:
            self._fewer = 0
            return desired
        self._fewer += 1
        return desired if self._fewer >= math.ceil(DOWN_DELAY_S / INTERVAL_S) else now
