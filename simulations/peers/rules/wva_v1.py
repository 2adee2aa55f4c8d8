"""llm-d's Workload Variant Autoscaler, V1: spare capacity of the replicas that are not saturated.

Every 60 s, of each pod the highest KV usage and queue of the last minute. Saturated is at 0.80 or 5
waiting; one more where the others have less than 0.10 of KV or 3 of queue to spare on average; one
less where they still had that much with a replica fewer. Everything is frozen while replicas are on
their way. The figure is a recommendation (`wva_desired_replicas`), which an HPA with its defaults
carries out at AverageValue 1. Deprecated in September 2026 (v0.9 was its last).
"""

from __future__ import annotations

from collections.abc import Sequence

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.hpa.spec import HpaSpec
from simulations.peers.hpa.target import SYNC_S, TargetHpa, external, total
from simulations.peers.sliding import SlidingMean

OPTIMIZE_S = 60.0
KV_THRESHOLD = 0.80
QUEUE_THRESHOLD = 5.0
KV_SPARE = 0.10
QUEUE_SPARE = 3.0


class WvaV1:
    """The controller, and the HPA that follows it."""

    sync_s = SYNC_S

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        kv_threshold: float = KV_THRESHOLD,
        queue_threshold: float = QUEUE_THRESHOLD,
        kv_spare: float = KV_SPARE,
        queue_spare: float = QUEUE_SPARE,
    ) -> None:
        """With the thresholds of its ConfigMap."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._thresholds = (kv_threshold, queue_threshold)
        self._spares = (kv_spare, queue_spare)
        self._desired = setting.replicas_initial
        self._optimized_at = float("-inf")
        self._highest: dict[str, tuple[SlidingMean, SlidingMean]] = {}
        self._hpa = TargetHpa(
            HpaSpec(
                min_replicas=setting.replicas_min,
                max_replicas=setting.replicas_max,
                metrics=(external(1.0),),
            )
        )

    def sync(self, view: TargetView) -> int:
        """One sync of the HPA, each fourth after an optimization."""
        self._remember(view)
        if view.at - self._optimized_at >= OPTIMIZE_S:
            self._optimized_at = view.at
            self._desired = self._optimize(view)
        return self._hpa.sync(view, total(float(self._desired)))

    def _remember(self, view: TargetView) -> None:
        pages = view.samples
        self._highest = {pod: kept for pod, kept in self._highest.items() if pod in pages}
        for pod, page in pages.items():
            if pod not in self._highest:
                self._highest[pod] = (SlidingMean(OPTIMIZE_S), SlidingMean(OPTIMIZE_S))
            for window, value in zip(
                self._highest[pod], (page.kv_usage_ratio, page.waiting_requests), strict=True
            ):
                window.add(view.at, value)

    def _optimize(self, view: TargetView) -> int:
        now = view.spec_replicas
        if now != self._desired or len(self._highest) != now:
            return self._desired  # in transition
        loads = [
            tuple(max(window.values(view.at), default=0.0) for window in windows)
            for windows in self._highest.values()
        ]
        change = self._change(loads)
        return min(max(now + change, self._setting.replicas_min), self._setting.replicas_max)

    def _change(self, loads: Sequence[tuple[float, ...]]) -> int:
        """-1, 0 or 1 for the loads (KV, queue) of the replicas."""
        free = [
            load
            for load in loads
            if load[0] < self._thresholds[0] and load[1] < self._thresholds[1]
        ]
        if not free:
            return 1 if loads else 0
        count = len(free)
        means = [sum(load[n] for load in free) / count for n in (0, 1)]
        pairs = list(zip(self._thresholds, means, self._spares, strict=True))
        if any(threshold - mean < spare for threshold, mean, spare in pairs):
            return 1
        if count >= 2 and all(
            threshold - mean * count / (count - 1) >= spare for threshold, mean, spare in pairs
        ):
            return -1
        return 0
