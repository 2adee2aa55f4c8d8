"""KEDA's ScaledObject: bounds, triggers, cron, pauses, and what it hands to its HPA."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.errors import SpecProblem
from autoscaler.kube.api.plain import Plain, part, parts, text, whole
from autoscaler.migration.amounts import amount_text, read_amount
from autoscaler.migration.behavior import take_behavior
from autoscaler.migration.cron import NoScheduleError, read_schedule
from autoscaler.migration.metric_names import MetricSignal
from autoscaler.migration.metrics import MetricAsked, TargetType, take_metric
from autoscaler.migration.predecessor import SCALED_OBJECT_KIND, Predecessor
from autoscaler.migration.queries import (
    Over,
    QueryLoad,
    UnclearQueryError,
    load_of_name,
    read_query,
)
from autoscaler.migration.scale_target import deployment_of
from autoscaler.settings.time_zones import NoTimeZoneError, read_time_zone

VERSION = "keda.sh/v1alpha1"
PAUSED, PAUSED_REPLICAS = "autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas"
PAUSED_DOWN, PAUSED_UP = (
    "autoscaling.keda.sh/paused-scale-in",
    "autoscaling.keda.sh/paused-scale-out",
)
MAX_REPLICAS = 100
"""KEDA's, where none is given."""
_NO_ZERO = "there is no scaling to zero here, for a cold start takes minutes"
_SPEC = {
    "pollingInterval": "the pods' pages are read every 5 s (spec.metrics.periodSeconds)",
    "cooldownPeriod": f"it is of scaling to zero; {_NO_ZERO}. For the way down behavior has a window",
    "initialCooldownPeriod": f"it is of scaling to zero; {_NO_ZERO}",
    "idleReplicaCount": f"{_NO_ZERO}: minReplicas are kept",
}
_SPEC_READ = frozenset(
    {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "triggers", "advanced", "fallback"}
)
_TRIGGER_READ = frozenset({"type", "metadata", "metricType", "name", "query", "threshold"})
_TRIGGER_OTHER = "it is of how KEDA asks Prometheus; the pods' own pages are read"
_TRIGGER = {
    "serverAddress": "the pods' own pages are read; where Prometheus is to be asked, the daemon is given it "
    "(--prometheus-server NAME=URL) and spec.metrics names it",
    "activationThreshold": f"it is of scaling from zero; {_NO_ZERO}",
    "ignoreNullValues": "a page that is missing is unknown, never zero",
    "authenticationRef": "the pods' own pages are read, without credentials of KEDA's",
    "authModes": "the pods' own pages are read, without credentials of KEDA's",
    "useCachedMetrics": "each page is read every 5 s, for all that need it",
    "unsafeSsl": "spec.metrics.tls says whom to trust",
}


def read_scaled_object(
    item: Plain, place: str, told: Mapping[str, MetricSignal]
) -> Predecessor | SpecProblem:
    """Read a ScaledObject.

    Args:
        item: The object.
        place: What it is called in messages.
        told: What the user says of metrics of his own.
    """
    metadata, spec = part(item, "metadata"), part(item, "spec")
    target = deployment_of(part(spec, "scaleTargetRef"), place=place)
    if isinstance(target, SpecProblem):
        return target
    read = Predecessor(
        kind=SCALED_OBJECT_KIND,
        namespace=text(metadata, "namespace"),
        name=text(metadata, "name"),
        target=target,
    )
    _take_bounds(read, spec)
    advanced = part(spec, "advanced")
    modifiers = part(advanced, "scalingModifiers")
    loads = _take_triggers(read, spec, told, composed=bool(text(modifiers, "formula")))
    if text(modifiers, "formula"):
        _take_formula(read, modifiers, loads, told)
    _take_advanced(read, advanced)
    _take_fallback(read, part(spec, "fallback"))
    for name in sorted(spec.keys() - _SPEC_READ):
        read.drop(f"spec.{name}", spec[name], _SPEC.get(name, "a field that is not known"))
    _take_pauses(read, part(metadata, "annotations"))
    return read


def _take_bounds(read: Predecessor, spec: Plain) -> None:
    least, most = whole(spec, "minReplicaCount"), whole(spec, "maxReplicaCount")
    read.min_replicas = max(1, least or 0)
    if not least:
        found = "not given: 0" if least is None else "0"
        read.change("spec.minReplicaCount", found, f"minReplicas: 1: {_NO_ZERO}")
    else:
        read.keep("spec.minReplicaCount", str(least), f"minReplicas: {least}")
    read.max_replicas = max(read.min_replicas, MAX_REPLICAS if most is None else most)
    found = f"not given: {MAX_REPLICAS}" if most is None else str(most)
    read.keep("spec.maxReplicaCount", found, f"maxReplicas: {read.max_replicas}")


def _take_triggers(
    read: Predecessor, spec: Plain, told: Mapping[str, MetricSignal], *, composed: bool
) -> dict[str, QueryLoad]:
    """Take each trigger; returns what those with a name ask for, for a formula over them."""
    loads: dict[str, QueryLoad] = {}
    for index, trigger in enumerate(parts(spec, "triggers")):
        path = f"spec.triggers[{index}]"
        kind = text(trigger, "type")
        if kind == "prometheus":
            load = _take_prometheus(read, trigger, path, told, composed=composed)
            if load is not None and text(trigger, "name"):
                loads[text(trigger, "name")] = load
        elif kind == "cron":
            _take_cron(read, part(trigger, "metadata"), path)
        elif kind in ("cpu", "memory"):
            _take_resource(read, trigger, path, kind)
        else:
            read.drop(
                path,
                kind or "no type",
                "what waits outside of the engines is not seen here; requests in flight are used",
            )
    return loads


