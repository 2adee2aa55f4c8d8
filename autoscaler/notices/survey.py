"""One look at a cluster for signs of notices, for who asks once: `autoscaler check --targets CLUSTER`."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json, UnreadableError, mapping, mappings, text
from autoscaler.kube.api.resources import EVENTS, NODE_CLAIMS, NODES, ApiResource
from autoscaler.kube.watch.caches import EVENTS_NAMESPACE
from autoscaler.kube.watch.optional import Readability
from autoscaler.kube.watch.slim import SlimNode, slim_node
from autoscaler.kube.watch.slim_notices import slim_event
from autoscaler.notices.coverage import Signs
from autoscaler.notices.events import concerns_us, read_event
from autoscaler.notices.mark import Mark, Seen

_PAGE = "500"
_PAGES_MAX = 20
"""Ten thousand Nodes, and as many Events: more than a cluster may have, and than an hour of them brings."""


async def survey(client: Client, *, spot_pools: Sequence[str], at: float) -> Signs:
    """Look at Nodes, Events and NodeClaims once; raises ApiError where Nodes cannot be listed.

    Args:
        client: With the rights of whoever asks.
        spot_pools: Pools of capacity type Spot or Mixed, as people name them.
        at: Now, seconds.
    """
    nodes = [node for item in await _list(client, NODES) if (node := _read(item)) is not None]
    heard: set[str] = set()
    events = Readability.READABLE
    try:
        found = await _list(
            client, EVENTS, namespace=EVENTS_NAMESPACE, fields="involvedObject.kind=Node"
        )
    except ApiError as error:
        events, found = _readability(error), []
    for event in found:
        kept = slim_event(event)
        if concerns_us(kept):
            readings = read_event(kept, Seen(at=at))
            heard |= {one.interruption.source for one in readings if isinstance(one, Mark)}
    claims = Readability.READABLE
    try:
        await client.call("list", NODE_CLAIMS, query={"limit": "1"})
    except ApiError as error:
        claims = _readability(error)
    return Signs(nodes=nodes, spot_pools=spot_pools, events=events, claims=claims, heard=heard)


async def _list(
    client: Client, resource: ApiResource, *, namespace: str = "", fields: str = ""
) -> list[Json]:
    query = {"limit": _PAGE} | ({"fieldSelector": fields} if fields else {})
    found: list[Json] = []
    for _ in range(_PAGES_MAX):
        page = await client.call("list", resource, namespace=namespace, query=query)
        try:
            found += mappings(page, "items")
            query["continue"] = text(mapping(page, "metadata"), "continue")
        except UnreadableError:
            break
        if not query["continue"]:
            break
    return found


def _read(item: Json) -> SlimNode | None:
    """Read a Node; one that cannot be read says nothing here."""
    try:
        return slim_node(item)
    except UnreadableError:
        return None


def _readability(error: ApiError) -> Readability:
    if error.status == HTTPStatus.NOT_FOUND:
        return Readability.ABSENT
    if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Readability.FORBIDDEN
    return Readability.UNKNOWN
