"""What a list or a watch says, read by form: pages, events and the objects in them, whatever was sent.

An answer that is no page and a line that is no event are errors of that answer; an object that cannot be
read is one object's matter (`UnreadableError`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from autoscaler.foreign_text import quoted, shown
from autoscaler.kube.api.client import ApiError
from autoscaler.kube.api.fields import Json, UnreadableError, json_object, mapping, text

Key: TypeAlias = tuple[str, str]
"""(namespace, name); the namespace of a Node is empty."""

EVENT_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"})

LINE_BYTES_MAX = 8 * 1024 * 1024
"""Far above the 1.5 MiB that etcd lets an object have; a longer line is no event."""
_VERSION_CHARACTERS_MAX = 64
_TOKEN_CHARACTERS_MAX = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    items: list[Any]
    version: str
    """resourceVersion of the list."""
    then: str
    """What to continue with; empty: it is the last page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One line of a watch."""

    type: str
    """Of EVENT_TYPES."""
    body: Json
    version: str
    """resourceVersion of its object; empty: it has none that can be used."""


def read_page(answer: Json) -> Page:
    """Read a page; raises UnreadableError where it is none."""
    metadata = mapping(answer, "metadata")
    items = answer.get("items")
    if items is not None and not isinstance(items, list):
        raise UnreadableError(f"items: a list was expected, found {shown(items)}")
    then = metadata.get("continue") or ""
    if not isinstance(then, str) or len(then) > _TOKEN_CHARACTERS_MAX:
        raise UnreadableError(f"metadata.continue: a text was expected, found {shown(then)}")
    version = version_of(metadata)
    if not version:
        found = metadata.get("resourceVersion")
        raise UnreadableError(f"metadata.resourceVersion: no version: {quoted(found, limit=80)}")
    return Page(items=items or [], version=version, then=then)


def read_event(line: bytes, *, watched: str) -> WatchEvent:
    """Read one line; raises ApiError for what is no event."""
    event = json_object(line)
    body = event.get("object") if event is not None else None
    if event is None or not isinstance(body, dict):
        raise ApiError(
            f"watch {watched}: a line that is no event: {quoted(line, limit=80)}; it is opened anew"
        )
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in EVENT_TYPES:
        raise ApiError(
            f"watch {watched}: an event of unknown type {quoted(kind, limit=80)}; it is opened anew"
        )
    metadata = body.get("metadata")
    return WatchEvent(
        type=kind,
        body=body,
        version=version_of(metadata) if isinstance(metadata, dict) else "",
    )


def error_of(event: WatchEvent, *, watched: str) -> tuple[ApiError, bool]:
    """What an ERROR says, and whether it means that the version that is held is too old."""
    body = event.body
    code, reason = body.get("code"), body.get("reason")
    status = (
        code if isinstance(code, int) and not isinstance(code, bool) and 0 <= code < 1000 else 0
    )
    message = body.get("message")
    said = shown(message) if isinstance(message, str) and message else shown(reason)
    gone = status == 410 or (isinstance(reason, str) and reason in {"Expired", "Gone"})
    then = "it is listed anew" if gone else "it is opened anew"
    return ApiError(f"watch {watched}: {said}; {then}", status=status), gone


def key_of(item: Any, *, namespace: str) -> Key:
    """Whose object it is; raises UnreadableError where that cannot be told.

    Args:
        item: As it came.
        namespace: That was asked for; empty: any.
    """
    if not isinstance(item, dict):
        raise UnreadableError(f"an object was expected, found {quoted(item, limit=80)}")
    metadata = mapping(item, "metadata")
    name, home = text(metadata, "name"), text(metadata, "namespace")
    if not name:
        raise UnreadableError("an object without a name")
    if namespace and home != namespace:
        raise UnreadableError(f"an object of the namespace {quoted(home)}, which was not asked for")
    return home, name


def version_of(metadata: Json) -> str:
    """The resourceVersion, which is opaque but short; empty: there is none that can be used."""
    version = metadata.get("resourceVersion")
    if isinstance(version, int) and not isinstance(version, bool) and 0 <= version < 2**63:
        return str(version)
    if not isinstance(version, str) or len(version) > _VERSION_CHARACTERS_MAX:
        return ""
    return version if version.isascii() and version.isprintable() else ""


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The whole lines that each chunk completes; raises ApiError for one that never ends."""
    rest: list[bytes] = []
    length = 0
    async for chunk in chunks:
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            lines = b"".join([*rest, head]).split(b"\n")
            rest, length = [tail], len(tail)
        else:
            lines = []
            rest.append(chunk)
            length += len(chunk)
        if length > LINE_BYTES_MAX or any(len(line) > LINE_BYTES_MAX for line in lines):
            raise ApiError(f"watch: a line of more than {LINE_BYTES_MAX} bytes; it is opened anew")
        if lines:
            yield [line for line in lines if line.strip()]
    if b"".join(rest).strip():
        raise ApiError(f"watch: it broke off in a line of {length} bytes; it is opened anew")
