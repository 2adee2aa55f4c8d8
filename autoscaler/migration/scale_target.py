"""Whom a predecessor scales: a Deployment, or it cannot be taken over."""

from __future__ import annotations

from autoscaler.errors import SpecProblem
from autoscaler.foreign_text import shown
from autoscaler.kube.api.plain import Plain, text


def deployment_of(reference: Plain, *, place: str) -> str | SpecProblem:
    """Return the name of the Deployment that a `scaleTargetRef` names."""
    kind = text(reference, "kind") or "Deployment"
    version = text(reference, "apiVersion") or "apps/v1"
    name = text(reference, "name")
    path = f"{place}: spec.scaleTargetRef"
    if (version, kind) != ("apps/v1", "Deployment"):
        return SpecProblem(
            path=path,
            found=shown(f"{version} {kind} {name}", limit=120),
            remedy="an InferenceAutoscaler scales Deployments (apps/v1) alone; it stays with its HPA or KEDA",
        )
    if not name:
        return SpecProblem(path=path, found="no name", remedy="write the name of a Deployment")
    return name
