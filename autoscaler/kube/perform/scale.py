"""Writes to scale targets: replicas by the `scale` subresource, guarded by the version read; annotations."""

from __future__ import annotations

from autoscaler.core.contract.commands import Annotate, SetReplicas
from autoscaler.core.contract.spec import ScaleTarget
from autoscaler.errors import ActuationError
from autoscaler.kube.api.client import FIELD_MANAGER, MERGE_PATCH, Client
from autoscaler.kube.api.fields import mapping, whole, written_version
from autoscaler.kube.api.resources import SCALE_TARGETS, ApiResource


async def set_replicas(client: Client, command: SetReplicas) -> None:
    """Read the scale, and write it if it differs; ApiError 409 when somebody was quicker.

    A conflict is not retried here: whoever wrote may have had a reason, and the next tick decides on
    what it observes.
    """
    target = command.scale_target
    resource = resource_of(target)
    scale = await client.call(
        "get", resource, namespace=target.namespace, name=target.name, subresource="scale"
    )
    if whole(mapping(scale, "spec"), "replicas") == command.replicas:
        return
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "namespace": target.namespace,
            "name": target.name,
            "resourceVersion": written_version(scale),
        },
        "spec": {"replicas": command.replicas},
    }
    await client.call(
        "update",
        resource,
        namespace=target.namespace,
        name=target.name,
        subresource="scale",
        query={"fieldManager": FIELD_MANAGER},
        body=body,
    )


async def annotate(client: Client, command: Annotate) -> None:
    """Set one annotation of a scale target to the command's value; None removes it."""
    target = command.scale_target
    await client.call(
        "patch",
        resource_of(target),
        namespace=target.namespace,
        name=target.name,
        body={"metadata": {"annotations": {command.key: command.value}}},
        content_type=MERGE_PATCH,
    )


def resource_of(target: ScaleTarget) -> ApiResource:
    """The API resource of a scale target; raises ActuationError for a kind we cannot scale."""
    resource = SCALE_TARGETS.get((target.api_version, target.kind))
    if resource is None:
        known = ", ".join(f"{kind} of {version}" for version, kind in sorted(SCALE_TARGETS))
        raise ActuationError(
            f"{target}: a {target.kind} of {target.api_version} cannot be scaled; name one of: {known}"
        )
    return resource
