"""A cache of one resource, kept in step by a list and a watch from where the list ended.

It must never spin (every reconnect that follows a short-lived one waits, longer each time, with
jitter), never hang (a connection that says nothing is given up) and never forget: while the API server
cannot be read the last state stays, and `confirmed_at` says how old it is.

A watch lasts 15 to 20 s here, not the 4 to 5 minutes of client-go. In a quiet cluster bookmarks come
once a minute at best, so that it is the watch's own end that confirms: on a quiet 1.36 server the age
of four caches was 20 s at most this way; with long watches it was up to 121 s, and for 61 % of the time
over the 30 s at which the engine takes itself for blind. A half-open connection, which HTTP/1.1 cannot
ping, is found in half a minute rather than five. The price is one request in 17 s per cache.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Never, TypeAlias, TypeVar

import msgspec

from autoscaler.kube.api.client import ApiError, Client, Json
from autoscaler.kube.api.resources import ApiResource

T = TypeVar("T")
Key: TypeAlias = tuple[str, str]
"""(namespace, name); the namespace of a Node is empty."""

_FORBIDDEN = 403
_GONE = 410
_LINE_BYTES_MAX = 2**25
"""Far above the 3 MiB that etcd lets an object have; a longer line is no event."""
RELIST_AFTER_FAILURES = 3
"""After so many failures in a row the version that is held is given up: it may be one that this server
cannot serve (a restored etcd is behind it)."""

SILENT_WATCHES_MAX = 6
"""After so many watches in a row that said nothing, neither an event nor a bookmark, it is listed anew. In
a quiet cluster there is nothing to say; but a server whose etcd was restored from a backup is silent
too, until it has reached the version that is held (both seen on 1.36)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things last, in seconds; tests make them short."""

    watch_s_min: int = 15
    watch_s_max: int = 20
    silence_s: float = 5.0
    """Without a byte for this long beyond the watch's own end: the connection is dead."""
    list_timeout_s: float = 30.0
    """Of each page."""
    calm_s: float = 5.0
    """A watch that lived this long was a good one; the next failure is the first again."""
    backoff_s_min: float = 0.5
    backoff_s_max: float = 10.0
    page: int = 500
    """Objects a page of a list."""


@dataclass(frozen=True, slots=True)
class ObjectChange(Generic[T]):
    """One object that changed. `before` is None: it is new; `after` is None: it is gone."""

    key: Key
    before: T | None
    after: T | None


class _GoneError(Exception):
    """The version that is held is too old: list again."""


