"""On which nodes a pod may land, as the scheduler sees it, as far as capacity types are concerned.

Asked over one node a dialect, with the label of that dialect and no other: a node selector for Karpenter's
label lands on no node of GKE, which is right, for nobody has both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autoscaler.kube.api.plain import Plain, part, parts, text, texts
from autoscaler.kube.capacity import AKS_LABEL, CAPACITY_LABELS

GKE_LABEL = "cloud.google.com/gke-spot"
_TAINTED = {AKS_LABEL: "spot", GKE_LABEL: "true"}
"""Labels of spot nodes that carry the same as a taint: AKS always, GKE where it provisions the node itself
or its pool was made so."""
_OPEN = ("kubernetes.io/", "beta.kubernetes.io/", "topology.kubernetes.io/", "nvidia.com/")
_OPEN_LABELS = frozenset(
    {
        "node.kubernetes.io/instance-type",
        "cloud.google.com/gke-accelerator",
        "karpenter.k8s.aws/instance-family",
        "karpenter.k8s.aws/instance-gpu-name",
    }
)
"""Labels that nodes of every capacity type have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """Where a pod template may land."""

    spot: tuple[str, ...]
    """Labels of spot nodes on which it may, as `label=value`."""
    spot_all: bool
    """It may on the spot nodes of every dialect: nothing in it speaks of capacity."""
    on_demand: bool
    """It may on a node that is no spot node."""
    untolerated: tuple[str, ...]
    """Of `spot`, where it may not, for it does not tolerate the taint that such nodes carry."""
    elsewhere: bool
    """Other labels are asked for as well, and nobody can tell here which nodes have them."""
    tolerates_all: bool
    """It tolerates every taint, those of nodes that are being taken away among them."""


def landing_of(pod: Plain) -> Landing:
    """Read node selector, required node affinity and tolerations of a pod template."""
    spot_nodes = [
        {label: value} for label, values, _ in CAPACITY_LABELS for value in values.split()[:1]
    ]
    on_demand_nodes: list[dict[str, str]] = [{}]
    on_demand_nodes += [
        {label: value} for label, _, values in CAPACITY_LABELS for value in values.split()[:1]
    ]
    spot = [node for node in spot_nodes if _lands(pod, node)]
    tolerations = parts(pod, "tolerations")
    asked = set(labels_asked(pod))
    known = {label for label, _, _ in CAPACITY_LABELS}
    return Landing(
        spot=tuple(_name(node) for node in spot),
        spot_all=len(spot) == len(spot_nodes),
        on_demand=any(_lands(pod, node) for node in on_demand_nodes),
        untolerated=tuple(
            _name(node)
            for node in spot
            for label, value in node.items()
            if _TAINTED.get(label) == value and not _tolerates(tolerations, label, value)
        ),
        elsewhere=any(
            label not in known and label not in _OPEN_LABELS and not label.startswith(_OPEN)
            for label in asked
        ),
        tolerates_all=any(
            not text(each, "key") and text(each, "operator") == "Exists" for each in tolerations
        ),
    )


def _name(node: dict[str, str]) -> str:
    return ", ".join(f"{label}={value}" for label, value in node.items())


def _terms(pod: Plain) -> list[Plain] | None:
    """Return the required terms, of which one must hold; None where nothing is required."""
    required = part(pod, "affinity", "nodeAffinity").get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return parts(required, "nodeSelectorTerms") if isinstance(required, dict) else None


def labels_asked(pod: Plain) -> Iterator[str]:
    """Yield the labels of nodes that a pod template requires something of."""
    yield from (str(label) for label in part(pod, "nodeSelector"))
    for term in _terms(pod) or ():
        for expression in parts(term, "matchExpressions"):
            yield text(expression, "key")


def _lands(pod: Plain, node: dict[str, str]) -> bool:
    """Whether a node may take the pod that has this label of capacity, and any others that are asked for."""
    known = {label for label, _, _ in CAPACITY_LABELS}
    for label, value in part(pod, "nodeSelector").items():
        if label in known and node.get(label) != value:
            return False
    terms = _terms(pod)
    return terms is None or any(
        all(
            _holds(expression, node)
            for expression in parts(term, "matchExpressions")
            if text(expression, "key") in known
        )
        for term in terms
    )


def _holds(expression: Plain, node: dict[str, str]) -> bool:
    label, operator = text(expression, "key"), text(expression, "operator")
    values: list[Any] = texts(expression, "values")
    if operator == "In":
        return node.get(label) in values
    if operator == "NotIn":
        return node.get(label) not in values
    if operator == "Exists":
        return label in node
    if operator == "DoesNotExist":
        return label not in node
    return True


def _tolerates(tolerations: list[Plain], key: str, value: str) -> bool:
    return any(
        text(each, "key") in ("", key)
        and text(each, "effect") in ("", "NoSchedule")
        and (
            text(each, "operator") == "Exists"
            or (text(each, "key") == key and text(each, "value") == value)
        )
        for each in tolerations
    )