def _take_prometheus(
    read: Predecessor,
    trigger: Plain,
    path: str,
    told: Mapping[str, MetricSignal],
    *,
    composed: bool,
) -> QueryLoad | None:
    metadata = part(trigger, "metadata")
    query = text(metadata, "query")
    try:
        load = read_query(query, told=told)
    except UnclearQueryError as error:
        said = f"not understood: {error}; say in spec.targets what a replica carries"
        read.drop(f"{path}.query", query, said)
        load = None
    asked = {**trigger, **metadata}
    for name in sorted(asked.keys() - _TRIGGER_READ):
        read.drop(f"{path}.{name}", asked[name], _TRIGGER.get(name, _TRIGGER_OTHER))
    if composed or load is None:
        return load
    threshold = read_amount(metadata.get("threshold"))
    if threshold is None or threshold <= 0.0:
        read.drop(f"{path}.threshold", metadata.get("threshold"), "no threshold above 0")
        return load
    kind = _target_type(trigger)
    found = f"{query}, {kind} {amount_text(threshold)}"
    take_metric(read, MetricAsked(path, found, load, threshold, kind))
    return load


def _target_type(found: Plain) -> TargetType:
    kind = text(found, "metricType")
    return TargetType.VALUE if kind == TargetType.VALUE else TargetType.AVERAGE_VALUE


def _take_formula(
    read: Predecessor,
    modifiers: Plain,
    loads: Mapping[str, QueryLoad],
    told: Mapping[str, MetricSignal],
) -> None:
    path, formula = "spec.advanced.scalingModifiers", text(modifiers, "formula")
    target = read_amount(modifiers.get("target"))
    try:
        load = read_query(formula, told=told, known=loads)
    except UnclearQueryError as error:
        said = f"not understood: {error}; say in spec.targets what a replica carries"
        read.drop(f"{path}.formula", formula, said)
        return
    if target is None or target <= 0.0:
        read.drop(f"{path}.target", modifiers.get("target"), "no target above 0")
        return
    kind = _target_type(modifiers)
    found = f"{formula}, {kind} {amount_text(target)}"
    take_metric(read, MetricAsked(path, found, load, target, kind))


def _take_cron(read: Predecessor, metadata: Plain, path: str) -> None:
    start, end, zone = (text(metadata, name) for name in ("start", "end", "timezone"))
    replicas = read_amount(metadata.get("desiredReplicas"))
    found = f"{start} to {end} {zone}: {'?' if replicas is None else amount_text(replicas)}"
    if replicas is None or replicas < 1 or replicas != int(replicas):
        read.drop(path, found, "no number of replicas")
        return
    kept = min(int(replicas), read.max_replicas)
    try:
        read_time_zone(zone or "UTC")
        schedule = read_schedule(start, end, time_zone=zone or "UTC", replicas=kept)
    except (NoScheduleError, NoTimeZoneError) as error:
        read.drop(path, found, f"{error}; write a schedule of spec.warmFloor")
        return
    read.schedules.append(schedule)
    said = "spec.warmFloor.schedules: ready when it begins, and not asked for then"
    read.keep(path, found, said if kept == replicas else f"{said}; at most maxReplicas {kept}")


def _take_resource(read: Predecessor, trigger: Plain, path: str, kind: str) -> None:
    value = part(trigger, "metadata").get("value")
    signal = MetricSignal.CPU if kind == "cpu" else MetricSignal.MEMORY
    load = QueryLoad(weights={signal: 1.0}, over=Over.MEAN, names=load_of_name(kind, {}).names)
    take_metric(read, MetricAsked(path, f"{kind} {value}", load, 1.0, TargetType.UTILIZATION))


def _take_advanced(read: Predecessor, advanced: Plain) -> None:
    config = part(advanced, "horizontalPodAutoscalerConfig")
    path = "spec.advanced.horizontalPodAutoscalerConfig"
    take_behavior(read, part(config, "behavior"), f"{path}.behavior")
    if text(config, "name"):
        read.drop(f"{path}.name", text(config, "name"), "there is no HPA any more")
    if advanced.get("restoreToOriginalReplicaCount") is not None:
        read.drop(
            "spec.advanced.restoreToOriginalReplicaCount",
            str(advanced["restoreToOriginalReplicaCount"]),
            "a resource that is deleted leaves the replicas as they are",
        )


def _take_fallback(read: Predecessor, fallback: Plain) -> None:
    if not fallback:
        return
    replicas = whole(fallback, "replicas")
    instead = (
        ""
        if not replicas
        else f"; to have {replicas} at any time write warmFloor.replicas: {replicas}"
    )
    read.drop(
        "spec.fallback",
        f"{replicas} replicas after {fallback.get('failureThreshold')} failures",
        f"where load cannot be read the replicas are held, and none is taken away{instead}",
    )


def _take_pauses(read: Predecessor, annotations: Plain) -> None:
    path = "metadata.annotations"
    if annotations.get(PAUSED) == "true" or PAUSED_REPLICAS in annotations:
        name = PAUSED_REPLICAS if PAUSED_REPLICAS in annotations else PAUSED
        read.paused = "true"
        said = 'inference-autoscaler.dev/paused: "true": the replicas are held as they are'
        note = read.change if name == PAUSED_REPLICAS else read.keep
        note(f"{path}[{name}]", annotations.get(name), said)
    elif annotations.get(PAUSED_DOWN) == "true":
        read.paused = "scale-down"
        said = 'inference-autoscaler.dev/paused: "scale-down"'
        read.keep(f"{path}[{PAUSED_DOWN}]", "true", said)
    if annotations.get(PAUSED_UP) == "true":
        read.drop(f"{path}[{PAUSED_UP}]", "true", "write maxReplicas as many as there are")
