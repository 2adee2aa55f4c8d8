"""llm-d's KEDA blueprint, which took the place of its own autoscaler in September 2026.

Two Prometheus triggers, AverageValue: waiting requests, 30 a replica (cold start 180 s over a poll of
15 s, times 1.5), and KV cache usage summed over the replicas, 0.6 a replica. Up by one pod every
180 s at once, down by one every 300 s after a window of 300 s. From the staging scenarios of llm-d's
benchmark harness and the rule of thumb of its pull request 1517.
"""

from __future__ import annotations

from autoscaler.core.contract.spec import Behavior, PolicyType, ScalingPolicy, ScalingRules
from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.hpa.spec import HpaSpec
from simulations.peers.hpa.target import SYNC_S, TargetHpa, external, total

WAITING = 30.0
KV_USAGE_RATIO = 0.6
UP_PERIOD_S = 180.0
DOWN_PERIOD_S = 300.0


class LlmdKeda:
    """The HPA that KEDA makes of the blueprint."""

    sync_s = SYNC_S

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        waiting: float = WAITING,
        kv_usage_ratio: float = KV_USAGE_RATIO,
        up_period_s: float = UP_PERIOD_S,
    ) -> None:
        """Thresholds as published; the bounds are the run's."""
        self.initial_replicas = setting.replicas_initial
        self._hpa = TargetHpa(
            HpaSpec(
                min_replicas=setting.replicas_min,
                max_replicas=setting.replicas_max,
                metrics=(external(waiting), external(kv_usage_ratio)),
                behavior=Behavior(
                    scale_up=ScalingRules(
                        stabilization_window_s=0, policies=(_one_pod(up_period_s),)
                    ),
                    scale_down=ScalingRules(
                        stabilization_window_s=300, policies=(_one_pod(DOWN_PERIOD_S),)
                    ),
                ),
            )
        )

    def sync(self, view: TargetView) -> int:
        """One sync of the controller on the sums of the last scrape."""
        pages = view.samples.values()
        return self._hpa.sync(
            view,
            total(sum(page.waiting_requests for page in pages)),
            total(sum(page.kv_usage_ratio for page in pages)),
        )


def _one_pod(period_s: float) -> ScalingPolicy:
    return ScalingPolicy(type=PolicyType.PODS, value=1, period_s=int(period_s))
