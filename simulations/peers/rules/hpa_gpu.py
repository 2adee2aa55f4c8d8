"""HPA on GPU utilization: what a search for "autoscale GPU" still finds first.

`DCGM_FI_DEV_GPU_UTIL` of each pod's GPU, AverageValue 80, HPA's defaults. That figure is the share of
time in which *any* kernel ran, so a vLLM replica with one request shows what one with a hundred does:
its steps follow each other with pauses of a millisecond or less. It is modelled as just that.
"""

from __future__ import annotations

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.hpa.spec import HpaSpec
from simulations.peers.hpa.target import SYNC_S, TargetHpa, per_pod, pods
from simulations.serving.columns import Gauges
from simulations.serving.profiles.profiles import Profile

TARGET_PERCENT = 80.0


class HpaGpu:
    """HPA over a Deployment whose pods report their GPU's utilization."""

    sync_s = SYNC_S

    def __init__(self, setting: BaselineSetting, *, target_percent: float = TARGET_PERCENT) -> None:
        """With HPA's defaults."""
        self.initial_replicas = setting.replicas_initial
        self._profile = setting.profile
        self._hpa = TargetHpa(
            HpaSpec(
                min_replicas=setting.replicas_min,
                max_replicas=setting.replicas_max,
                metrics=(pods(target_percent),),
            )
        )

    def sync(self, view: TargetView) -> int:
        """One sync of the controller."""
        used = {pod: utilization(page, self._profile) for pod, page in view.samples.items()}
        return self._hpa.sync(view, per_pod(used))


def utilization(page: Gauges, profile: Profile) -> float:
    """Per cent of the time in which a kernel runs: all of it but the pauses, once anything runs."""
    if not page.running_requests:
        return 0.0
    return round(100.0 * profile.step_ns / (profile.step_ns + profile.pause_ns))
