"""Who else scales a target: who last set its replicas, by its managedFields, and HorizontalPodAutoscalers on it.

Both are written by others, and nothing that can be read wrongly makes a target unreadable: what is of another form
than the API gives it is as if it were not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscaler.core.contract.state import ReplicasWriter, Rival, RivalKind
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import FIELD_MANAGER
from autoscaler.kube.api.fields import Json, mapping, text
from autoscaler.kube.api.plain import Plain, part, parts
from autoscaler.kube.api.timestamps import seconds

_MANAGER_CHARACTERS_MAX = 128
"""As the API server allows."""
_SCALED_OBJECT_LABEL = "scaledobject.keda.sh/name"
"""KEDA writes it on the HPAs that it makes."""


def replicas_writer(item: Json, *, generation: int) -> ReplicasWriter | None:
    """Tell who last set the replicas of a Deployment; None: nobody is said to have.

    Of several who own the field (they applied one number) it is who came last.
    """
    entries = parts(part(item, "metadata"), "managedFields")
    owners = [entry for entry in entries if "f:replicas" in part(entry, "fieldsV1", "f:spec")]
    if not owners:
        return None
    owner = max(owners, key=_written_at)
    fields = part(owner, "fieldsV1", "f:spec")
    manager = owner.get("manager")
    manager = shown(manager if isinstance(manager, str) else "", limit=_MANAGER_CHARACTERS_MAX)
    at = seconds(owner.get("time"))
    if math.isnan(at):
        # Of a write of the subresource no time is noted (seen on 1.36). The Deployment's controller looks at each
        # change of the specification, and notes that in the status.
        told = [
            seconds(entry.get("time")) for entry in entries if entry.get("subresource") == "status"
        ]
        at = max([each for each in told if not math.isnan(each)], default=math.nan)
    return ReplicasWriter(
        manager=manager or "a client that does not say its name",
        ours=manager == FIELD_MANAGER,
        at=at,
        scaled=owner.get("subresource") == "scale" or "f:template" not in fields,
        declares=owner.get("operation") == "Apply",
        generation=generation,
    )


def _written_at(entry: Plain) -> float:
    """Order entries by their time; one without is of the subresource, which takes the field from all others."""
    at = seconds(entry.get("time"))
    return math.inf if math.isnan(at) else at


@dataclass(frozen=True, slots=True)
class SlimHpa:
    """One HorizontalPodAutoscaler."""

    namespace: str
    target: tuple[str, str, str]
    """Group, kind and name of what it scales."""
    rival: Rival
    """What it is to that."""


def slim_hpa(item: Json) -> SlimHpa:
    """Read an HPA: what it scales, and whether it is KEDA's."""
    metadata = mapping(item, "metadata")
    target = mapping(mapping(item, "spec"), "scaleTargetRef")
    name, kind = text(metadata, "name"), RivalKind.HPA
    scaled_object = maker_of(item)
    if scaled_object:
        name, kind = scaled_object, RivalKind.SCALED_OBJECT
    return SlimHpa(
        namespace=text(metadata, "namespace"),
        target=(
            text(target, "apiVersion").rpartition("/")[0],
            text(target, "kind"),
            text(target, "name"),
        ),
        rival=Rival(kind=kind, name=name, since=seconds(metadata.get("creationTimestamp"))),
    )


def maker_of(item: Plain) -> str:
    """Return the name of KEDA's ScaledObject that an HPA was made of; empty: of none."""
    metadata = part(item, "metadata")
    for owner in parts(metadata, "ownerReferences"):
        if owner.get("kind") == "ScaledObject" and isinstance(owner.get("name"), str):
            return str(owner["name"])
    name = part(metadata, "labels").get(_SCALED_OBJECT_LABEL)
    return name if isinstance(name, str) else ""
