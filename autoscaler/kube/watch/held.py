"""The objects that a cache holds, each reduced to what is needed of it; and those that cannot be read.

One object must not take the others with it: one that cannot be read is there and unknown (`unreadable`), and
what was kept of it before stays. It is asked for again after a while: it may have been garbled on its way, and
nothing of it need change for hours. So is everything of which others say what contradicts it (`doubt`): what was
garbled may still be readable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import structlog

from autoscaler.foreign_text import listed
from autoscaler.kube.api.fields import Json, UnreadableError
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.frames import Key, key_of
from autoscaler.kube.watch.unreadable import UnreadableObject, unreadable

T = TypeVar("T")

REREAD_S_MIN, REREAD_S_MAX = 15.0, 600.0
"""From a list, or the first doubt, to the next one that asks again what it is about an object that cannot be
read, or a contradiction. Doubled each time that there still is one."""

NAMELESS = "#"
"""What the key of an object begins with that has no name, of which there is no other: no name of Kubernetes does."""

_log = structlog.get_logger(__name__)


class HeldObjects(Generic[T]):
    """Of one resource."""

    def __init__(
        self,
        slim: Callable[[Json], T],
        *,
        namespace: str,
        watched: str,
        now: Callable[[], float],
    ) -> None:
        """Begin with none.

        Args:
            slim: Of a full object, what is needed of it; UnreadableError where it is of another form.
            namespace: Of the objects; empty: each says its own.
            watched: What they are, for people.
            now: Seconds since the epoch, never decreasing.
        """
        self.objects: Mapping[Key, T] = {}
        """Replaced as a whole: a reader may keep the one it took."""
        self.unreadable: Mapping[Key, UnreadableObject] = {}
        """Objects that are there and cannot be read; replaced as a whole. What `objects` has of
        one is older. One that has no name has NAMELESS and a number in its place."""
        self.unreadable_total = 0
        """Times that an object could not be read, since the start."""
        self._slim = slim
        self._namespace = namespace
        self._watched = watched
        self._now = now
        self._doubted = False
        self._reread_s = REREAD_S_MIN
        self._reread_at = 0.0

    @property
    def is_reread_due(self) -> bool:
        """Whether something cannot be read, or be true, and it is time to ask for it again."""
        return (self._doubted or bool(self.unreadable)) and self._now() >= self._reread_at

    def doubt(self, doubted: bool) -> None:  # noqa: FBT001  it is what is said
        """Take in whether something else that is seen contradicts what is held.

        It often does for a moment: one watch is told before the other. What lasts is looked into.
        """
        if doubted != self._doubted and not self.unreadable:
            self._reread_s = REREAD_S_MIN
            self._reread_at = self._now() + self._reread_s
        self._doubted = doubted

    def take(self, item: Any, found: dict[Key, T], unread: dict[Key, UnreadableObject]) -> None:
        """Take one object of a list; of one that cannot be read what was held before stays."""
        key = ("", f"{NAMELESS}{len(unread) + 1}")
        try:
            key = key_of(item, namespace=self._namespace)
            found[key] = self._slim(item)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this object's matter
            self._note_unreadable(key, error)
            unread[key] = unreadable(item, error)
            if key in self.objects:
                found[key] = self.objects[key]

    def replace(self, found: Mapping[Key, T], unread: Mapping[Key, UnreadableObject]) -> None:
        """Hold what a list had."""
        self.objects, self.unreadable = found, unread
        self._reread_s = min(2.0 * self._reread_s, REREAD_S_MAX)
        if not unread and not self._doubted:
            self._reread_s = REREAD_S_MIN
        self._reread_at = self._now() + self._reread_s

    def apply(self, objects: dict[Key, T], body: Json, *, gone: bool) -> ObjectChange[T] | None:
        """Apply one event to objects that are to be held; None: nothing changed.

        Raises UnreadableError, and nothing is changed, where it cannot be told whose event it is.
        """
        try:
            key = key_of(body, namespace=self._namespace)
        except UnreadableError as error:
            self._note_unreadable(("", ""), error)
            raise
        before, after = objects.get(key), None
        unread: UnreadableObject | None = None
        if gone:
            objects.pop(key, None)
        else:
            try:
                after = objects[key] = self._slim(body)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this object's matter
                self._note_unreadable(key, error)
                unread, after = unreadable(body, error), before
        if unread and key not in self.unreadable:
            self._reread_at = min(self._reread_at, self._now() + REREAD_S_MIN)
        if unread or key in self.unreadable:
            others = {name: each for name, each in self.unreadable.items() if name != key}
            self.unreadable = {**others, key: unread} if unread else others
        return ObjectChange(key, before, after) if before != after else None

    def _note_unreadable(self, key: Key, error: Exception) -> None:
        """Count it; a bug of ours in who reads it is logged, once an object."""
        self.unreadable_total += 1
        if not isinstance(error, UnreadableError) and key not in self.unreadable:
            _log.exception("object.broke", watch=self._watched)

    def reread_text(self) -> str:
        """Why it is listed anew, for people."""
        contradicted = f"{self._watched}: what is held contradicts what else is seen"
        return f"{self.unreadable_text() or contradicted}; it is listed anew"

    def unreadable_text(self) -> str:
        """What cannot be read now, for people; empty: all can."""
        if not self.unreadable:
            return ""
        names = listed(f"{name} ({each.why})" for (_, name), each in self.unreadable.items())
        return f"{self._watched}: there and unknown, for it cannot be read: {names}"