class ResourceCache(Generic[T]):
    """The objects of one resource, each reduced to the fields that are needed."""

    def __init__(
        self,
        client: Client,
        resource: ApiResource,
        slim: Callable[[Json], T],
        *,
        now: Callable[[], float],
        rng: random.Random,
        namespace: str = "",
        labels: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timing: Timing | None = None,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            client: The shared client.
            resource: What to keep.
            slim: Of a full object, what is needed of it. Must take anything a server may send.
            now: Seconds since the epoch, never decreasing (the daemon's clock).
            rng: For jitter.
            namespace: Empty: all of them.
            labels: A label selector; empty: all of them.
            sleep: For back-off; tests give their own.
            timing: How long things last.
        """
        self.resource = resource
        self.namespace = namespace
        self.objects: Mapping[Key, T] = {}
        """Replaced as a whole: a reader may keep the one it took."""
        self.version = ""
        """resourceVersion up to which it is in step; empty: never listed."""
        self.synced = False
        """Whether it was listed once. It stays true: what was known is not forgotten."""
        self.confirmed_at = 0.0
        """When it was last known to be in step, on the clock of `now`; 0: never."""
        self.problem = ""
        """Why it is not in step now, for people; empty: it is."""
        self.forbidden = False
        """Whether that is for want of a right: waiting does not help."""
        self.failures = 0
        """In a row; 0 once a watch lasts."""
        self.failures_total = 0
        self._client = client
        self._slim = slim
        self._labels = labels
        self._now = now
        self._rng = rng
        self._subscribers: list[Callable[[Sequence[ObjectChange[T]]], None]] = []
        self._sleep = sleep
        self._timing = timing or Timing()
        self._silent = 0

    def subscribe(self, changed: Callable[[Sequence[ObjectChange[T]]], None]) -> None:
        """Call this with what changed, each time `objects` was replaced."""
        self._subscribers.append(changed)

    async def run(self) -> Never:
        """List, then watch, for ever; cancel it to end it."""
        stale = True
        while True:
            began, retry_after_s = math.inf, None
            try:
                if stale:
                    await self._list()
                    stale = False
                began = self._now()
                await self._watch()
            except _GoneError as gone:
                self._set_problem(str(gone))
                stale = True
            except ApiError as error:
                self._set_problem(str(error), forbidden=error.status == _FORBIDDEN)
                retry_after_s = error.retry_after_s
                stale = stale or error.status == _GONE
            if self._now() - began >= self._timing.calm_s:
                self.failures = 0
                continue
            self.failures += 1
            self.failures_total += 1
            stale = stale or self.failures % RELIST_AFTER_FAILURES == 0
            await self._sleep(self._pause_s(retry_after_s))

    def _pause_s(self, retry_after_s: float | None) -> float:
        """How long to wait after a failure: doubled with each one up to the maximum, less up to a half."""
        timing = self._timing
        doubled = timing.backoff_s_min * 2.0 ** min(self.failures - 1, 16)
        pause_s = min(doubled, timing.backoff_s_max) * self._rng.uniform(0.5, 1.0)
        return max(pause_s, min(retry_after_s or 0.0, 60.0))

    def _selection(self) -> dict[str, str]:
        return {"labelSelector": self._labels} if self._labels else {}

    async def _list(self) -> None:
        """Read all pages, and only then replace what is held."""
        asked_at = self._now()
        found: dict[Key, T] = {}
        query = {**self._selection(), "limit": str(self._timing.page)}
        while True:
            page = await self._client.call(
                "list",
                self.resource,
                namespace=self.namespace,
                query=query,
                timeout_s=self._timing.list_timeout_s,
            )
            metadata = page.get("metadata") or {}
            for item in page.get("items") or ():
                found[_key(item)] = self._slim(item)
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        before, self.objects = self.objects, found
        self.version = str(metadata.get("resourceVersion") or "")
        self._silent = 0
        self._confirm(asked_at)
        self.synced = True
        self._notify(_differences(before, found))

    async def _watch(self) -> None:
        """Take events until the server ends the watch; raises when it breaks or is refused."""
        timing = self._timing
        lasts_s = self._rng.randint(timing.watch_s_min, timing.watch_s_max)
        query = {
            **self._selection(),
            "watch": "true",
            "resourceVersion": self.version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(lasts_s),
        }
        opened_at, silent = self._now(), True
        async with self._client.stream(
            self.resource,
            namespace=self.namespace,
            query=query,
            silence_s=lasts_s + timing.silence_s,
        ) as chunks:
            self._set_problem("")
            async for lines in _lines(chunks):
                self._apply_lines(lines)
                silent = False
        if self._now() - opened_at >= min(timing.calm_s, lasts_s):
            # The server closed it in its own time, so that nothing was held back.
            self._silent = self._silent + 1 if silent else 0
            if self._silent >= SILENT_WATCHES_MAX:
                raise _GoneError(
                    f"watch {self._watched_text()}: nothing is said any more; it is listed anew"
                )
            self._confirm(self._now())

    def _apply_lines(self, lines: Sequence[bytes]) -> None:
        """Apply the events of one chunk as one replacement."""
        objects: dict[Key, T] | None = None
        changes: list[ObjectChange[T]] = []
        try:
            for line in lines:
                kind, body = self._event(line)
                self.version = str(
                    (body.get("metadata") or {}).get("resourceVersion") or self.version
                )
                if kind == "BOOKMARK":
                    continue
                objects = dict(self.objects) if objects is None else objects
                key = _key(body)
                before = objects.get(key)
                if kind == "DELETED":
                    objects.pop(key, None)
                    after = None
                else:
                    after = objects[key] = self._slim(body)
                if before != after:
                    changes.append(ObjectChange(key, before, after))
        finally:
            # what came before a broken line holds: the version moved with it
            if objects is not None:
                self.objects = objects
            self._notify(changes)
        if lines:
            self._confirm(self._now())

    def _event(self, line: bytes) -> tuple[str, Json]:
        try:
            event = msgspec.json.decode(line)
        except msgspec.MsgspecError:
            event = None
        body = event.get("object") if isinstance(event, dict) else None
        if not isinstance(body, dict):
            raise ApiError(
                f"watch {self._watched_text()}: a line that is no event: "
                f"{line[:80].decode('utf-8', 'replace')!r}; it is opened anew"
            )
        kind = event.get("type")
        if kind == "ERROR":
            message = f"watch {self._watched_text()}: {body.get('message') or body.get('reason')}"
            if body.get("code") == _GONE or body.get("reason") in {"Expired", "Gone"}:
                raise _GoneError(f"{message}; it is listed anew")
            raise ApiError(f"{message}; it is opened anew", status=int(body.get("code") or 0))
        if kind not in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}:
            raise ApiError(f"watch {self._watched_text()}: an event of unknown type {kind!r}")
        return kind, body

    def _watched_text(self) -> str:
        return f"{self.resource.plural} {self.namespace}".rstrip()

    def _confirm(self, at: float) -> None:
        self.confirmed_at = max(self.confirmed_at, at)
        self._set_problem("")

    def _set_problem(self, problem: str, *, forbidden: bool = False) -> None:
        self.problem, self.forbidden = problem, forbidden

    def _notify(self, changes: Sequence[ObjectChange[T]]) -> None:
        if changes:
            for changed in self._subscribers:
                changed(changes)


def _key(item: Json) -> Key:
    metadata = item.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def _differences(before: Mapping[Key, T], after: Mapping[Key, T]) -> list[ObjectChange[T]]:
    changes = [ObjectChange(key, old, None) for key, old in before.items() if key not in after]
    for key, new in after.items():
        old = before.get(key)
        if old != new:
            changes.append(ObjectChange(key, old, new))
    return changes


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The whole lines that each chunk completes; raises ApiError for one that never ends."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_BYTES_MAX:
            raise ApiError(f"watch: a line of more than {_LINE_BYTES_MAX} bytes; it is opened anew")
        if lines:
            yield [line for line in lines if line.strip()]
    if rest.strip():
        raise ApiError(f"watch: it broke off in a line of {len(rest)} bytes; it is opened anew")
