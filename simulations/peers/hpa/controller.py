"""One sync of the HPA controller, with its memory.

The order of a sync: paused at 0; outside min..max, set to the bound and ask nothing; else one
proposal per metric, the highest of those that can say; stabilized, limited, clamped. A failed sync
leaves everything as it is and is not remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.core.contract.spec import Behavior, ScalingRules
from autoscaler.core.hpa import HpaMemory, limit_rate, remember_rescale, stabilize
from simulations.peers.hpa.legacy import limit_legacy, stabilize_legacy
from simulations.peers.hpa.metrics import MetricReading, MetricSide, Scale, Tolerance
from simulations.peers.hpa.spec import DOWN_STABILIZATION_S, HpaSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """What one sync came to."""

    proposal: int | None
    """Before stabilization and limits; None: failed, or not computed."""
    replicas: int
    """The answer: what spec.replicas is to be."""


class HpaController:
    """One autoscaler in the controller manager's process."""

    def __init__(
        self, spec: HpaSpec, *, first_replicas: int, at: float, side: MetricSide | None = None
    ) -> None:
        """Start with one recommendation, equal to the replicas at first sight."""
        self.spec = spec
        self.memory = HpaMemory(recommendations=[(at, first_replicas)])
        self._side = side or MetricSide()

    def sync(self, scale: Scale, readings: Sequence[MetricReading] | None) -> Sync:
        """Decide; `readings` has one entry per metric of the spec, in its order (None: not asked)."""
        spec = self.spec
        current = scale.spec_replicas
        if current == 0:
            return Sync(proposal=None, replicas=0)
        if not spec.min_replicas <= current <= spec.max_replicas:
            replicas = min(max(current, spec.min_replicas), spec.max_replicas)
            return Sync(proposal=None, replicas=replicas)
        proposal = None if readings is None else self._proposal(scale, readings)
        if proposal is None:
            return Sync(proposal=None, replicas=current)
        return Sync(proposal=proposal, replicas=self._normalised(scale, proposal))

    def rescaled(self, *, at: float, before: int, after: int) -> None:
        """Take note that the API server has stored our answer at `at`: an event for the rates."""
        behavior = self.spec.behavior
        if behavior is not None:
            remember_rescale(
                self.memory,
                at=at,
                before=before,
                after=after,
                up=behavior.scale_up,
                down=behavior.scale_down,
            )

    def _proposal(self, scale: Scale, readings: Sequence[MetricReading]) -> int | None:
        tolerance = Tolerance(up=self.spec.tolerance_up, down=self.spec.tolerance_down)
        proposals = [
            self._side.proposal(metric, reading, scale, tolerance)
            for metric, reading in zip(self.spec.metrics, readings, strict=True)
        ]
        known = [proposal for proposal in proposals if proposal is not None]
        if not known:
            return None
        highest = max(known)
        if len(known) < len(proposals) and highest < scale.spec_replicas:
            return None
        return highest

    def _normalised(self, scale: Scale, proposal: int) -> int:
        spec, memory, at, current = self.spec, self.memory, scale.at, scale.spec_replicas
        if spec.behavior is None:
            stable = stabilize_legacy(memory.recommendations, at=at, proposal=proposal)
            return limit_legacy(
                current=current,
                proposal=stable.replicas,
                replicas_min=spec.min_replicas,
                replicas_max=spec.max_replicas,
            )
        up, down = _directions(spec.behavior)
        stable = stabilize(
            memory.recommendations,
            at=at,
            current=current,
            proposal=proposal,
            up_window_s=up.stabilization_window_s or 0.0,
            down_window_s=DOWN_STABILIZATION_S
            if down.stabilization_window_s is None
            else down.stabilization_window_s,
        )
        limited = limit_rate(
            memory, at=at, current=current, proposal=stable.replicas, up=up, down=down
        )
        return min(max(limited.replicas, spec.min_replicas), spec.max_replicas)


def _directions(behavior: Behavior) -> tuple[ScalingRules, ScalingRules]:
    """Both directions; the API server fills in the defaults of one that is not given."""
    return behavior.scale_up or ScalingRules(), behavior.scale_down or ScalingRules()
