"""What is kept of an `InferenceAutoscaler`: the document that it is, without what the server adds to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.core.contract.commands import PAUSED_ANNOTATION, PAUSED_REPLICAS_ANNOTATION
from autoscaler.kube.api.fields import Json, mapping, text, texts, whole
from autoscaler.kube.api.timestamps import seconds
from autoscaler.settings.resource import API_VERSION, KIND

_GENERATION_MAX = 2**63 - 1
_ANNOTATIONS = (PAUSED_ANNOTATION, PAUSED_REPLICAS_ANNOTATION)


@dataclass(frozen=True, slots=True)
class SlimResource:
    """One of them. It changes as its specification or its pause does, and not as its status does."""

    namespace: str
    name: str
    uid: str
    created_at: float = field(compare=False)
    """NaN: not said."""
    generation: int
    deleting: bool
    """Somebody deleted it; where others hold it back it is still there, and no model of ours."""
    content: Json
    """As a document of a file would be."""
    status: Json = field(compare=False)
    """As it was when this was read: ours, unless somebody else writes it."""


def slim_resource(item: Json) -> SlimResource:
    """Read a resource. What its specification says is not looked at: that is judged as documents of files are."""
    metadata = mapping(item, "metadata")
    namespace, name = text(metadata, "namespace"), text(metadata, "name")
    generation = whole(metadata, "generation", default=1, most=_GENERATION_MAX)
    told = texts(metadata, "annotations")
    paused = {name: told[name] for name in _ANNOTATIONS if name in told}
    known = {"name": name, "namespace": namespace, "generation": generation}
    if paused:
        known["annotations"] = paused
    content = {"apiVersion": API_VERSION, "kind": KIND, "metadata": known}
    if "spec" in item:
        content["spec"] = item["spec"]
    return SlimResource(
        namespace=namespace,
        name=name,
        uid=text(metadata, "uid"),
        created_at=seconds(metadata.get("creationTimestamp")),
        generation=generation,
        deleting=bool(metadata.get("deletionTimestamp")),
        content=content,
        status=mapping(item, "status"),
    )
