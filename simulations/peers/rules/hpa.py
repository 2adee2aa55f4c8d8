"""The HorizontalPodAutoscaler on requests in flight: what to use where nothing but HPA is there.

A Pods metric, running plus waiting requests of each vLLM pod (through prometheus-adapter), with the
profile's in-flight target as AverageValue and no `behavior` block: HPA's own defaults, a sync every
15 s, tolerance 10 %, 300 s of stabilization on the way down. Google's best practices for inference on
GKE name this metric (batch size, with the queue) for a latency target.
"""

from __future__ import annotations

from autoscaler.core.contract.spec import Behavior, ScalingRules
from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.hpa.spec import HpaSpec
from simulations.peers.hpa.target import SYNC_S, TargetHpa, per_pod, pods


class Hpa:
    """HPA over a Deployment whose pods report their requests in flight."""

    sync_s = SYNC_S

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        target_share: float = 1.0,
        down_window_s: float | None = None,
    ) -> None:
        """Target a share of the profile's in-flight target; a window makes a `behavior`."""
        self.initial_replicas = setting.replicas_initial
        behavior = None
        if down_window_s is not None:
            rules = ScalingRules(stabilization_window_s=int(down_window_s))
            behavior = Behavior(scale_down=rules)
        self._hpa = TargetHpa(
            HpaSpec(
                min_replicas=setting.replicas_min,
                max_replicas=setting.replicas_max,
                metrics=(pods(setting.profile.in_flight_target * target_share),),
                behavior=behavior,
            )
        )

    def sync(self, view: TargetView) -> int:
        """One sync of the controller."""
        return self._hpa.sync(
            view,
            per_pod(
                {
                    pod: page.running_requests + page.waiting_requests
                    for pod, page in view.samples.items()
                }
            ),
        )
