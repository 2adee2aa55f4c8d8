"""Lists in pages and watches as streams, with the faults that strike them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from simulations.box.local_cluster.faults import WATCH_KINDS, Fault, FaultKind, Faults
from simulations.box.local_cluster.objects import Object, StatusError, bad_request, expired
from simulations.box.local_cluster.paths import Target, is_true
from simulations.box.local_cluster.selectors import (
    Requirement,
    matches_fields,
    matches_labels,
    parse_fields,
    parse_labels,
)
from simulations.box.local_cluster.store import Change, Store

_SNAPSHOTS_MAX = 32
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
    def of(cls, target: Target, query: Mapping[str, str]) -> Selection:
        """From the selectors in the query; a named watch is one by metadata.name."""
        fields = parse_fields(query.get("fieldSelector", ""))
        if target.name:
            fields = (*fields, Requirement("metadata.name", "In", frozenset({target.name})))
        return cls(
            resource=target.resource.plural,
            namespace=target.namespace,
            labels=parse_labels(query.get("labelSelector", "")),
            fields=fields,
        )

    def holds(self, obj: Object | None) -> bool:
        """Whether the object is there and selected."""
        return (
            obj is not None
            and (not self.namespace or obj["metadata"].get("namespace") == self.namespace)
            and matches_labels(self.labels, obj)
            and matches_fields(self.fields, obj)
        )

    def event(self, change: Change) -> Object | None:
        """The watch event of a change: an object that leaves the selection is DELETED."""
        if change.resource != self.resource:
            return None
        was, now = self.holds(change.before), self.holds(change.after)
        if now:
            return {"type": "MODIFIED" if was else "ADDED", "object": change.after}
        if was and change.before is not None:
            if change.after is None:
                return {"type": "DELETED", "object": change.before}
            # its last selected state, at the version in which it left the selection
            metadata = {**change.before["metadata"], "resourceVersion": str(change.version)}
            return {"type": "DELETED", "object": {**change.before, "metadata": metadata}}
        return None


class Lists:
    """Answers lists; a paged one reads on from the state in which its first page was cut."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshots: dict[int, tuple[int, list[Object]]] = {}
        self._next_slot = 0

    def answer(self, target: Target, query: Mapping[str, str]) -> Object:
        """The List object; raises 410 for a page of a state that is forgotten."""
        limit = _number(query, "limit")
        token = query.get("continue", "")
        if token:
            version, start, items = self._resume(token)
        else:
            selection = Selection.of(target, query)
            self._check_version(query)
            found = self._store.all(target.resource.plural)
            version, start = self._store.version, 0
            items = [obj for obj in found if selection.holds(obj)]
        page = items[start : start + limit] if limit else items[start:]
        metadata: Object = {"resourceVersion": str(version)}
        left = len(items) - start - len(page)
        if left > 0:
            metadata["continue"] = self._keep(version, start + len(page), items)
            metadata["remainingItemCount"] = left
        return {
            "kind": f"{target.resource.kind}List",
            "apiVersion": target.resource.api_version,
            "metadata": metadata,
            "items": page,
        }

    def _check_version(self, query: Mapping[str, str]) -> None:
        wanted = _number(query, "resourceVersion")
        if wanted > self._store.version:
            raise StatusError(
                HTTPStatus.GATEWAY_TIMEOUT,
                "Timeout",
                f"Too large resource version: {wanted}, current: {self._store.version}",
                details={"causes": [{"reason": "ResourceVersionTooLarge"}]},
                retry_after_s=1,
            )
        if query.get("resourceVersionMatch") == "Exact" and wanted < self._store.oldest:
            raise expired("The provided resource version is too old")

    def _keep(self, version: int, start: int, items: list[Object]) -> str:
        slot = next((slot for slot, kept in self._snapshots.items() if kept[1] is items), None)
        if slot is None:
            slot = self._next_slot
            self._next_slot += 1
            self._snapshots[slot] = (self._store.compactions, items)
            self._snapshots.pop(slot - _SNAPSHOTS_MAX, None)
        text = json.dumps({"rv": version, "start": start, "slot": slot})
        return base64.urlsafe_b64encode(text.encode()).decode()

    def _resume(self, token: str) -> tuple[int, int, list[Object]]:
        try:
            told = json.loads(base64.urlsafe_b64decode(token))
            version, start, slot = int(told["rv"]), int(told["start"]), int(told["slot"])
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(f"continue key is not valid: {error}") from error
        compactions, items = self._snapshots.get(slot, (-1, []))
        if compactions != self._store.compactions:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        return version, start, items


class Sink(Protocol):
    """Where a watch writes: an HTTP response."""

    async def write(self, data: bytes) -> None:
        """Send bytes; raises ConnectionError when the client is gone."""

    def abort(self) -> None:
        """Reset the connection."""


class Watches:
    """Answers watches."""

    def __init__(self, store: Store, faults: Faults, *, bookmark_every_s: float) -> None:
        self._store = store
        self._faults = faults
        self._bookmark_every_s = bookmark_every_s

    async def stream(self, target: Target, query: Mapping[str, str], sink: Sink) -> None:
        """Write events until the time-out, the client's leave or a fault that ends it."""
        loop = asyncio.get_running_loop()
        selection = Selection.of(target, query)
        ends_at = loop.time() + (_number(query, "timeoutSeconds") or _WATCH_S)
        bookmarks = is_true(query.get("allowWatchBookmarks", ""))
        every_s = self._bookmark_every_s if bookmarks else _WATCH_S
        bookmark_at = loop.time() + every_s
        cursor = _number(query, "resourceVersion") or await self._begin(selection, sink)
        while loop.time() < ends_at:
            fault = self._faults.strike("watch", target.full_resource, target.name, WATCH_KINDS)
            if fault is not None and await self._suffer(fault, sink):
                return
            if cursor < self._store.oldest:
                await _send(sink, _error(expired(f"too old resource version: {cursor}")))
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

    async def _suffer(self, fault: Fault, sink: Sink) -> bool:
        """Do what the fault does; True: the stream is over."""
        match fault.kind:
            case FaultKind.GONE:
                await _send(sink, _error(expired("too old resource version: on demand")))
            case FaultKind.ERROR_EVENT:
                problem = StatusError(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "etcdserver: on demand"
                )
                await _send(sink, _error(problem))
            case FaultKind.TRUNCATED:
                await sink.write(b'{"type":"MODIFIED","object":{"metadata":{"na')
                sink.abort()
            case FaultKind.RESET:
                sink.abort()
            case FaultKind.SILENT:
                while self._faults.stands(fault):
                    await self._store.changed(self._store.version)
                return False
            case _:  # CLOSED: nothing more to say
                pass
        return True


def _error(problem: StatusError) -> Object:
    return {"type": "ERROR", "object": problem.body()}


def _bookmark(target: Target, version: int) -> Object:
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


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    if not text.isdigit():
        raise bad_request(f"invalid {name}: {text!r}")
    return int(text)
