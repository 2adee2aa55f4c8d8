"""All objects, one counter of versions, and a window of the last changes.

The memory of the API server and the only thing its controllers share. Every write is synchronous
and atomic in the event loop; an object that was handed out is never changed in place, so readers
keep what they read. It must not know HTTP.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simulations.box.local_cluster.objects import (
    BY_PLURAL,
    Key,
    Object,
    StatusError,
    check_version,
    copy_of,
    key_of,
    not_found,
    timestamp,
)

WINDOW_CHANGES = 20_000
"""Changes kept for watches; an older resourceVersion gets 410. etcd keeps five minutes."""


@dataclass(frozen=True, slots=True)
class StoreChange:
    """One write. `before` is None for a creation, `after` for a removal."""

    version: int
    resource: str
    before: Object | None
    after: Object | None


class Store:
    """Objects by resource and key, with Kubernetes' rules for metadata."""

    def __init__(
        self,
        *,
        rng: random.Random,
        clock: Callable[[], float] = time.time,
        window: int = WINDOW_CHANGES,
    ) -> None:
        self.clock = clock
        self.version = 1
        """resourceVersion of the newest write."""
        self.oldest = 1
        """A watch may begin at this version or later."""
        self._objects: dict[str, dict[Key, Object]] = {plural: {} for plural in BY_PLURAL}
        self._changes: deque[StoreChange] = deque()
        self._window = window
        self._rng = rng
        self._waiters: dict[asyncio.Future[None], None] = {}
        """In the order in which they came, and so are they woken: a set has none that repeats."""

    # -- reading

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object, or None. It must not be changed in place."""
        return self._objects[resource].get((namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Object:
        """The object; raises a 404 `StatusError`."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def all(self, resource: str, namespace: str = "") -> list[Object]:
        """Objects in order of (namespace, name), of one namespace or of all."""
        return [
            obj
            for key, obj in sorted(self._objects[resource].items())
            if not namespace or key[0] == namespace
        ]

    def changes_after(self, version: int) -> list[StoreChange]:
        """Changes newer than `version`, oldest first; the caller has checked `oldest`."""
        newer: list[StoreChange] = []
        for change in reversed(self._changes):
            if change.version <= version:
                break
            newer.append(change)
        newer.reverse()
        return newer

    # -- writing

    def create(self, resource: str, obj: Object) -> Object:
        """Add an object; fills in kind, name from generateName, uid, version and time."""
        obj = copy_of(obj)
        row = BY_PLURAL[resource]
        obj["apiVersion"], obj["kind"] = row.api_version, row.kind
        metadata = obj.setdefault("metadata", {})
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{self.suffix()}"
        key = key_of(obj)
        if key in self._objects[resource]:
            raise StatusError(
                "AlreadyExists",
                f'{resource} "{key[1]}" already exists',
                details={"name": key[1], "kind": resource},
            )
        metadata["uid"] = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        metadata["creationTimestamp"] = timestamp(self.clock())
        metadata["generation"] = 1
        _omit_empty(metadata)
        return self._commit(resource, None, obj)

    def replace(self, resource: str, obj: Object) -> Object:
        """Write a whole object; a resourceVersion in it must be the newest one.

        A write that changes nothing makes no version, and one that changes the spec moves the
        generation, as in the API server.
        """
        namespace, name = key_of(obj)
        before = self.get(resource, namespace, name)
        if obj == before:
            return before
        asked, is_now = (
            obj["metadata"].get("resourceVersion"),
            before["metadata"]["resourceVersion"],
        )
        check_version(resource, name, asked=asked, is_now=is_now)
        obj = copy_of(obj)
        for kept in ("uid", "creationTimestamp", "generation", "resourceVersion"):
            obj["metadata"][kept] = before["metadata"][kept]
        _omit_empty(obj["metadata"])
        if obj == before:
            return before
        if _is_asked_anew(resource, before, obj):
            obj["metadata"]["generation"] = before["metadata"]["generation"] + 1
        return self._commit(resource, before, obj)

    def modify(
        self, resource: str, namespace: str, name: str, change: Callable[[Object], None]
    ) -> Object | None:
        """Read, change a copy, write. None where the object is gone."""
        found = self.find(resource, namespace, name)
        if found is None:
            return None
        obj = copy_of(found)
        change(obj)
        return self.replace(resource, obj)

    def remove(self, resource: str, namespace: str, name: str) -> Object:
        """Take an object out; raises a 404 `StatusError`."""
        before = self.get(resource, namespace, name)
        self._commit(resource, before, None)
        return before

    def suffix(self) -> str:
        """Five letters, as generated names end."""
        return "".join(self._rng.choices("bcdfghjklmnpqrstvwxz2456789", k=5))

    def _commit(self, resource: str, before: Object | None, after: Object | None) -> Object:
        self.version += 1
        if after is None:
            # the last event of an object carries the version of its removal
            before = copy_of(before or {})
            before["metadata"]["resourceVersion"] = str(self.version)
            del self._objects[resource][key_of(before)]
        else:
            after["metadata"]["resourceVersion"] = str(self.version)
            self._objects[resource][key_of(after)] = after
        self._changes.append(
            StoreChange(version=self.version, resource=resource, before=before, after=after)
        )
        while len(self._changes) > self._window:
            self.oldest = self._changes.popleft().version
        self.wake()
        return after if after is not None else before or {}

    # -- waiting

    def wake(self) -> None:
        """Let every waiter look again."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self, after: int, *, timeout_s: float | None = None) -> bool:
        """Wait for a version newer than `after`, a wake-up, or the time-out (then False)."""
        if self.version > after:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters.pop(waiter, None)
        return True


def _omit_empty(metadata: Object) -> None:
    for name in ("labels", "annotations"):
        if not metadata.get(name, True):
            del metadata[name]


def _is_asked_anew(resource: str, before: Object, after: Object) -> bool:
    """Whether the generation moves: with the spec, and of a Deployment with annotations as well."""
    annotated = resource == "deployments" and before["metadata"].get("annotations") != after[
        "metadata"
    ].get("annotations")
    return annotated or before.get("spec") != after.get("spec")
