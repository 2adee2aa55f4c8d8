"""An HPA, as `autoscaling/v2` has it (and v1, which knows the CPU alone)."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.errors import SpecProblem
from autoscaler.foreign_text import shown
from autoscaler.kube.api.plain import Plain, part, parts, text, whole
from autoscaler.kube.watch.rivals import maker_of
from autoscaler.migration.amounts import amount_text, read_amount
from autoscaler.migration.behavior import take_behavior
from autoscaler.migration.metric_names import MetricSignal
from autoscaler.migration.metrics import MetricAsked, TargetType, take_metric
from autoscaler.migration.predecessor import HPA_KIND, Predecessor
from autoscaler.migration.queries import Over, QueryLoad, load_of_name
from autoscaler.migration.scale_target import deployment_of

VERSIONS = ("autoscaling/v2", "autoscaling/v2beta2", "autoscaling/v1")
_RESOURCES = {"cpu": MetricSignal.CPU, "memory": MetricSignal.MEMORY}
_KNOWN = {
    "scaleTargetRef",
    "minReplicas",
    "maxReplicas",
    "metrics",
    "behavior",
    "targetCPUUtilizationPercentage",
}
_SECTIONS = {
    "Pods": "pods",
    "External": "external",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def read_hpa(
    item: Plain, place: str, told: Mapping[str, MetricSignal]
) -> Predecessor | SpecProblem:
    """Read an HPA.

    Args:
        item: The object.
        place: What it is called in messages.
        told: What the user says of metrics of his own.
    """
    version = text(item, "apiVersion")
    if version not in VERSIONS:
        return SpecProblem(
            path=f"{place}: apiVersion",
            found=shown(version, limit=80) or "nothing",
            remedy="give it as autoscaling/v2; `kubectl get hpa NAME -o yaml` does",
        )
    metadata, spec = part(item, "metadata"), part(item, "spec")
    maker = shown(maker_of(item), limit=80)
    if maker:
        return SpecProblem(
            path=place,
            found=f"an HPA that KEDA made of the ScaledObject {maker}",
            remedy=f"import that: scaledobject/{maker}",
        )
    target = deployment_of(part(spec, "scaleTargetRef"), place=place)
    if isinstance(target, SpecProblem):
        return target
    read = Predecessor(
        kind=HPA_KIND,
        namespace=text(metadata, "namespace"),
        name=text(metadata, "name"),
        target=target,
    )
    _take_bounds(read, spec)
    for index, metric in enumerate(parts(spec, "metrics")):
        _take_metric(read, metric, f"spec.metrics[{index}]", told)
    percent = whole(spec, "targetCPUUtilizationPercentage")
    if percent is not None:
        _take_resource(read, "spec.targetCPUUtilizationPercentage", f"{percent} %", "cpu")
    take_behavior(read, part(spec, "behavior"), "spec.behavior")
    for name in spec.keys() - _KNOWN:
        read.drop(f"spec.{name}", spec[name], "a field that is not known")
    return read


def _take_bounds(read: Predecessor, spec: Plain) -> None:
    least, most = whole(spec, "minReplicas"), whole(spec, "maxReplicas")
    read.min_replicas = max(1, 1 if least is None else least)
    told = "spec.minReplicas"
    if least == 0:
        read.change(
            told, "0", "1: there is no scaling to zero here, for a cold start takes minutes"
        )
    else:
        read.keep(told, "not given: 1" if least is None else str(least), "by the same name")
    read.max_replicas = max(read.min_replicas, most or read.min_replicas)
    read.keep("spec.maxReplicas", str(read.max_replicas), "by the same name")


def _take_metric(
    read: Predecessor, metric: Plain, path: str, told: Mapping[str, MetricSignal]
) -> None:
    kind = text(metric, "type")
    section = _SECTIONS.get(kind)
    source = {} if section is None else part(metric, section)
    if kind in ("Resource", "ContainerResource"):
        name = text(source, "name")
        target = part(source, "target")
        amount = target.get("averageUtilization") or target.get("averageValue")
        _take_resource(read, path, f"{kind} {name} {amount}", name)
        return
    if section is None:
        read.drop(path, kind or "nothing", "a type of metric that is not known")
        return
    name = text(part(source, "metric"), "name")
    target = part(source, "target")
    word = text(target, "type") or ("AverageValue" if "averageValue" in target else "Value")
    amount = read_amount(target.get(word[0].lower() + word[1:]))
    found = f"{kind} {name}, {word} {'?' if amount is None else amount_text(amount)}"
    if not name or amount is None or amount <= 0.0 or word not in ("AverageValue", "Value"):
        read.drop(path, found, "no metric with a target above 0")
        return
    asked = MetricAsked(
        path, found, load_of_name(name, told), amount, TargetType(word), each_pod=kind == "Pods"
    )
    take_metric(read, asked)
    if part(source, "metric", "selector"):
        read.drop(
            f"{path}.{section}.metric.selector",
            None,
            "the pods of the Deployment are read themselves",
        )


def _take_resource(read: Predecessor, path: str, found: str, name: str) -> None:
    other = MetricSignal.GPU if "gpu" in name else MetricSignal.OTHER
    load = QueryLoad(weights={_RESOURCES.get(name, other): 1.0}, over=Over.MEAN, names=(name,))
    take_metric(read, MetricAsked(path, found, load, 1.0, TargetType.UTILIZATION))
