"""Sets and removes one annotation of a scale target, by a merge patch that touches nothing else."""

from __future__ import annotations

from autoscaler.core.contract.commands import Annotate
from autoscaler.kube.api.client import MERGE_PATCH, Client
from autoscaler.kube.perform.scale import resource_of


async def annotate(client: Client, command: Annotate) -> None:
    """Set the annotation to the command's value; None removes it."""
    target = command.scale_target
    await client.call(
        "patch",
        resource_of(target),
        namespace=target.namespace,
        name=target.name,
        body={"metadata": {"annotations": {command.key: command.value}}},
        content_type=MERGE_PATCH,
    )
