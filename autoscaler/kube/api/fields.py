"""Fields of JSON that others wrote, read by type: what is absent is a default, what is of another type is refused.

An answer of an API server, or of what stands before it, may be anything: a text where a mapping belongs,
an integer of thousands of digits, lists in lists until Python gives up. Here that ends in `UnreadableError`
with a word for what was found, which whoever asks turns into "unknown"; never in a zero, and never in an
exception that ends a task.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import msgspec

from autoscaler.errors import AutoscalerError
from autoscaler.foreign_text import quoted

Json: TypeAlias = dict[str, Any]

TEXT_CHARACTERS_MAX = 1024
"""Of names, labels and the like; the API allows 253 and 63. Longer texts (messages) are cut to it."""
REPLICAS_MAX = 2**31 - 1
"""An int32 in the API."""


class UnreadableError(AutoscalerError):
    """What was read is not of the form that the API gives it: which field, and what was found."""


def json_object(raw: bytes) -> Json | None:
    """Read one JSON object; None for whatever else it is: no JSON, no object, no UTF-8, too deep."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def mapping(parent: Json, name: str) -> Json:
    """A mapping; empty where it is absent or null."""
    found = parent.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _unreadable(name, found, "a mapping")
    return found


def sequence(parent: Json, name: str) -> list[Any]:
    """A list; empty where it is absent or null."""
    found = parent.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise _unreadable(name, found, "a list")
    return found


def mappings(parent: Json, name: str) -> list[Json]:
    """A list of mappings; empty where it is absent or null."""
    found = sequence(parent, name)
    for each in found:
        if not isinstance(each, dict):
            raise _unreadable(f"{name}[]", each, "a mapping")
    return found


def text(parent: Json, name: str) -> str:
    """A short text; empty where it is absent or null."""
    found = parent.get(name)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > TEXT_CHARACTERS_MAX:
        raise _unreadable(name, found, f"a text of at most {TEXT_CHARACTERS_MAX} characters")
    return found


def texts(parent: Json, name: str) -> dict[str, str]:
    """A mapping of texts of any length (labels, annotations); empty where it is absent or null."""
    found = mapping(parent, name)
    for key, value in found.items():
        if not isinstance(value, str):
            raise _unreadable(f"{name}[{quoted(key, limit=80)}]", value, "a text")
    return found


def flag(parent: Json, name: str) -> bool:
    """A boolean; False where it is absent or null."""
    found = parent.get(name)
    if found is None:
        return False
    if not isinstance(found, bool):
        raise _unreadable(name, found, "true or false")
    return found


def whole(parent: Json, name: str, *, default: int = 0, most: int = REPLICAS_MAX) -> int:
    """A whole number from 0 to `most`; the default where it is absent or null."""
    found = parent.get(name)
    if found is None:
        return default
    if isinstance(found, float) and found.is_integer() and 0 <= found <= most:
        return int(found)  # 1.0: some encoders write whole numbers so
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= most:
        raise _unreadable(name, found, f"a whole number from 0 to {most}")
    return found


def written_version(item: Json) -> str:
    """The resourceVersion of an object that is to be written: without one a write would be over anybody's."""
    version = text(mapping(item, "metadata"), "resourceVersion")
    if not version:
        raise _unreadable("metadata.resourceVersion", None, "a version")
    return version


def version_number(version: object) -> int:
    """A resourceVersion as a number, for comparing; 0 where it is none."""
    if isinstance(version, int) and not isinstance(version, bool):
        version = str(version) if 0 <= version < 10**18 else ""
    if not isinstance(version, str) or len(version) > 18 or not version.isascii():
        return 0
    return int(version) if version.isdigit() else 0


def finite(value: object, *, most: float) -> float | None:
    """A number from 0 to `most` out of anything; None: it is none."""
    if isinstance(value, str) and len(value) <= 32:
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(min(max(value, 0), most))


def _unreadable(name: str, found: object, expected: str) -> UnreadableError:
    return UnreadableError(f"{name}: {expected} was expected, found {quoted(found, limit=80)}")
