"""What an uninstall leaves behind on objects of others, and how it is taken away again.

All of it is in annotations of ours, and in what one of them says that we did: a cordon, a deletion cost. Only what is named here
is touched; replicas stay as they are. Whoever runs this does so with rights of his own.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
    INTERRUPTION_ANNOTATION,
)
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION, is_ours
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.plain import Plain, part, parts, text
from autoscaler.kube.api.resources import (
    DEPLOYMENTS,
    INFERENCE_AUTOSCALERS,
    LEASES,
    NODES,
    PODS,
    ApiResource,
)
from autoscaler.kube.perform.guarded import patch_as_read

ON_NODES = (CORDON_ANNOTATION, DRAINED_ANNOTATION, INTERRUPTION_ANNOTATION)
"""Annotations of the daemon and of `autoscaler rehearse`; those of the node agent come from whoever knows it."""
RENEWED_S = 3.0
"""A holder renews its lease every two seconds."""
_PAGE = "500"
_PAGES_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remnant:
    """One thing that is left behind."""

    resource: ApiResource
    namespace: str
    """Empty: of an object in none."""
    name: str
    annotations: tuple[str, ...]
    """To be taken away; empty: the object itself is ours, and is deleted."""

    @property
    def cordoned(self) -> bool:
        """Whether it is a node that we cordoned."""
        return CORDON_ANNOTATION in self.annotations

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        if not self.annotations:
            return f"{self.resource.plural} {where}"
        also = ", and it is cordoned by us" if self.cordoned else ""
        return f"{self.resource.plural} {where}: {', '.join(self.annotations)}{also}"


async def find_remnants(
    client: Client,
    *,
    of_agents: Collection[str],
    namespaces: Collection[str],
    lease: tuple[str, str],
    unread: list[str],
) -> list[Remnant]:
    """Look through nodes, Deployments, pods and the Lease.

    Args:
        client: With the rights to list them.
        of_agents: Annotations that node agents write on nodes.
        namespaces: In which to look for Deployments and pods; empty: in all.
        lease: Namespace and name.
        unread: Gets what could not be looked at, and why.
    """
    found: list[Remnant] = []
    for resource, names in (
        (NODES, (*ON_NODES, *of_agents)),
        (DEPLOYMENTS, (FALLBACK_ANNOTATION,)),
        (PODS, (OWN_COST_ANNOTATION,)),
    ):
        for namespace in (namespaces if resource.namespaced else ()) or ("",):
            try:
                async for item in _each(client, resource, namespace):
                    found += _on(item, resource, names)
            except ApiError as failure:
                unread.append(str(failure))
    namespace, name = lease
    try:
        await client.call("get", LEASES, namespace=namespace, name=name)
    except ApiError as failure:
        if failure.status != HTTPStatus.NOT_FOUND:
            unread.append(str(failure))
    else:
        found.append(Remnant(resource=LEASES, namespace=namespace, name=name, annotations=()))
    return found


async def find_copies(
    client: Client,
    resource: ApiResource,
    *,
    selector: str,
    namespaces: Collection[str],
    unread: list[str],
) -> list[Remnant]:
    """Look for the copies of what scaled a target before a takeover: objects of our own, and of worth to somebody.

    Args:
        client: With the right to list them.
        resource: As which they are kept.
        selector: Of labels, which they have.
        namespaces: In which to look; empty: in all.
        unread: Gets what could not be looked at, and why.
    """
    found = []
    for namespace in namespaces or ("",):
        try:
            async for item in _each(client, resource, namespace, labelSelector=selector):
                about = part(item, "metadata")
                where = {"namespace": text(about, "namespace"), "name": text(about, "name")}
                found.append(Remnant(resource=resource, annotations=(), **where))
        except ApiError as failure:
            unread.append(str(failure))
    return found


async def taken_over(client: Client, *, annotation: str, namespaces: Collection[str]) -> list[str]:
    """Return the resources, as `namespace/name`, that say by this annotation what scaled their targets before.

    None where they cannot be listed: without their definition there are none.
    """
    found = []
    for namespace in namespaces or ("",):
        with contextlib.suppress(ApiError):
            async for item in _each(client, INFERENCE_AUTOSCALERS, namespace):
                about = part(item, "metadata")
                if annotation in part(about, "annotations"):
                    found.append(f"{text(about, 'namespace')}/{text(about, 'name')}")
    return found


async def remove(client: Client, remnant: Remnant) -> None:
    """Take it away; what is gone meanwhile is gone. Raises ApiError where it cannot be."""
    namespace, name = remnant.namespace, remnant.name
    try:
        if not remnant.annotations:
            await client.call("delete", remnant.resource, namespace=namespace, name=name)
        else:
            await patch_as_read(
                client,
                remnant.resource,
                lambda item: _without(item, remnant.annotations),
                namespace=namespace,
                name=name,
            )
    except ApiError as failure:
        if failure.status != HTTPStatus.NOT_FOUND:
            raise


async def acting_holder(
    client: Client,
    *,
    lease: tuple[str, str],
    sleep: Callable[[float], Awaitable[None]],
) -> str:
    """Return who renews the lease, and so would write all of it again; empty: nobody does.

    No clock of another is compared: it is looked at twice. Raises ApiError where it cannot be read.
    """
    first = await _holder(client, lease)
    if first is None or not first[0]:
        return ""
    await sleep(RENEWED_S)
    second = await _holder(client, lease)
    return second[0] if second is not None and second != first else ""


async def _holder(client: Client, lease: tuple[str, str]) -> tuple[str, str] | None:
    try:
        found = await client.call("get", LEASES, namespace=lease[0], name=lease[1])
    except ApiError as failure:
        if failure.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    spec = part(found, "spec")
    return shown(text(spec, "holderIdentity")), text(spec, "renewTime")


async def _each(
    client: Client, resource: ApiResource, namespace: str, **selection: str
) -> AsyncIterator[Plain]:
    """Yield the metadata of all objects, page by page."""
    slim = dataclasses.replace(resource, metadata_only=True)
    query = {"limit": _PAGE, **selection}
    for _ in range(_PAGES_MAX):
        page = await client.call("list", slim, namespace=namespace, query=query)
        for item in parts(page, "items"):
            yield item
        then = text(part(page, "metadata"), "continue")
        if not then:
            return
        query |= {"continue": then}


def _on(item: Plain, resource: ApiResource, names: Iterable[str]) -> list[Remnant]:
    metadata = part(item, "metadata")
    there = part(metadata, "annotations")
    ours = tuple(name for name in names if name in there)
    return [
        Remnant(
            resource=resource,
            namespace=text(metadata, "namespace"),
            name=text(metadata, "name"),
            annotations=ours,
        )
    ] * bool(ours)


def _without(item: Json, names: Collection[str]) -> Json | None:
    """Return what takes these annotations away, and what one of them says that we did; None: they are gone."""
    there = part(item, "metadata", "annotations")
    going: dict[str, None] = dict.fromkeys(name for name in names if name in there)
    if not going:
        return None
    if OWN_COST_ANNOTATION in going and is_ours(there):
        going[COST_ANNOTATION] = None
    body: Json = {"metadata": {"annotations": going}}
    if CORDON_ANNOTATION in going:
        body["spec"] = {"unschedulable": None}
    return body
