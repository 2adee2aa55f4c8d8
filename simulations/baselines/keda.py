"""KEDA with the ScaledObject that articles on LLM serving show: five waiting requests a replica.

`sum(vllm:num_requests_waiting)` from Prometheus, threshold 5, AverageValue, 1 to the maximum, scale
down by half a minute at most after a 300 s window. With minReplicaCount 1 and no cached metrics all
scaling is HPA's, which asks Prometheus live on each sync; KEDA's own loop plays no part.
"""

from __future__ import annotations

from autoscaler.core.spec import Behavior, PolicyType, ScalingPolicy, ScalingRules
from simulations.baselines.baseline import BaselineSetting, TargetView
from simulations.baselines.hpa import SYNC_S, decide
from simulations.hpa.controller import HpaController
from simulations.hpa.metrics import Reading
from simulations.hpa.spec import HpaSpec, MetricKind, MetricSpec, TargetKind

THRESHOLD = 5
SCALE_DOWN = ScalingRules(
    stabilization_window_s=300,
    policies=(ScalingPolicy(type=PolicyType.PERCENT, value=50, period_s=60),),
)


class Keda:
    """The HPA that KEDA makes of the ScaledObject."""

    sync_s = SYNC_S

    def __init__(self, setting: BaselineSetting) -> None:
        """Threshold and behavior as published; the bounds are the run's."""
        self.initial_replicas = setting.replicas_min
        self._spec = HpaSpec(
            min_replicas=setting.replicas_min,
            max_replicas=setting.replicas_max,
            metrics=(
                MetricSpec(
                    kind=MetricKind.EXTERNAL,
                    target_kind=TargetKind.AVERAGE_VALUE,
                    target=THRESHOLD * 1000,
                ),
            ),
            behavior=Behavior(scale_down=SCALE_DOWN),
        )
        self._controller: HpaController | None = None

    def sync(self, view: TargetView) -> int:
        """One sync of the controller on the sum of the last scrape.

        No series at all is 0, as the Prometheus scaler has it (`ignoreNullValues`).
        """
        if self._controller is None:
            self._controller = HpaController(
                self._spec, first_replicas=view.spec_replicas, at=view.at
            )
        waiting = sum(page.waiting_requests for page in view.samples.values())
        return decide(self._controller, view, Reading(values_milli=(waiting * 1000,)))
