"""The HorizontalPodAutoscaler on requests in flight: what to use where nothing but HPA is there.

A Pods metric, running plus waiting requests of each vLLM pod (through prometheus-adapter), with the
profile's in-flight target as AverageValue and no `behavior` block: HPA's own defaults, a sync every
15 s, tolerance 10 %, 300 s of stabilization on the way down.
"""

from __future__ import annotations

from simulations.baselines.baseline import BaselineSetting, TargetView
from simulations.cluster.objects import NEVER, Pod
from simulations.hpa.controller import HpaController
from simulations.hpa.metrics import PodPhase, PodView, Reading, Scale
from simulations.hpa.spec import HpaSpec, MetricKind, MetricSpec, TargetKind

SYNC_S = 15.0


class Hpa:
    """HPA over a Deployment whose pods report their requests in flight."""

    sync_s = SYNC_S

    def __init__(self, setting: BaselineSetting) -> None:
        """With the defaults that the API server fills in."""
        self.initial_replicas = setting.replicas_min
        target = MetricSpec(
            kind=MetricKind.PODS,
            target_kind=TargetKind.AVERAGE_VALUE,
            target=setting.profile.in_flight_target * 1000,
        )
        self._spec = HpaSpec(
            min_replicas=setting.replicas_min,
            max_replicas=setting.replicas_max,
            metrics=(target,),
        )
        self._controller: HpaController | None = None

    def sync(self, view: TargetView) -> int:
        """One sync of the controller."""
        if self._controller is None:
            self._controller = HpaController(
                self._spec, first_replicas=view.spec_replicas, at=view.at
            )
        samples = {
            pod: 1000 * (page.running_requests + page.waiting_requests)
            for pod, page in view.samples.items()
        }
        return decide(self._controller, view, Reading(pods_milli=samples))


def decide(controller: HpaController, view: TargetView, *readings: Reading) -> int:
    """Sync over a Deployment, and take note of the write."""
    replicas = controller.sync(scale_of(view), readings).replicas
    if replicas != view.spec_replicas:
        controller.rescaled(at=view.at, before=view.spec_replicas, after=replicas)
    return replicas


def scale_of(view: TargetView) -> Scale:
    """The target as HPA reads it."""
    return Scale(
        at=view.at,
        spec_replicas=view.spec_replicas,
        status_replicas=view.status_replicas,
        ready_pods=sum(pod.ready for pod in view.pods),
        pod_count=len(view.pods),
        pods={pod.name: _pod(pod) for pod in view.pods},
    )


def _pod(pod: Pod) -> PodView:
    if pod.ready:
        phase = PodPhase.READY
    else:
        phase = PodPhase.PENDING if pod.bound_ns == NEVER else PodPhase.RUNNING
    return PodView(phase=phase, deleting=pod.deleting)
