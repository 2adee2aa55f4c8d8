"""The deletion cost of a pod: set, or taken away, with the annotation that says that it is ours."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from autoscaler.core.contract.commands import SetDeletionCost
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION, is_ours
from autoscaler.errors import ActuationError
from autoscaler.foreign_text import quoted
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json, mapping
from autoscaler.kube.api.resources import PODS
from autoscaler.kube.perform.guarded import patch_as_read


async def set_deletion_cost(client: Client, command: SetDeletionCost, *, uid: str | None) -> None:
    """Write both annotations, guarded by the version read.

    A pod that is gone, or is another one of that name, or is being deleted already, needs no cost. Raises
    ActuationError where somebody else's cost stands.
    """
    try:
        await patch_as_read(
            client,
            PODS,
            partial(_patch, command=command, uid=uid),
            namespace=command.namespace,
            name=command.pod,
        )
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _patch(pod: Json, *, command: SetDeletionCost, uid: str | None) -> Json | None:
    """Both annotations in one write; None: there is nothing to write."""
    metadata = mapping(pod, "metadata")
    if metadata.get("deletionTimestamp") or (uid and metadata.get("uid") != uid):
        return None
    annotations = mapping(metadata, "annotations")
    value = None if command.cost is None else str(command.cost)
    foreign = COST_ANNOTATION in annotations and not is_ours(annotations)
    if foreign and value is not None:
        raise ActuationError(
            f"set the deletion cost of pod {command.namespace}/{command.pod}: somebody else has set "
            f"{COST_ANNOTATION} to {quoted(annotations[COST_ANNOTATION], limit=40)}; it is left alone, remove it "
            "where scale-downs are to follow the requests in flight",
            reason="Conflict",
        )
    if foreign:
        if OWN_COST_ANNOTATION not in annotations:
            return None
        changed: Json = {OWN_COST_ANNOTATION: None}
    elif annotations.get(COST_ANNOTATION) == value == annotations.get(OWN_COST_ANNOTATION):
        return None
    else:
        changed = {COST_ANNOTATION: value, OWN_COST_ANNOTATION: value}
    # written with the version of this very pod: another one of its name has another
    return {"metadata": {"annotations": changed}}
