"""A cache of one resource, kept in step by a list and a watch from where the list ended.

It must never spin (every reconnect that follows a short-lived one waits, longer each time, with jitter; not
for long while the API server is away, for what is not known after its return costs decisions), never hang (a
connection that says nothing is given up) and never forget: while the API server cannot be read the last state
stays, and `confirmed_at` says how old it is. What it holds, and what of that cannot be read, is in `held`.

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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Never, TypeVar

from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json, UnreadableError
from autoscaler.kube.api.resources import ApiResource
from autoscaler.kube.watch.changes import ObjectChange, Subscribers, differences
from autoscaler.kube.watch.frames import Key, WatchEvent, error_of, lines_of, read_event
from autoscaler.kube.watch.held import HeldObjects
from autoscaler.kube.watch.listing import Listing
from autoscaler.kube.watch.timing import Timing, pause_s
from autoscaler.kube.watch.unreadable import UnreadableObject

T = TypeVar("T")

_FORBIDDEN = 403
_GONE = 410
RELIST_AFTER_FAILURES = 3
"""After so many failures in a row the version that is held is given up: it may be one that this server
cannot serve (a restored etcd is behind it)."""

MUTE_WATCHES_MAX = 2
"""After so many watches in a row that were never ended and said nothing it is listed anew, however long
each was: a version that the server takes and cannot serve would else be asked for without end."""
SILENT_WATCHES_MAX = 6
"""After so many watches in a row that said nothing, neither an event nor a bookmark, it is listed anew. In
a quiet cluster there is nothing to say; but a server whose etcd was restored from a backup is silent
too, until it has reached the version that is held (both seen on 1.36)."""

RETURNING_REFUSALS_MAX = 15
"""So often in a row a server that has just come back refuses whom it will answer, and is asked again soon: it
does for a second or two, until it has its roles and its storage. Who is refused longer is refused for good."""


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
        never_empty: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timing: Timing | None = None,
        crowd: Callable[[], int] = lambda: 1,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            client: The shared client.
            resource: What to keep.
            slim: Of a full object, what is needed of it; UnreadableError where it is of another form.
            now: Seconds since the epoch, never decreasing (the daemon's clock).
            rng: For jitter.
            namespace: Empty: all of them.
            labels: A label selector; empty: all of them.
            never_empty: There is always one, once there was: a list without any is not believed.
            sleep: For back-off; tests give their own.
            timing: How long things last.
            crowd: How many caches ask the same server; they share ASKED_A_SECOND_MAX.
        """
        self.resource = resource
        self.namespace = namespace
        self.version = ""
        """resourceVersion up to which it is in step; empty: never listed."""
        self.synced = False
        """Whether it was listed once. It stays true: what was known is not forgotten."""
        self.confirmed_at = 0.0
        """When it was last known to be in step, on the clock of `now`; 0: never."""
        self.confirmed_before_at = 0.0
        """The same before that: what a subscriber is told of was written later. 0: never."""
        self.problem = ""
        """Why it is not in step now, for people; empty: it is."""
        self.forbidden = False
        """Whether that is for want of a right: waiting does not help."""
        self.failures = 0
        """In a row; 0 once a watch lasts."""
        self.failures_total = 0
        timing = timing or Timing()
        self._watched = f"{resource.plural} {namespace}".rstrip()
        self._held = HeldObjects(slim, namespace=namespace, watched=self._watched, now=now)
        self._listing = Listing(
            client, resource, namespace=namespace, watched=self._watched, timing=timing
        )
        self._subscribers: Subscribers[T] = Subscribers(self._watched)
        self._client = client
        self._labels = labels
        self._never_empty = never_empty
        self._now = now
        self._rng = rng
        self._sleep = sleep
        self._timing = timing
        self._crowd = crowd
        self._refusals = 0
        """In a row, of a server that answered; 0 once a watch lasts."""
        self._silent = 0
        self._mute = 0

    @property
    def objects(self) -> Mapping[Key, T]:
        """As `HeldObjects.objects`."""
        return self._held.objects

    @property
    def unreadable(self) -> Mapping[Key, UnreadableObject]:
        """As `HeldObjects.unreadable`."""
        return self._held.unreadable

    @property
    def unreadable_total(self) -> int:
        """As `HeldObjects.unreadable_total`."""
        return self._held.unreadable_total

    def unreadable_text(self) -> str:
        """What cannot be read now, for people; empty: all can."""
        return self._held.unreadable_text()

    def doubt(self, doubted: bool) -> None:  # noqa: FBT001  as there
        """As `HeldObjects.doubt`."""
        self._held.doubt(doubted)

    def subscribe(self, changed: Callable[[Sequence[ObjectChange[T]]], None]) -> None:
        """Call this with what changed, each time `objects` was replaced."""
        self._subscribers.add(changed)

    async def run(self) -> Never:
        """List, then watch, for ever; cancel it to end it."""
        stale, proven = True, False
        while True:
            began, retry_after_s, returning = math.inf, None, False
            try:
                if stale:
                    await self._list()
                    stale, proven = False, True
                began = self._now()
                in_time = await self._watch(brief=not proven)
                if in_time and not proven:
                    proven = True  # nothing was missed: the next one is as long as ever
                    continue
            except _GoneError as gone:
                self._set_problem(str(gone))
                stale = True
            except ApiError as error:
                self._set_problem(str(error), forbidden=error.status == _FORBIDDEN)
                retry_after_s = error.retry_after_s
                stale = stale or error.status == _GONE or self._mute >= MUTE_WATCHES_MAX
                self._refusals = 0 if error.unanswered else self._refusals + 1
                returning = error.unanswered or (
                    self.synced and self._refusals <= RETURNING_REFUSALS_MAX
                )
            stale = stale or self._held.is_reread_due
            if self._now() - began >= self._timing.calm_s:
                self.failures = self._refusals = 0
                continue
            self.failures += 1
            self.failures_total += 1
            stale = stale or self.failures % RELIST_AFTER_FAILURES == 0
            proven = False
            await self._sleep(self._pause_s(retry_after_s, returning=returning))

    def _pause_s(self, retry_after_s: float | None, *, returning: bool = False) -> float:
        """How long to wait after a failure (`timing.pause_s`)."""
        return pause_s(
            self._timing,
            failures=self.failures,
            retry_after_s=retry_after_s,
            returning=returning,
            crowd=self._crowd(),
            rng=self._rng,
        )

    def _selection(self) -> dict[str, str]:
        return {"labelSelector": self._labels} if self._labels else {}

    async def _list(self) -> None:
        """Read all pages, and only then replace what is held."""
        asked_at = self._now()
        found: dict[Key, T] = {}
        unread: dict[Key, UnreadableObject] = {}
        version = await self._listing.read(
            self._selection(), lambda item: self._held.take(item, found, unread), found=found
        )
        if self._never_empty and self.objects and not found and not unread:
            raise self._listing.error(f"it is empty, and {len(self.objects)} were known")
        before = self.objects
        self._held.replace(found, unread)
        self.version = version
        self._silent = self._mute = 0
        self._confirm(asked_at)
        self.synced = True
        self._subscribers.tell(differences(before, found))

    async def _watch(self, *, brief: bool = False) -> bool:
        """Take events until the server ends the watch; raises when it breaks or is refused.

        Args:
            brief: End it soon: what it confirms is waited for.

        Returns:
            Whether it was ended in its own time, which confirms what is held.
        """
        timing = self._timing
        lasts_s = self._rng.randint(timing.watch_s_min, timing.watch_s_max)
        if brief:
            lasts_s = min(lasts_s, timing.first_watch_s)
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
            self._mute += 1  # until it says a word, or ends in order
            async for lines in lines_of(chunks):
                self._apply_lines(lines)
                silent = False
                self._mute = 0
                if self._held.is_reread_due:
                    raise _GoneError(self._held.reread_text())
        self._mute = 0
        if self._now() - opened_at < min(timing.calm_s, lasts_s):
            return False
        # The server closed it in its own time, so that nothing was held back.
        self._silent = self._silent + 1 if silent else 0
        if self._silent >= SILENT_WATCHES_MAX:
            raise _GoneError(f"watch {self._watched}: nothing is said any more; it is listed anew")
        self._confirm(self._now())
        return lasts_s > 0

    def _apply_lines(self, lines: Sequence[bytes]) -> None:
        """Apply the events of one chunk as one replacement."""
        objects: dict[Key, T] | None = None
        changes: list[ObjectChange[T]] = []
        try:
            for line in lines:
                event = read_event(line, watched=self._watched)
                if event.type == "ERROR":
                    error, gone = error_of(event, watched=self._watched)
                    raise _GoneError(str(error)) if gone else error
                if event.type != "BOOKMARK":
                    objects = dict(self.objects) if objects is None else objects
                    change = self._apply(objects, event)
                    if change is not None:
                        changes.append(change)
                self.version = event.version or self.version
        finally:
            # what came before a broken line holds: the version moved with it
            if objects is not None:
                self._held.objects = objects
            self._subscribers.tell(changes)
        if lines:
            self._confirm(self._now())

    def _apply(self, objects: dict[Key, T], event: WatchEvent) -> ObjectChange[T] | None:
        """Apply one event; None: nothing of ours changed. Raises _GoneError where it cannot be told whose."""
        try:
            return self._held.apply(objects, event.body, gone=event.type == "DELETED")
        except UnreadableError as error:
            raise _GoneError(
                f"watch {self._watched}: an event of which it cannot be told what it is about "
                f"({error}); it is listed anew"
            ) from error

    def _confirm(self, at: float) -> None:
        self.confirmed_before_at = self.confirmed_at
        self.confirmed_at = max(self.confirmed_at, at)
        self._set_problem("")

    def _set_problem(self, problem: str, *, forbidden: bool = False) -> None:
        self.problem, self.forbidden = problem, forbidden

    def _forget(self) -> None:
        """There is nothing of it any more."""
        before, self._held.objects = self.objects, {}
        self._subscribers.tell(differences(before, {}))
