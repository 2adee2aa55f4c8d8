"""Lists, and watches as streams, with the faults that strike them.

A list is always whole: `limit` is a wish that an API server need not grant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from simulations.box.local_cluster.api.faults import WATCH_KINDS, ApiFaultKind, ApiFaults
from simulations.box.local_cluster.api.requests import ApiRequest, reset
from simulations.box.local_cluster.objects import ApiKind, Object, StatusError
from simulations.box.local_cluster.selectors import (
    Requirement,
    matches_fields,
    matches_labels,
    parse_fields,
    parse_labels,
)
from simulations.box.local_cluster.store import Store, StoreChange

_WATCH_S = 1800.0
"""How long a watch lasts that names no timeoutSeconds; the API server draws 30 to 60 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a resource a list or a watch is of."""

    resource: str
    namespace: str
    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]

    @classmethod
    def of(cls, request: ApiRequest) -> Selection:
        """From the selectors in the query; a named watch is one by metadata.name."""
        named = f"metadata.name={request.name}" if request.name else ""
        return cls(
            resource=request.plural,
            namespace=request.namespace,
            labels=parse_labels(request.query.get("labelSelector", "")),
            fields=parse_fields(request.query.get("fieldSelector", "")) + parse_fields(named),
        )

    def holds(self, obj: Object | None) -> bool:
        """Whether the object is there and selected."""
        return (
            obj is not None
            and self.namespace in {"", obj["metadata"].get("namespace")}
            and matches_labels(self.labels, obj)
            and matches_fields(self.fields, obj)
        )

    def event(self, change: StoreChange) -> tuple[str, Object] | None:
        """Type and object of a change's watch event: one that leaves the selection is DELETED."""
        if change.resource != self.resource:
            return None
        was, now = self.holds(change.before), self.holds(change.after)
        if now and change.after is not None:
            return "MODIFIED" if was else "ADDED", change.after
        if was and change.before is not None:
            # its last selected state, at the version in which it left the selection
            metadata = {**change.before["metadata"], "resourceVersion": str(change.version)}
            return "DELETED", {**change.before, "metadata": metadata}
        return None


def list_answer(store: Store, request: ApiRequest) -> Object:
    """The List object of all that is selected."""
    selection = Selection.of(request)
    return {
        "kind": f"{request.kind.kind}List",
        "apiVersion": request.kind.api_version,
        "metadata": {"resourceVersion": str(store.version)},
        "items": [obj for obj in store.all(request.plural) if selection.holds(obj)],
    }


class Watches:
    """Answers watches."""

    def __init__(
        self,
        store: Store,
        faults: ApiFaults,
        *,
        bookmark_every_s: float,
        written: Callable[[ApiRequest, Object], bytes],
    ) -> None:
        """Prepare.

        Args:
            store: What is watched.
            faults: Those that strike watches.
            bookmark_every_s: How often a watch that asked for them gets a bookmark.
            written: An event as bytes, without the end of its line.
        """
        self._store = store
        self._faults = faults
        self._written = written
        self._bookmark_every_s = bookmark_every_s

    async def answer(self, request: ApiRequest, http: web.BaseRequest) -> web.StreamResponse:
        """Stream events until the time-out, the client's leave or a fault that ends it."""
        selection = Selection.of(request)
        for name in ("timeoutSeconds", "resourceVersion"):
            request.number(name)  # what is none is refused, and not in the middle of an answer
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(http)
        with suppress(ConnectionError):  # the client is gone
            if await self._stream(request, selection, response):
                await response.write_eof()
            else:
                reset(http)
        return response

    async def _stream(
        self, request: ApiRequest, selection: Selection, response: web.StreamResponse
    ) -> bool:
        """Whether the stream ends in order; False: a fault cuts it."""

        async def send(kind: str, obj: Object) -> None:
            await response.write(self._written(request, {"type": kind, "object": obj}) + b"\n")

        loop = asyncio.get_running_loop()
        ends_at = loop.time() + (request.number("timeoutSeconds") or _WATCH_S)
        bookmarks = request.flag("allowWatchBookmarks")
        every_s = self._bookmark_every_s if bookmarks else _WATCH_S
        bookmark_at = loop.time() + every_s
        cursor = request.number("resourceVersion")
        if not cursor:  # from no version in particular: what there is, as ADDED
            cursor = self._store.version
            for obj in self._store.all(request.plural):
                if selection.holds(obj):
                    await send("ADDED", obj)
        while loop.time() < ends_at:
            fault = self._faults.strike("watch", request.resource, WATCH_KINDS)
            if fault is not None and fault.kind is ApiFaultKind.HANG:
                await self._faults.lifted(fault)
            elif fault is not None:
                if fault.kind is ApiFaultKind.GONE:
                    await send("ERROR", StatusError("Expired", "too old, on demand").body())
                return fault.kind is ApiFaultKind.GONE
            if cursor < self._store.oldest:
                too_old = StatusError("Expired", f"too old resource version: {cursor}")
                await send("ERROR", too_old.body())
                return True
            changes = self._store.changes_after(cursor)
            cursor = max(cursor, self._store.version)
            for change in changes:
                if event := selection.event(change):
                    await send(*event)
            if bookmarks and loop.time() >= bookmark_at:
                await send("BOOKMARK", _bookmark(request.kind, cursor))
                bookmark_at = loop.time() + every_s
            wait_s = max(0.0, min(ends_at, bookmark_at) - loop.time())
            await self._store.changed(cursor, timeout_s=wait_s)
        if bookmarks:
            await send("BOOKMARK", _bookmark(request.kind, cursor))
        return True


def _bookmark(kind: ApiKind, version: int) -> Object:
    metadata = {"resourceVersion": str(version)}
    return {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
