"""Cordon, uncordon, evict, delete: what empties a node before it is taken away.

A node that somebody else has cordoned is left as it is, and only a cordon of ours is undone. A pod that
is gone already counts as evicted.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    CordonNode,
    DeletePod,
    EvictPod,
    UncordonNode,
)
from autoscaler.errors import ActuationError
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client, Json
from autoscaler.kube.api.resources import NODES, PODS
from autoscaler.kube.api.timestamps import rfc3339

CONFLICTS_MAX = 3
"""A node's status is written often; under a notice a whole tick is too dear for a lost race."""
EVICT_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
"""Between tries while a disruption budget refuses: together less than a command may take."""
_BUDGET = re.compile(r"disruption budget (\S+)")


async def cordon(client: Client, command: CordonNode, *, at: float) -> None:
    """Mark the node unschedulable, with our annotation, unless it is so already."""

    def patch(node: Json) -> Json | None:
        if (node.get("spec") or {}).get("unschedulable"):
            return None
        return {
            "metadata": {"annotations": {CORDON_ANNOTATION: rfc3339(at)}},
            "spec": {"unschedulable": True},
        }

    await _patch_node(client, command.node, patch)


async def uncordon(client: Client, command: UncordonNode) -> None:
    """Undo our own cordon; a node without our annotation is left as it is."""

    def patch(node: Json) -> Json | None:
        annotations = (node.get("metadata") or {}).get("annotations") or {}
        if CORDON_ANNOTATION not in annotations:
            return None
        return {
            "metadata": {"annotations": {CORDON_ANNOTATION: None}},
            "spec": {"unschedulable": None},
        }

    await _patch_node(client, command.node, patch)


async def _patch_node(client: Client, name: str, patch: Callable[[Json], Json | None]) -> None:
    """Read, and write guarded by the version read; a lost race is run again, a few times."""
    for attempt in range(1, CONFLICTS_MAX + 1):
        node = await client.call("get", NODES, name=name)
        body = patch(node)
        if body is None:
            return
        version = (node.get("metadata") or {}).get("resourceVersion")
        body["metadata"]["resourceVersion"] = version
        try:
            await client.call("patch", NODES, name=name, body=body, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT or attempt == CONFLICTS_MAX:
                raise
        else:
            return


async def evict(
    client: Client,
    command: EvictPod,
    *,
    uid: str | None,
    rng: random.Random,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Ask for the pod to go, with its grace period; while a budget refuses, a few times more."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": command.namespace, "name": command.pod},
        "deleteOptions": _delete_options(command.grace_s, uid),
    }
    for pause_s in (*EVICT_PAUSES_S, None):
        try:
            await client.call(
                "create",
                PODS,
                namespace=command.namespace,
                name=command.pod,
                subresource="eviction",
                body=body,
            )
        except ApiError as error:
            if _is_gone(error, uid):
                return
            if not _is_budget(error):
                raise
            if pause_s is None or error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise _budget_error(command, error) from error
        else:
            return
        await sleep(pause_s * rng.uniform(0.75, 1.25))


async def delete(client: Client, command: DeletePod, *, uid: str | None) -> None:
    """Delete the pod with a grace period; no budget is asked. One of another uid is left alone."""
    try:
        await client.call(
            "delete",
            PODS,
            namespace=command.namespace,
            name=command.pod,
            body={
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                **_delete_options(command.grace_s, uid),
            },
        )
    except ApiError as error:
        if not _is_gone(error, uid):
            raise


def _delete_options(grace_s: int, uid: str | None) -> Json:
    options: Json = {"gracePeriodSeconds": max(1, grace_s)}  # 0 would be without any grace
    if uid:
        options["preconditions"] = {"uid": uid}
    return options


def _is_gone(error: ApiError, uid: str | None) -> bool:
    """Whether the pod is not there, or another one of that name is."""
    return error.status == HTTPStatus.NOT_FOUND or (
        error.status == HTTPStatus.CONFLICT and bool(uid) and "uid" in error.found.lower()
    )


def _is_budget(error: ApiError) -> bool:
    """Whether a disruption budget refuses.

    It says so by 429 with a cause (without one, the server is busy), or by 500 where several budgets select
    the pod.
    """
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return bool(error.causes) or "disruption budget" in error.found
    several = "more than one PodDisruptionBudget"
    return error.status == HTTPStatus.INTERNAL_SERVER_ERROR and several in error.found


def _budget_error(command: EvictPod, error: ApiError) -> ActuationError:
    text = " ".join((error.found, *error.causes))
    named = _BUDGET.search(" ".join(error.causes))
    budget = f"the disruption budget {named[1]}" if named else "a disruption budget"
    return ActuationError(
        f"evict pod {command.namespace}/{command.pod}: {budget} refuses ({text}); "
        "let it allow one disruption, or set unhealthyPodEvictionPolicy: AlwaysAllow",
        reason="DisruptionBudget",
    )
