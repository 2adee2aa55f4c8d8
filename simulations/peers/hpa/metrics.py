"""The metric side of an HPA: from one metric's readings to a number of replicas.

Arithmetic as the controller's: whole milli-units, means cut to them, ratios as floats. A reading
that cannot be used is None as a proposal, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from autoscaler.core.hpa import within_tolerance
from simulations.peers.hpa.spec import MetricKind, MetricSpec, TargetKind

INT32_MAX = 2**31 - 1
"""What the API can say."""
CPU_INITIALIZATION_S = 300.0
INITIAL_READINESS_S = 30.0


class PodPhase(StrEnum):
    """What the controller tells pods apart by."""

    PENDING = "pending"
    RUNNING = "running"
    """Running and not ready."""
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One pod of the selector."""

    phase: PodPhase
    deleting: bool = False
    start_at: float | None = None
    """status.startTime; only Resource metrics ask."""
    ready_change_at: float | None = None
    """Last transition of Ready; only Resource metrics ask."""
    request_milli: Mapping[str, int] = field(default_factory=dict)
    """Requests of its containers, by resource; only Utilization asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReading:
    """What the metrics API answered for one metric. All three None: an error."""

    values_milli: tuple[int, ...] | None = None
    """External: all items; Object: its one."""
    pods_milli: Mapping[str, int] | None = None
    """Pods and Resource: by pod."""
    sampled_at: float = 0.0
    """Resource: time stamp of the samples."""
    window_s: float = 0.0
    """Resource: what they are means over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The target as a sync finds it."""

    at: float
    spec_replicas: int
    status_replicas: int
    ready_pods: int
    """Running and Ready, deleting ones included; not status.readyReplicas."""
    pod_count: int
    """Whatever their state."""
    pods: Mapping[str, PodView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Relative band around the target in which nothing changes, edges included."""

    up: float
    down: float

    def holds(self, ratio: float) -> bool:
        """Whether a ratio of usage to target changes nothing; NaN and infinity never hold."""
        return within_tolerance(ratio, up_ratio=self.up, down_ratio=self.down)


