"""KEDA with the ScaledObject that articles on LLM serving show: five waiting requests a replica.

`sum(vllm:num_requests_waiting)` from Prometheus, threshold 5, AverageValue, 1 to the maximum, scale
down by half a minute at most after a 300 s window. With minReplicaCount 1 and no cached metrics all
scaling is HPA's, which asks Prometheus live on each sync; KEDA's own loop plays no part.
"""

from __future__ import annotations

from autoscaler.core.contract.spec import Behavior, PolicyType, ScalingPolicy, ScalingRules
from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.hpa.metrics import MetricReading
from simulations.peers.hpa.spec import HpaSpec
from simulations.peers.hpa.target import SYNC_S, TargetHpa, external
from simulations.peers.keda.operator import KedaOperator
from simulations.peers.keda.scaled_object import ScaledObject, value_of

THRESHOLD = 5.0
DOWN_WINDOW_S = 300.0
DOWN_POLICY = ScalingPolicy(type=PolicyType.PERCENT, value=50, period_s=60)


class Keda:
    """The ScaledObject, and the HPA that KEDA makes of it."""

    sync_s = SYNC_S

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        threshold: float = THRESHOLD,
        down_window_s: float = DOWN_WINDOW_S,
    ) -> None:
        """Threshold and behavior as published; the bounds are the run's."""
        self.initial_replicas = setting.replicas_initial
        self._operator = KedaOperator(
            ScaledObject(
                threshold=threshold,
                min_replicas=setting.replicas_min,
                max_replicas=setting.replicas_max,
            )
        )
        down = ScalingRules(stabilization_window_s=int(down_window_s), policies=(DOWN_POLICY,))
        self._hpa = TargetHpa(
            HpaSpec(
                min_replicas=setting.replicas_min,
                max_replicas=setting.replicas_max,
                metrics=(external(threshold),),
                behavior=Behavior(scale_down=down),
            )
        )

    def sync(self, view: TargetView) -> int:
        """One sync of the controller on the sum of the last scrape; no series at all is 0."""
        waiting = [page.waiting_requests for page in view.samples.values()]
        value = value_of(float(sum(waiting)) if waiting else None, ignore_null_values=True)
        answer = self._operator.answer(value)
        values = None if answer.milli is None else (answer.milli,)
        return self._hpa.sync(view, MetricReading(values_milli=values))
