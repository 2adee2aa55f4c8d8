"""What a ScaledObject with one Prometheus trigger asks for, defaults filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.errors import SettingsError

POLLING_S = 30.0
COOLDOWN_S = 300.0
PAUSED_ANNOTATIONS = (
    "autoscaling.keda.sh/paused",
    "autoscaling.keda.sh/paused-replicas",
    "autoscaling.keda.sh/paused-scale-in",
    "autoscaling.keda.sh/paused-scale-out",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What to answer once a trigger has failed for long enough (behavior `static`)."""

    failure_threshold: int
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledObject:
    """One ScaledObject."""

    threshold: float
    """Of the trigger; its metric type is AverageValue."""
    activation_threshold: float = 0.0
    ignore_null_values: bool = True
    """An answer without a series, NaN and infinity are 0; else they are errors."""
    use_cached_metrics: bool = False
    min_replicas: int = 0
    max_replicas: int = 100
    idle_replicas: int | None = None
    polling_s: float = POLLING_S
    cooldown_s: float = COOLDOWN_S
    fallback: Fallback | None = None

    @property
    def floor(self) -> int:
        """What an active target has at least."""
        return max(1, self.min_replicas)

    @property
    def polls(self) -> bool:
        """Whether KEDA's own loop asks all the time; else it lives on what HPA's requests bring."""
        return self.min_replicas == 0 or self.idle_replicas is not None or self.use_cached_metrics


def scaled_object(spec: Mapping[str, Any]) -> ScaledObject:
    """Read a ScaledObject's spec; raises SettingsError on what is not modelled."""
    triggers = spec["triggers"]
    if len(triggers) != 1 or triggers[0]["type"] != "prometheus":
        raise SettingsError("only ScaledObjects with one Prometheus trigger are modelled")
    (trigger,) = triggers
    metric_type = trigger.get("metricType", "AverageValue")
    if metric_type != "AverageValue":
        raise SettingsError(f"metricType {metric_type} is not modelled; AverageValue is")
    if int(spec.get("initialCooldownPeriod", 0)):
        raise SettingsError(
            "initialCooldownPeriod is not modelled; a replay begins with a target that is there"
        )
    metadata = trigger["metadata"]
    fallback = spec.get("fallback")
    if fallback is not None and fallback.get("behavior", "static") != "static":
        raise SettingsError(
            f"fallback behavior {fallback['behavior']!r} is not modelled; use static"
        )
    idle = spec.get("idleReplicaCount")
    return ScaledObject(
        threshold=float(metadata["threshold"]),
        activation_threshold=float(metadata.get("activationThreshold", 0)),
        ignore_null_values=metadata.get("ignoreNullValues", "true") != "false",
        use_cached_metrics=bool(trigger.get("useCachedMetrics", False)),
        min_replicas=int(spec.get("minReplicaCount", 0)),
        max_replicas=int(spec.get("maxReplicaCount", 100)),
        idle_replicas=None if idle is None else int(idle),
        polling_s=float(spec.get("pollingInterval", POLLING_S)),
        cooldown_s=float(spec.get("cooldownPeriod", COOLDOWN_S)),
        fallback=None
        if fallback is None
        else Fallback(
            failure_threshold=int(fallback["failureThreshold"]), replicas=int(fallback["replicas"])
        ),
    )


def check_not_paused(annotations: Mapping[str, Any]) -> None:
    """Raise SettingsError where annotations pause it: then it is not what scales the target."""
    for name in PAUSED_ANNOTATIONS:
        if str(annotations.get(name, "false")).lower() not in ("false", ""):
            raise SettingsError(f"the annotation {name} pauses it, which is not modelled")


def value_of(served: float | None, *, ignore_null_values: bool) -> float | None:
    """What the scaler makes of a Prometheus answer (None: no series); None: an error."""
    if served is None or not math.isfinite(served):
        return 0.0 if ignore_null_values else None
    return served
