"""Rehearses an interruption: writes our own notice on a node, and takes it away.

The machine is not touched. What follows is real: on-demand is raised, the node is cordoned and its
replicas are evicted before the deadline that was written.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from autoscaler.core.contract.commands import INTERRUPTION_ANNOTATION
from autoscaler.errors import ActuationError, SettingsError
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.resources import NODES
from autoscaler.kube.api.timestamps import rfc3339
from autoscaler.kube.perform.perform import reason_of

NAMES_SHOWN = 10


async def rehearse(client: Client, node: str, *, in_s: float, at: float) -> float:
    """Announce that a node goes in so many seconds from `at`; returns the deadline, in seconds.

    Raises SettingsError for a time that is none, and ActuationError when the node cannot be written.
    """
    if not math.isfinite(in_s) or in_s <= 0:
        raise SettingsError(f"--in {in_s:g}: the deadline must lie ahead; give seconds above 0")
    deadline_at = math.ceil(at + in_s)
    await _annotate(client, node, rfc3339(deadline_at))
    return float(deadline_at)


async def cancel(client: Client, node: str) -> None:
    """Take the announcement back: the autoscaler uncordons the node if it cordoned it."""
    await _annotate(client, node, None)


async def _annotate(client: Client, node: str, value: str | None) -> None:
    body = {"metadata": {"annotations": {INTERRUPTION_ANNOTATION: value}}}
    try:
        await client.call("patch", NODES, name=node, body=body, content_type=MERGE_PATCH)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise ActuationError(
                f"there is no node {node} at {client.server}; {await _names(client)}",
                reason="NotFound",
            ) from error
        raise ActuationError(str(error), reason=reason_of(error)) from error


async def _names(client: Client) -> str:
    try:
        page = await client.call("list", NODES, query={"limit": str(NAMES_SHOWN)})
    except ApiError:
        return "check its name"
    names = [str((item.get("metadata") or {}).get("name")) for item in page.get("items") or ()]
    return f"the first nodes are: {', '.join(names)}" if names else "there are no nodes"
