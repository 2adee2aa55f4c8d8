"""What changed in a cache, and those who are told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from autoscaler.kube.watch.frames import Key

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ObjectChange(Generic[T]):
    """One object that changed. `before` is None: it is new; `after` is None: it is gone."""

    key: Key
    before: T | None
    after: T | None


def differences(before: Mapping[Key, T], after: Mapping[Key, T]) -> list[ObjectChange[T]]:
    """What is to be told where one state takes the place of another."""
    changes = [ObjectChange(key, old, None) for key, old in before.items() if key not in after]
    for key, new in after.items():
        old = before.get(key)
        if old != new:
            changes.append(ObjectChange(key, old, new))
    return changes


class Subscribers(Generic[T]):
    """Who is told of changes. A bug in one of them takes nothing from the others."""

    def __init__(self, watched: str) -> None:
        """Prepare.

        Args:
            watched: What changes, for the log.
        """
        self._watched = watched
        self._told: list[Callable[[Sequence[ObjectChange[T]]], None]] = []

    def add(self, changed: Callable[[Sequence[ObjectChange[T]]], None]) -> None:
        """Call this with what changed from now on."""
        self._told.append(changed)

    def tell(self, changes: Sequence[ObjectChange[T]]) -> None:
        """Tell of changes, one by one where together they are too much: one must not hide the others."""
        for changed in self._told if changes else ():
            try:
                changed(changes)
            except Exception:  # noqa: BLE001  a bug of ours in who is told: logged, and the others told
                _log.exception("subscriber.broke", watch=self._watched)
                for change in changes if len(changes) > 1 else ():
                    try:
                        changed([change])
                    except Exception:  # noqa: BLE001  this is the one; the first line has its trace
                        _log.error("change.lost", object="/".join(change.key))
