"""An HPA over a Deployment of the replay: what it reads there, and a sync that notes its own write."""

from __future__ import annotations

from simulations.peers.baseline import TargetView
from simulations.peers.hpa.controller import HpaController
from simulations.peers.hpa.metrics import MetricReading, PodPhase, PodView, Scale
from simulations.peers.hpa.spec import HpaSpec, MetricKind, MetricSpec, TargetKind
from simulations.serving.gauges import NEVER
from simulations.world.objects import SimulatedPod

SYNC_S = 15.0


class TargetHpa:
    """One HPA; its controller begins to remember at its first sync."""

    def __init__(self, spec: HpaSpec) -> None:
        """For a target that it has not seen yet."""
        self.spec = spec
        self._controller: HpaController | None = None

    def sync(self, view: TargetView, *readings: MetricReading) -> int:
        """Decide, and take note of the write."""
        if self._controller is None:
            self._controller = HpaController(
                self.spec, first_replicas=view.spec_replicas, at=view.at
            )
        replicas = self._controller.sync(scale_of(view), readings).replicas
        if replicas != view.spec_replicas and view.writable:
            self._controller.rescaled(at=view.at, before=view.spec_replicas, after=replicas)
        return replicas


def external(target: float, *, kind: TargetKind = TargetKind.AVERAGE_VALUE) -> MetricSpec:
    """An External metric with this target."""
    return MetricSpec(kind=MetricKind.EXTERNAL, target_kind=kind, target=_milli(target))


def pods(target: float) -> MetricSpec:
    """A Pods metric with this AverageValue."""
    return MetricSpec(
        kind=MetricKind.PODS, target_kind=TargetKind.AVERAGE_VALUE, target=_milli(target)
    )


def total(value: float) -> MetricReading:
    """What an External metric of one item reads; rounded up to milli-units, as the API does."""
    return MetricReading(values_milli=(_milli(value),))


def per_pod(values: dict[str, float]) -> MetricReading:
    """What a Pods metric reads."""
    return MetricReading(pods_milli={pod: _milli(value) for pod, value in values.items()})


def _milli(value: float) -> int:
    # nine decimals are what a quantity may have; more are noise of the float
    return -int(-round(value * 1e9) // 1_000_000)


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


def _pod(pod: SimulatedPod) -> PodView:
    if pod.ready:
        phase = PodPhase.READY
    else:
        phase = PodPhase.PENDING if pod.bound_ns == NEVER else PodPhase.RUNNING
    return PodView(phase=phase, deleting=pod.deleting)