class MetricSide:
    """Proposals of one metric. A class, so that a test can turn one rule at a time off."""

    def proposal(
        self, metric: MetricSpec, reading: MetricReading, scale: Scale, tolerance: Tolerance
    ) -> int | None:
        """Replicas that this metric asks for; None: it cannot say (an error of the sync)."""
        if metric.kind in (MetricKind.PODS, MetricKind.RESOURCE):
            if not reading.pods_milli or not scale.pods:
                return None
            return self.per_pod(metric, reading, reading.pods_milli, scale, tolerance)
        if not reading.values_milli:
            return None
        if metric.target_kind is TargetKind.VALUE:
            return self.value(metric, sum(reading.values_milli), scale, tolerance)
        usage = self.external_sum(metric, reading.values_milli)
        return INT32_MAX if usage is None else self.average_value(metric, usage, scale, tolerance)

    def external_sum(self, metric: MetricSpec, values_milli: tuple[int, ...]) -> int | None:
        """Sum of an External metric's items; None where the running sum turns negative.

        The controller takes that for an overflow and asks for all there can be. An Object metric
        has one item and no such guard.
        """
        usage = 0
        for value in values_milli:
            usage += value
            if usage < 0 and metric.kind is MetricKind.EXTERNAL:
                return None
        return usage

    def average_value(
        self, metric: MetricSpec, usage: int, scale: Scale, tolerance: Tolerance
    ) -> int:
        """Total over target per replica. Inside the tolerance: status.replicas, not spec's."""
        ratio = _ratio(usage, metric.target * scale.status_replicas)
        if tolerance.holds(ratio):
            return scale.status_replicas
        return _int32(math.ceil(usage / metric.target))

    def value(
        self, metric: MetricSpec, usage: int, scale: Scale, tolerance: Tolerance
    ) -> int | None:
        """The ratio times the ready pods. Inside the tolerance: spec.replicas."""
        ratio = _ratio(usage, metric.target)
        if tolerance.holds(ratio):
            return scale.spec_replicas
        if scale.pod_count == 0:
            return None
        return _int32(math.ceil(ratio * self.multiplier(scale)))

    def multiplier(self, scale: Scale) -> int:
        """What a `Value` ratio is multiplied by."""
        return scale.ready_pods

    def per_pod(
        self,
        metric: MetricSpec,
        reading: MetricReading,
        readings_milli: Mapping[str, int],
        scale: Scale,
        tolerance: Tolerance,
    ) -> int | None:
        """Pods and Resource metrics: the mean over pods, with gaps filled against the change."""
        groups = self.groups(metric, reading, readings_milli, scale)
        samples = {
            pod: value
            for pod, value in readings_milli.items()
            if pod not in groups.ignored and pod not in groups.unready
        }
        ratio = self.usage_ratio(metric, samples, scale)
        if ratio is None:
            return None
        up_with_unready = bool(groups.unready) and ratio > 1.0
        if not up_with_unready and not groups.missing:
            if tolerance.holds(ratio):
                return scale.spec_replicas
            return _int32(math.ceil(ratio * groups.counted))
        samples |= self.filled(metric, groups.missing, ratio, scale)
        if up_with_unready:
            samples |= dict.fromkeys(groups.unready, 0)
        filled = self.usage_ratio(metric, samples, scale)
        if filled is None:
            return None
        if tolerance.holds(filled) or (ratio < 1.0 < filled) or (filled < 1.0 < ratio):
            return scale.spec_replicas
        replicas = _int32(math.ceil(filled * len(samples)))
        if (filled < 1.0 and replicas > scale.spec_replicas) or (
            filled > 1.0 and replicas < scale.spec_replicas
        ):
            return scale.spec_replicas
        return replicas

    def filled(
        self, metric: MetricSpec, missing: frozenset[str], ratio: float, scale: Scale
    ) -> dict[str, int]:
        """What pods without a sample count as: the target on the way down, nothing on the way up.

        A ratio of exactly 1 is neither: they are left out then.
        """
        if ratio == 1.0:
            return {}
        if metric.target_kind is not TargetKind.UTILIZATION:
            return dict.fromkeys(missing, metric.target if ratio < 1.0 else 0)
        share = max(100, metric.target) if ratio < 1.0 else 0
        return {
            pod: scale.pods[pod].request_milli[metric.resource] * share // 100 for pod in missing
        }

    def usage_ratio(
        self, metric: MetricSpec, samples: Mapping[str, int], scale: Scale
    ) -> float | None:
        """Usage over target; None without a sample that counts."""
        if not samples:
            return None
        if metric.target_kind is TargetKind.UTILIZATION:
            requests = {
                pod: scale.pods[pod].request_milli[metric.resource]
                for pod in samples
                if pod in scale.pods
            }
            requested = sum(requests.values())
            if not requested:
                return None
            used = sum(samples[pod] for pod in requests)
            return self.cut(used * 100, requested) / metric.target
        return self.cut(sum(samples.values()), len(samples)) / metric.target

    def cut(self, total: int, count: int) -> float:
        """The mean, cut to whole units towards zero (the controller divides integers)."""
        return total // count if total >= 0 else -(-total // count)

    def groups(
        self,
        metric: MetricSpec,
        reading: MetricReading,
        readings_milli: Mapping[str, int],
        scale: Scale,
    ) -> PodGroups:
        """Sort the pods of the selector; samples of pods that are gone are in no group."""
        ignored, unready, missing = set(), set(), set()
        counted = 0
        for name, pod in scale.pods.items():
            if self.is_ignored(pod):
                ignored.add(name)
            elif pod.phase is PodPhase.PENDING:
                unready.add(name)
            elif name not in readings_milli:
                missing.add(name)
            elif metric.resource == "cpu" and self.cpu_unready(pod, reading, scale.at):
                unready.add(name)
            else:
                counted += 1
        return PodGroups(
            counted=counted,
            ignored=frozenset(ignored),
            unready=frozenset(unready),
            missing=frozenset(missing),
        )

    def is_ignored(self, pod: PodView) -> bool:
        """Left out of everything, sample included."""
        return pod.deleting or pod.phase is PodPhase.FAILED

    def cpu_unready(self, pod: PodView, reading: MetricReading, at: float) -> bool:
        """Whether a pod's CPU is still that of its start."""
        if pod.start_at is None or pod.ready_change_at is None:
            return True
        ready = pod.phase is PodPhase.READY
        if at < pod.start_at + CPU_INITIALIZATION_S:
            fresh_at = pod.ready_change_at + reading.window_s
            return not ready or reading.sampled_at < fresh_at
        return not ready and pod.ready_change_at < pod.start_at + INITIAL_READINESS_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PodGroups:
    """Pods by what their samples are worth."""

    counted: int
    ignored: frozenset[str]
    unready: frozenset[str]
    missing: frozenset[str]


def _ratio(usage: int, target: int) -> float:
    """As a float division does it: infinite over 0, and NaN for 0 over 0."""
    if target == 0:
        return math.nan if usage == 0 else math.copysign(math.inf, usage)
    return usage / target


def _int32(replicas: int) -> int:
    return max(-INT32_MAX - 1, min(INT32_MAX, replicas))
