"""HPAs and ScaledObjects of a cluster, read with the rights of whoever calls."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from autoscaler.errors import SettingsError
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.plain import Plain, part, parts, text
from autoscaler.kube.api.resources import HPAS, SCALED_OBJECTS, ApiResource
from autoscaler.kube.soundness.targets_read import read_cluster
from autoscaler.kube.watch.rivals import maker_of
from autoscaler.migration.document import document_of
from autoscaler.migration.predecessor import HPA_KIND, SCALED_OBJECT_KIND, Predecessor
from autoscaler.migration.target_facts import TargetFacts, target_facts
from autoscaler.settings import InferenceAutoscaler, to_core
from autoscaler.settings.documents import Document

_KINDS = {
    **dict.fromkeys(
        ("hpa", "hpas", "horizontalpodautoscaler", "horizontalpodautoscalers"), HPA_KIND
    ),
    **dict.fromkeys(("so", "scaledobject", "scaledobjects"), SCALED_OBJECT_KIND),
}
RESOURCES = {HPA_KIND: HPAS, SCALED_OBJECT_KIND: SCALED_OBJECTS}
VERSIONS = {kind: f"{resource.group}/{resource.version}" for kind, resource in RESOURCES.items()}


class Named(NamedTuple):
    """An object as it is named on a command line."""

    kind: str
    name: str


def named_object(text_given: str) -> Named | None:
    """Read `hpa/NAME` or `scaledobject/NAME`, as kubectl has it; None: it is none of these."""
    kind, slash, name = text_given.partition("/")
    found = _KINDS.get(kind.lower().partition(".")[0])
    return Named(found, name) if slash and found and name and "/" not in name else None


async def read_named(client: Client, named: Named, *, namespace: str) -> Document:
    """Read an HPA or ScaledObject as a document; raises SettingsError where there is none of this name."""
    try:
        item = await client.call("get", RESOURCES[named.kind], namespace=namespace, name=named.name)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        there = await writers_in(client, namespace)
        names = ", ".join(f"{each.kind} {each.name}" for each in there[:10]) or "none"
        raise SettingsError(
            f"there is no {named.kind} {shown(named.name, limit=80)} in the namespace {namespace} at "
            f"{client.server}; there: {names}; name one of them, and its namespace with -n"
        ) from error
    item = {"apiVersion": VERSIONS[named.kind], "kind": named.kind, **item}
    place = f"{named.kind} {namespace}/{named.name}"
    return Document(file=Path(place), ordinal=1, content=item, told_as=place)


class ScaleWriter(NamedTuple):
    """One HPA or ScaledObject of the cluster."""

    kind: str
    name: str
    target: str
    """Kind and name of what it scales, as `Deployment/llama`."""
    item: Plain


async def writers_in(client: Client, namespace: str) -> list[ScaleWriter]:
    """List those of a namespace; HPAs that KEDA made are their ScaledObject's."""
    found = []
    for kind, resource in RESOURCES.items():
        for item in await _items(client, resource, namespace):
            if kind == HPA_KIND and maker_of(item):
                continue
            reference = part(item, "spec", "scaleTargetRef")
            target = f"{text(reference, 'kind') or 'Deployment'}/{text(reference, 'name')}"
            name = text(part(item, "metadata"), "name")
            found.append(ScaleWriter(kind, name, target, item))
    return found


async def _items(client: Client, resource: ApiResource, namespace: str) -> Sequence[Plain]:
    """List objects; of a kind that the cluster does not have there are none."""
    try:
        page = await client.call("list", resource, namespace=namespace)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return ()
        raise
    return parts(page, "items")


async def facts_in_cluster(
    client: Client, predecessor: Predecessor, *, namespace: str
) -> TargetFacts | None:
    """Read a predecessor's Deployment and how long its replicas took to start; None: it is not there."""
    notes = list(predecessor.notes)
    draft = document_of(predecessor, None, namespace=namespace)
    predecessor.notes[:] = notes  # those of a draft are none
    model = to_core(InferenceAutoscaler.model_validate(draft, strict=False))
    read = await read_cluster(client, [model])
    target = model.pools[0].target
    item = read.deployment(target)
    if item is None:
        predecessor.change(
            "spec.scaleTargetRef", str(target), f"there is no such Deployment at {client.server}"
        )
        return None
    measured = read.cold_starts_s.get((target.namespace, target.name))
    return target_facts(
        item,
        cold_start_s=statistics.median(measured) if measured else None,
        origin=str(target),
    )
