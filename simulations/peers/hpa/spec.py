"""What an HPA asks for: its spec, read from the API's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from autoscaler.core.contract.spec import (
    Behavior,
    PolicyType,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
)
from autoscaler.errors import SettingsError
from simulations.peers.hpa.quantities import milli

TOLERANCE_RATIO = 0.1
"""The controller's flag --horizontal-pod-autoscaler-tolerance."""
DOWN_STABILIZATION_S = 300.0
"""The controller's flag --horizontal-pod-autoscaler-downscale-stabilization."""


class MetricKind(StrEnum):
    """Where a metric comes from."""

    EXTERNAL = "External"
    OBJECT = "Object"
    PODS = "Pods"
    RESOURCE = "Resource"


class TargetKind(StrEnum):
    """What its target means."""

    VALUE = "Value"
    """Of the metric as it is; the ratio to it multiplies the ready pods."""
    AVERAGE_VALUE = "AverageValue"
    """Per replica."""
    UTILIZATION = "Utilization"
    """Per cent of the pods' requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric and its target."""

    kind: MetricKind
    target_kind: TargetKind
    target: int
    """Milli-units; per cent for UTILIZATION."""
    resource: str = ""
    """`cpu` or `memory`, of RESOURCE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaSpec:
    """One HPA."""

    min_replicas: int
    max_replicas: int
    metrics: tuple[MetricSpec, ...]
    behavior: Behavior | None = None
    """None: not given, which is another algorithm than one with all defaults."""

    @property
    def tolerance_up(self) -> float:
        """How far above 1 a ratio may be without a change."""
        return _tolerance(self.behavior.scale_up if self.behavior else None)

    @property
    def tolerance_down(self) -> float:
        """How far below 1 a ratio may be without a change."""
        return _tolerance(self.behavior.scale_down if self.behavior else None)


def _tolerance(rules: ScalingRules | None) -> float:
    if rules is None or rules.tolerance_ratio is None:
        return TOLERANCE_RATIO
    return rules.tolerance_ratio


def hpa_spec(spec: Mapping[str, Any]) -> HpaSpec:
    """Read an `autoscaling/v2` spec; raises SettingsError on a metric that is not modelled."""
    return HpaSpec(
        min_replicas=int(spec.get("minReplicas", 1)),
        max_replicas=int(spec["maxReplicas"]),
        metrics=tuple(_metric(metric) for metric in spec["metrics"]),
        behavior=_behavior(spec["behavior"]) if spec.get("behavior") else None,
    )


def _metric(metric: Mapping[str, Any]) -> MetricSpec:
    try:
        kind = MetricKind(metric["type"])
    except ValueError:
        raise SettingsError(
            f"HPA metric of type {metric['type']!r} is not modelled; "
            f"use one of {', '.join(MetricKind)}"
        ) from None
    source = metric[kind.lower()]
    target = source["target"]
    target_kind = TargetKind(target["type"])
    match target_kind:
        case TargetKind.VALUE:
            value = milli(str(target["value"]))
        case TargetKind.AVERAGE_VALUE:
            value = milli(str(target["averageValue"]))
        case TargetKind.UTILIZATION:
            value = int(target["averageUtilization"])
    resource = source["name"] if kind is MetricKind.RESOURCE else ""
    return MetricSpec(kind=kind, target_kind=target_kind, target=value, resource=resource)


def _behavior(behavior: Mapping[str, Any]) -> Behavior:
    return Behavior(
        scale_up=_rules(behavior.get("scaleUp")), scale_down=_rules(behavior.get("scaleDown"))
    )


def _rules(rules: Mapping[str, Any] | None) -> ScalingRules | None:
    if rules is None:
        return None
    policies = rules.get("policies")
    tolerance = rules.get("tolerance")
    return ScalingRules(
        stabilization_window_s=rules.get("stabilizationWindowSeconds"),
        select_policy=SelectPolicy(rules.get("selectPolicy") or SelectPolicy.MAX),
        policies=None
        if policies is None
        else tuple(
            ScalingPolicy(
                type=PolicyType(policy["type"]),
                value=int(policy["value"]),
                period_s=int(policy["periodSeconds"]),
            )
            for policy in policies
        ),
        tolerance_ratio=None if tolerance is None else milli(str(tolerance)) / 1000,
    )
