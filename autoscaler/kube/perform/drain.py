"""Cordon, evict, delete, mark, uncordon: what empties a node before it is taken away.

A node that somebody else has cordoned is left as it is, and only a cordon of ours is undone, or marked as
drained. A pod that is gone already counts as evicted.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    CordonNode,
    DeletePod,
    EvictPod,
    MarkNodeDrained,
    UncordonNode,
)
from autoscaler.errors import ActuationError
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json, flag, mapping
from autoscaler.kube.api.resources import NODES, PODS
from autoscaler.kube.api.timestamps import rfc3339
from autoscaler.kube.perform.guarded import patch_as_read

EVICT_PAUSES_S = (0.5, 1.0, 2.0, 4.0)
"""Between tries while a disruption budget refuses: together less than a command may take."""
_EVICT_SHARE = 0.25
"""Of the grace period that these pauses take, jitter apart: near a deadline they come off the pod's own drain,
and the deletion that follows a refusal waits until the eviction has ended."""
_BUDGET = re.compile(r"disruption budget (\S+)")


async def cordon(client: Client, command: CordonNode, *, at: float) -> None:
    """Mark the node unschedulable, with our annotation, unless it is so already."""

    def patch(node: Json) -> Json | None:
        if flag(mapping(node, "spec"), "unschedulable"):
            return None
        return {
            "metadata": {"annotations": {CORDON_ANNOTATION: rfc3339(at), DRAINED_ANNOTATION: None}},
            "spec": {"unschedulable": True},
        }

    await patch_as_read(client, NODES, patch, name=command.node)


async def mark_drained(client: Client, command: MarkNodeDrained, *, at: float) -> None:
    """Note that the node is empty, unless our cordon is not on it any more or that stands there already."""

    def patch(node: Json) -> Json | None:
        annotations = mapping(mapping(node, "metadata"), "annotations")
        cordoned = flag(mapping(node, "spec"), "unschedulable") and CORDON_ANNOTATION in annotations
        if not cordoned or DRAINED_ANNOTATION in annotations:
            return None
        return {"metadata": {"annotations": {DRAINED_ANNOTATION: rfc3339(at)}}}

    await patch_as_read(client, NODES, patch, name=command.node)


async def uncordon(client: Client, command: UncordonNode) -> None:
    """Undo our own cordon and our mark; a node without our cordon's annotation is left as it is."""

    def patch(node: Json) -> Json | None:
        annotations = mapping(mapping(node, "metadata"), "annotations")
        if CORDON_ANNOTATION not in annotations:
            return None
        return {
            "metadata": {"annotations": {CORDON_ANNOTATION: None, DRAINED_ANNOTATION: None}},
            "spec": {"unschedulable": None},
        }

    await patch_as_read(client, NODES, patch, name=command.node)


async def evict(
    client: Client,
    command: EvictPod,
    *,
    uid: str | None,
    now: Callable[[], float],
    rng: random.Random,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Ask for the pod to go, with its grace period; while a budget refuses, a few times more.

    What is left of the grace period says how often: the engine decides anew once it was refused.
    """
    body: Json = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": command.namespace, "name": command.pod},
    }
    left_s = _EVICT_SHARE * command.grace_s
    for pause_s in (*EVICT_PAUSES_S, math.inf):
        body["deleteOptions"] = _delete_options(command, uid, at=now())
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
            if pause_s > left_s or error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise _budget_error(command, error) from error
        else:
            return
        left_s -= pause_s
        await sleep(pause_s * rng.uniform(0.75, 1.25))


async def delete(client: Client, command: DeletePod, *, uid: str | None, at: float) -> None:
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
                **_delete_options(command, uid, at=at),
            },
        )
    except ApiError as error:
        if not _is_gone(error, uid):
            raise


def _delete_options(command: EvictPod | DeletePod, uid: str | None, *, at: float) -> Json:
    """Give the grace that was decided, or what is left of it until the pod has to be gone."""
    left_s = math.inf if command.ends_at is None else command.ends_at - at
    grace_s = math.floor(min(command.grace_s, left_s))
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
