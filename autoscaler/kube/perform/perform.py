"""Performs one command: at most ten seconds, never after it expired, with a reason when it fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import assert_never

from autoscaler.core.contract.commands import (
    COMMAND_TIMEOUT_S,
    Annotate,
    Command,
    CordonNode,
    DeletePod,
    EvictPod,
    MarkNodeDrained,
    SetDeletionCost,
    SetReplicas,
    UncordonNode,
)
from autoscaler.errors import ActuationError
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import UnreadableError
from autoscaler.kube.perform import deletion_cost, drain, scale

_REASONS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Forbidden",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.CONFLICT: "Conflict",
    HTTPStatus.TOO_MANY_REQUESTS: "Unavailable",
}


async def perform(
    client: Client,
    command: Command,
    *,
    now: Callable[[], float],
    uid_of: Callable[[str, str], str | None] = lambda _namespace, _name: None,
    rng: random.Random | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Perform a command; raises ActuationError, whose `reason` is of the closed list.

    Args:
        client: The shared client.
        command: What to do. One whose time is up is not begun.
        now: The clock of the events, which `expires_at` is on.
        uid_of: The uid of a pod by namespace and name (`Cluster.pod_uid`), so that not another pod of
            that name is taken for it.
        rng: For jitter; its own by default.
        sleep: Between tries of an eviction.
    """
    left_s = command.expires_at - now()
    if left_s <= 0:
        raise ActuationError(
            f"{_command_text(command)}: its time was up {-left_s:.1f} s ago and it was not begun; what it was "
            "decided on is decided anew each tick",
            reason="Expired",
        )
    rng = rng or random.Random()  # noqa: S311  jitter
    limit_s = min(COMMAND_TIMEOUT_S, left_s)
    try:
        async with asyncio.timeout(limit_s):
            match command:
                case SetReplicas():
                    await scale.set_replicas(client, command)
                case Annotate():
                    await scale.annotate(client, command)
                case CordonNode():
                    await drain.cordon(client, command, at=now())
                case MarkNodeDrained():
                    await drain.mark_drained(client, command, at=now())
                case UncordonNode():
                    await drain.uncordon(client, command)
                case EvictPod():
                    uid = uid_of(command.namespace, command.pod)
                    await drain.evict(client, command, uid=uid, now=now, rng=rng, sleep=sleep)
                case DeletePod():
                    uid = uid_of(command.namespace, command.pod)
                    await drain.delete(client, command, uid=uid, at=now())
                case SetDeletionCost():
                    uid = uid_of(command.namespace, command.pod)
                    await deletion_cost.set_deletion_cost(client, command, uid=uid)
                case _:
                    assert_never(command)
    except TimeoutError as error:
        raise ActuationError(
            f"{_command_text(command)} at {client.server}: not done within {limit_s:.1f} s; whether it was "
            "will be seen in what is observed next",
            reason="Unavailable",
        ) from error
    except ApiError as error:
        raise ActuationError(str(error), reason=reason_of(error)) from error
    except UnreadableError as error:
        raise ActuationError(
            f"{_command_text(command)} at {client.server}: what was read first cannot be read: {error}; "
            "nothing was written",
            reason="Unavailable",
        ) from error


def reason_of(error: ApiError) -> str:
    """One word of `CommandFinished.reason` for a call that failed."""
    if error.status == 0 or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Unavailable"
    if error.status == HTTPStatus.OK:
        return "Unavailable"  # a page instead of an answer: a proxy stands before the server
    return _REASONS.get(error.status, "Failed")


def _command_text(command: Command) -> str:
    return f"{type(command).__name__} {command.target}"
