"""Fields of plain data that others wrote, read leniently: what is of another type is as if it were not there.

For what nothing is decided on but what it says itself (notices, findings); `fields` refuses instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Plain: TypeAlias = Mapping[str, Any]

NUMBER_MAX = 2**31 - 1
"""Of the API's integers: a larger one is none."""


def part(found: Any, *names: str) -> Plain:
    """Return the mapping at this path; empty where there is none."""
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def parts(found: Any, name: str) -> list[Plain]:
    """Return the mappings of a list."""
    value = found.get(name) if isinstance(found, Mapping) else None
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def texts(found: Any, name: str) -> list[str]:
    """Return the texts of a list."""
    value = found.get(name) if isinstance(found, Mapping) else None
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def text(found: Plain, name: str) -> str:
    """Return a text; empty where there is none."""
    value = found.get(name)
    return value if isinstance(value, str) else ""


def whole(found: Plain, name: str) -> int | None:
    """Return a whole number that is not negative; None where there is none."""
    value = found.get(name)
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= NUMBER_MAX
    return value if known else None


def pairs(found: Plain) -> tuple[tuple[str, str], ...]:
    """Return a mapping of texts, in order of key."""
    return tuple(
        sorted(
            (key, value)
            for key, value in found.items()
            if isinstance(key, str) and isinstance(value, str)
        )
    )
