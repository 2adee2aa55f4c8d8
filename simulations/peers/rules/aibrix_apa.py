"""AIBrix's APA as it ships: KV cache usage, asymmetric tolerance, and a stabilization turned round.

Every 10 s the mean of `gpu_cache_usage_perc` over the pods, smoothed over 180 s, against 0.5: up where
it is 10 % above (at most double), down where it is 10 % below (at most half). Facts as read in its
source: a pod that does not answer counts as 0; N is the Deployment's *spec* count; on the way down the
**lowest** recommendation of 300 s is taken, where HPA takes the highest. Since September 2026 a guard
holds scale-up while earlier replicas are not ready (RFC 2670).
"""

from __future__ import annotations

import math

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.sliding import SlidingMean

TARGET = 0.5
TOLERANCE = 0.1
RATE = 2.0
WINDOW_S = 180.0
DOWN_COOLDOWN_S = 300.0


class AibrixApa:
    """One PodAutoscaler of strategy APA."""

    sync_s = 10.0

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        target: float = TARGET,
        down_cooldown_s: float = DOWN_COOLDOWN_S,
        pending_guard: float = 1.0,
    ) -> None:
        """Defaults of its annotations."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._target = target
        self._guard = bool(pending_guard)
        self._usage = SlidingMean(WINDOW_S)
        self._recommended = SlidingMean(down_cooldown_s)

    def sync(self, view: TargetView) -> int:
        """One reconciliation."""
        # deleting pods are no longer of the target; loading ones do not answer, which reads as 0
        pods = [pod.name for pod in view.pods if not pod.deleting]
        pages = view.samples
        usage = [pages[pod].kv_usage_ratio if pod in pages else 0.0 for pod in pods]
        if usage:
            self._usage.add(view.at, sum(usage) / len(usage))
        mean = self._usage.mean(view.at)
        now = view.spec_replicas
        if mean is None:
            return self._clipped(now)
        recommended = self._recommendation(mean, now)
        self._recommended.add(view.at, recommended)
        if recommended < now:
            # A window of no length holds nothing, not even what was recommended just now.
            recommended = round(min([recommended, *self._recommended.values(view.at)]))
        elif recommended > now and self._guard and len(view.ready) < now:
            recommended = now
        return self._clipped(recommended)

    def _recommendation(self, usage: float, replicas: int) -> int:
        ratio = usage / self._target
        if ratio > 1 + TOLERANCE:
            return min(math.ceil(replicas * ratio), math.ceil(RATE * replicas))
        if ratio < 1 - TOLERANCE:
            return max(math.ceil(replicas * ratio), math.floor(replicas / RATE))
        return replicas

    def _clipped(self, replicas: int) -> int:
        return min(max(replicas, self._setting.replicas_min), self._setting.replicas_max)
