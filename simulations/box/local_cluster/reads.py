"""Lists, and watches as streams, with the faults that strike them.

A list is always whole: `limit` is a wish that an API server need not grant.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from simulations.box.local_cluster.faults import WATCH_KINDS, ApiFault, ApiFaultKind, ApiFaults
from simulations.box.local_cluster.objects import Object, bad_request, expired
from simulations.box.local_cluster.paths import RequestTarget, is_true
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
    def of(cls, target: RequestTarget, query: Mapping[str, str]) -> Selection:
        """From the selectors in the query; a named watch is one by metadata.name."""
        named = f"metadata.name={target.name}" if target.name else ""
        return cls(
            resource=target.resource.plural,
            namespace=target.namespace,
            labels=parse_labels(query.get("labelSelector", "")),
            fields=parse_fields(query.get("fieldSelector", "")) + parse_fields(named),
        )

    def holds(self, obj: Object | None) -> bool:
        """Whether the object is there and selected."""
        return (
            obj is not None
            and self.namespace in {"", obj["metadata"].get("namespace")}
            and matches_labels(self.labels, obj)
            and matches_fields(self.fields, obj)
        )

    def event(self, change: StoreChange) -> Object | None:
        """The watch event of a change: an object that leaves the selection is DELETED."""
        if change.resource != self.resource:
            return None
        was, now = self.holds(change.before), self.holds(change.after)
        if now:
            return {"type": "MODIFIED" if was else "ADDED", "object": change.after}
        if was and change.before is not None:
            # its last selected state, at the version in which it left the selection
            metadata = {**change.before["metadata"], "resourceVersion": str(change.version)}
            return {"type": "DELETED", "object": {**change.before, "metadata": metadata}}
        return None


def list_answer(store: Store, target: RequestTarget, query: Mapping[str, str]) -> Object:
    """The List object of all that is selected."""
    selection = Selection.of(target, query)
    return {
        "kind": f"{target.resource.kind}List",
        "apiVersion": target.resource.api_version,
        "metadata": {"resourceVersion": str(store.version)},
        "items": [obj for obj in store.all(target.resource.plural) if selection.holds(obj)],
    }


class Sink(Protocol):
    """Where a watch writes: an HTTP response."""

    async def write(self, data: bytes) -> None:
        """Send bytes; raises ConnectionError when the client is gone."""

    def abort(self) -> None:
        """Reset the connection."""


class Watches:
    """Answers watches."""

    def __init__(self, store: Store, faults: ApiFaults, *, bookmark_every_s: float) -> None:
        self._store = store
        self._faults = faults
        self._bookmark_every_s = bookmark_every_s

    async def stream(self, target: RequestTarget, query: Mapping[str, str], sink: Sink) -> None:
        """Write events until the time-out, the client's leave or a fault that ends it."""
        loop = asyncio.get_running_loop()
        selection = Selection.of(target, query)
        ends_at = loop.time() + (_number(query, "timeoutSeconds") or _WATCH_S)
        bookmarks = is_true(query.get("allowWatchBookmarks", ""))
        every_s = self._bookmark_every_s if bookmarks else _WATCH_S
        bookmark_at = loop.time() + every_s
        cursor = _number(query, "resourceVersion") or await self._begin(selection, sink)
        while loop.time() < ends_at:
            fault = self._faults.strike("watch", target.full_resource, WATCH_KINDS)
            if fault is not None and await self._suffer(fault, sink):
                return
            if cursor < self._store.oldest:
                await _send_expired(sink, f"too old resource version: {cursor}")
                return
            cursor = await self._catch_up(selection, cursor, sink)
            if bookmarks and loop.time() >= bookmark_at:
                await _send(sink, _bookmark(target, cursor))
                bookmark_at = loop.time() + every_s
            wait_s = max(0.0, min(ends_at, bookmark_at) - loop.time())
            await self._store.changed(cursor, timeout_s=wait_s)
        if bookmarks:
            await _send(sink, _bookmark(target, cursor))

    async def _begin(self, selection: Selection, sink: Sink) -> int:
        """A watch from no version in particular: what there is, as ADDED."""
        version = self._store.version
        for obj in self._store.all(selection.resource):
            if selection.holds(obj):
                await _send(sink, {"type": "ADDED", "object": obj})
        return version

    async def _catch_up(self, selection: Selection, cursor: int, sink: Sink) -> int:
        version = self._store.version
        for change in self._store.changes_after(cursor):
            if event := selection.event(change):
                await _send(sink, event)
        return max(cursor, version)

    async def _suffer(self, fault: ApiFault, sink: Sink) -> bool:
        """Do what the fault does; True: the stream is over."""
        if fault.kind is ApiFaultKind.HANG:
            while self._faults.stands(fault):
                await self._store.changed(self._store.version)
            return False
        if fault.kind is ApiFaultKind.GONE:
            await _send_expired(sink, "too old resource version: on demand")
        else:
            sink.abort()
        return True


def _bookmark(target: RequestTarget, version: int) -> Object:
    return {
        "type": "BOOKMARK",
        "object": {
            "kind": target.resource.kind,
            "apiVersion": target.resource.api_version,
            "metadata": {"resourceVersion": str(version)},
        },
    }


async def _send(sink: Sink, event: Object) -> None:
    await sink.write(json.dumps(event).encode() + b"\n")


async def _send_expired(sink: Sink, message: str) -> None:
    await _send(sink, {"type": "ERROR", "object": expired(message).body()})


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    if not text.isdigit():
        raise bad_request(f"invalid {name}: {text!r}")
    return int(text)
