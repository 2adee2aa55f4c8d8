"""An object that is there and cannot be read: why, and what can be read of whose it is.

A replica's ReplicaSet and its Deployment are in its owner references. Where one field of an object is garbled
these mostly are not, and tell whose it is not; else its name may, for controllers make names out of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoscaler.foreign_text import shown
from autoscaler.kube.api.fields import UnreadableError, flag, mapping, mappings, text

_GENERATED_CHARACTERS_MAX = 58
"""Of a pod's name that come from its owner's: the API server cuts `generateName` there, and adds five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableObject:
    """One object."""

    why: str
    """Short enough to stand beside its name."""
    controller_uid: str | None = None
    """Of whoever controls it; empty: nobody does; None: that cannot be read."""


def unreadable(item: Any, error: Exception) -> UnreadableObject:
    """What there is to know of an object that raised this when it was read."""
    why = shown(error, limit=120)
    if not isinstance(error, UnreadableError):
        why = f"{type(error).__name__}: {why}"
    return UnreadableObject(why=why, controller_uid=_controller_uid(item))


def may_be_named_by(name: str, owner: str, *, parts: int) -> bool:
    """Whether a controller may have made this name out of its owner's, and so many parts more.

    Args:
        name: Of a ReplicaSet (one part: the hash of its template) or a pod (two parts after the Deployment's
            name, one after the ReplicaSet's).
        owner: The name of a Deployment or ReplicaSet.
        parts: How many were added, each behind a dash and without one of its own.
    """
    if len(name) >= _GENERATED_CHARACTERS_MAX:  # it may have been cut, wherever that was
        start = f"{owner}-"[: _GENERATED_CHARACTERS_MAX - 1]
        return name.startswith(start)
    rest = name.removeprefix(f"{owner}-")
    return rest != name and rest.count("-") == parts - 1


def _controller_uid(item: Any) -> str | None:
    try:
        metadata = mapping(item, "metadata")
        controllers = [
            each for each in mappings(metadata, "ownerReferences") if flag(each, "controller")
        ]
        return text(controllers[0], "uid") if controllers else ""
    except (UnreadableError, AttributeError):
        return None
