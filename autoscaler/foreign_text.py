"""Text that others wrote, made fit to stand in a message of ours. A leaf: it imports nothing of the project.

A page, an answer, an object, a document or an exception's text may be a megabyte long, may hold what a
terminal obeys (escape sequences, C1), what reorders a line that a person reads (bidirectional controls)
or what begins a new line of a log. Whoever puts a piece of it into an error, a log, a condition or a
page puts it through `shown` or `quoted`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

SHOWN_CHARACTERS_MAX = 200
"""Of one foreign text in a message, the mark of a cut included."""
NAMES_SHOWN_MAX = 5
"""Of a foreign list in a message; how many more there are is said."""
_CUT = "…"
_DIGITS_BITS_MAX = 256
"""An integer of more bits is described: to write out ten thousand digits takes Python for ever, or is
refused."""


def shown(found: object, *, limit: int = SHOWN_CHARACTERS_MAX) -> str:
    """Return what was found as one line of printable characters, at most `limit` of them.

    Runs of white space become one space; what is no printable character (DEL, C1, bidirectional
    controls, what does not decode) is escaped as Python escapes it; a cut is marked by an ellipsis. The
    work is bounded by `limit`, whatever was found.

    >>> shown("a" * 1000, limit=8)
    'aaaaaaa…'
    >>> shown(["x"] * 1000), shown(None), shown(10**400)
    ('a list of 1000', 'None', 'an integer of 1329 bits')

    Args:
        found: A string or bytes (as UTF-8), shown by its text; of an exception its text, or its name
            where it has none. Of any other value its form is told, so that nothing is written out.
        limit: Characters, 1 or more.
    """
    return _cut(_escaped(_beginning(found, limit=limit)), limit=limit)


def quoted(found: object, *, limit: int = SHOWN_CHARACTERS_MAX) -> str:
    """Return the same between quotation marks; what is no text, without them."""
    if not isinstance(found, str | bytes | bytearray | memoryview):
        return shown(found, limit=limit)
    return f"'{shown(found, limit=limit)}'"


def listed(found: Iterable[object], *, names: int = NAMES_SHOWN_MAX) -> str:
    """Return the first few of many foreign names, each of them cut, and how many more there are.

    >>> listed(["b", "a", "c"], names=2)
    'b, a and 1 more'
    """
    rest = iter(found)
    first = [shown(each, limit=SHOWN_CHARACTERS_MAX // 2) for each in itertools.islice(rest, names)]
    more = sum(1 for _ in rest)
    return ", ".join(first) + (f" and {more} more" if more else "")


def _beginning(found: object, *, limit: int) -> str:
    """Return the text of what was found, of which no more is looked at than may be shown.

    Four characters for each that is shown leave room for white space that is folded.
    """
    characters = 4 * limit + 1
    if isinstance(found, str):
        return found[:characters]
    if isinstance(found, bytes | bytearray | memoryview):
        return bytes(found[: 4 * characters]).decode(errors="backslashreplace")[:characters]
    if isinstance(found, BaseException):
        return (_text_of(found) or type(found).__name__)[:characters]
    return _form_of(found)


def _text_of(error: BaseException) -> str:
    """Return an exception's text; some of foreign libraries fail while they write theirs."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  a message that cannot be made must not hide what it is about
        return ""


def _form_of(found: object) -> str:
    """Describe a value that is no text."""
    if found is None or isinstance(found, bool | float):
        return repr(found)
    if isinstance(found, int):
        bits = found.bit_length()
        return str(found) if bits <= _DIGITS_BITS_MAX else f"an integer of {bits} bits"
    if isinstance(found, list | tuple | set | frozenset):
        return f"a list of {len(found)}"
    if isinstance(found, dict):
        return f"an object of {len(found)}"
    return f"a value of type {type(found).__name__}"


def _escaped(text: str) -> str:
    """Fold white space, and escape what is not printable."""
    folded = " ".join(text.split())
    if folded.isprintable():
        return folded
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in folded
    )


def _cut(text: str, *, limit: int) -> str:
    """Cut a text, with a mark where something was lost."""
    return text if len(text) <= limit else text[: limit - 1] + _CUT
