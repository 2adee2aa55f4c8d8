"""What is in one namespace beside the Deployment that is asked about: read from manifests or from a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from autoscaler.errors import SettingsError
from autoscaler.foreign_text import listed, shown
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.plain import Plain, part, parts, text
from autoscaler.kube.api.resources import DEPLOYMENTS, INFERENCE_AUTOSCALERS, SERVICES, ApiResource


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRead:
    """What was found in a namespace."""

    namespace: str
    origin: str
    """Where, for messages."""
    deployments: Mapping[str, Plain]
    """By name."""
    services: tuple[Plain, ...] | None
    """None: they could not be read."""
    scaled_by: Mapping[str, str] = field(default_factory=dict)
    """By name of a Deployment, the resource that scales it already."""
    other_kinds: Mapping[str, str] = field(default_factory=dict)
    """By name, the kind of what is no Deployment and has pods all the same."""
    unread: tuple[str, ...] = ()
    """What could not be read, and why."""

    def deployment(self, name: str) -> Plain:
        """Return a Deployment; raises SettingsError that names what there is instead."""
        found = self.deployments.get(name)
        if found is not None:
            return found
        kind = self.other_kinds.get(name)
        there = listed(sorted(self.deployments), names=20) or "none"
        raise SettingsError(
            f"there is no Deployment {self.namespace}/{shown(name)} in {self.origin}"
            + (f", but a {shown(kind)} of that name: Deployments alone are scaled" if kind else "")
            + f"; Deployments there: {there}; name one of them, or its namespace (-n)"
        )


_WITH_PODS = ("StatefulSet", "DaemonSet", "LeaderWorkerSet", "RayService", "ReplicaSet", "Rollout")


def namespace_of_manifests(
    objects: Iterable[Plain], *, origin: str, namespace: str | None
) -> NamespaceRead:
    """Take one namespace's objects out of documents.

    Args:
        objects: Of any kind.
        origin: Where they are from.
        namespace: Whose are meant; None: that of the Deployments, if they have one in common.

    Raises:
        SettingsError: The Deployments are of several namespaces, and none was named.
    """
    items = list(objects)
    said = {
        text(part(item, "metadata"), "namespace")
        for item in items
        if item.get("kind") == "Deployment"
    }
    if namespace is None:
        named = sorted(said - {""})
        if len(named) > 1:
            raise SettingsError(
                f"{origin} has Deployments of several namespaces: {listed(named)}; say which: -n"
            )
        namespace = named[0] if named else "default"
    # what names no namespace is meant for whichever it is applied to
    mine = [item for item in items if text(part(item, "metadata"), "namespace") in ("", namespace)]

    def of(*kinds: str) -> dict[str, Plain]:
        return {
            text(part(item, "metadata"), "name"): item for item in mine if item.get("kind") in kinds
        }

    return NamespaceRead(
        namespace=namespace,
        origin=origin,
        deployments=of("Deployment"),
        services=tuple(of("Service").values()),
        other_kinds={name: text(item, "kind") for name, item in of(*_WITH_PODS).items()},
    )


async def namespace_of_cluster(client: Client, namespace: str) -> NamespaceRead:
    """Read a namespace; raises ApiError where its Deployments cannot be read. The rest is noted."""
    page = await client.call("list", DEPLOYMENTS, namespace=namespace)
    unread: list[str] = []
    services = await _listed(client, SERVICES, namespace, unread)
    resources = await _listed(client, INFERENCE_AUTOSCALERS, namespace, unread)
    return NamespaceRead(
        namespace=namespace,
        origin=client.server,
        deployments={text(part(item, "metadata"), "name"): item for item in parts(page, "items")},
        services=services,
        scaled_by={
            text(part(pool, "scaleTargetRef"), "name"): text(part(item, "metadata"), "name")
            for item in resources or ()
            for pool in parts(part(item, "spec"), "pools")
        },
        unread=tuple(unread),
    )


async def _listed(
    client: Client, resource: ApiResource, namespace: str, unread: list[str]
) -> tuple[Plain, ...] | None:
    try:
        return tuple(parts(await client.call("list", resource, namespace=namespace), "items"))
    except ApiError as failure:
        if (
            failure.status != HTTPStatus.NOT_FOUND
        ):  # a definition that is not applied: there are none
            unread.append(f"{resource.plural} of namespace {namespace}: {failure}")
        return None
