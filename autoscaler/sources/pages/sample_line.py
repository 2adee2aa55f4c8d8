"""One line of a page: name, labels, value and, rarely, a time.

Our own reading and not prometheus_client's, whose work on a line grows with the square of its escapes
and labels, which takes `٣` and an integer of 400 digits for numbers, and makes of an exemplar a time.
It takes 20 ms for the worst line of 8 KiB, a hundred times what this takes. On what a sound page can
hold the two agree, which a property test says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from autoscaler.sources.pages.limits import LABELS_MAX

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_BEFORE_LABELS = re.compile(rf"[ \t]*{_NAME}[ \t]*\{{")
_BEFORE_VALUE = re.compile(rf"[ \t]*{_NAME}(?=[ \t])")
# No two parts of it can match the same character, so that it never goes back.
_LABEL = re.compile(
    r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t]*([,}])'
)
_NO_LABEL = re.compile(r"[ \t]*\}")
_ESCAPED = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
_NUMBER_CHARACTERS_MAX = 64
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)",
    re.ASCII | re.IGNORECASE,
)


class LabelCache:
    """Labels by their text, as far as there is room.

    Series change their values and keep their labels, and the pods of a Deployment share them. Bounded
    in bytes: a label of a hostile page may be long and differ every time.
    """

    def __init__(self, *, bytes_max: int = 2 * 2**20) -> None:
        self._bytes_max = bytes_max
        self._found: dict[str, Mapping[str, str]] = {}
        self.held_bytes = 0
        """About; the text, and a dictionary of as many strings."""

    def labels(self, text: str) -> Mapping[str, str]:
        """Return the labels of `name{…}`, parsed now or before.

        Raises:
            ValueError: They do not parse.
        """
        found = self._found.get(text)
        if found is None:
            found = MappingProxyType(_parse_labels(text))
            self._found[text] = found
            self.held_bytes += _size(text, found)
            while self.held_bytes > self._bytes_max:
                oldest = next(iter(self._found))
                self.held_bytes -= _size(oldest, self._found.pop(oldest))
        return found


_CACHE = LabelCache()


def parse_line(
    line: str, *, cache: LabelCache = _CACHE
) -> tuple[Mapping[str, str], float, float | None]:
    """Return labels, value and time of a line that begins with a name.

    An exemplar (OpenMetrics) behind the value is left out.

    Raises:
        ValueError: It does not parse.
    """
    line = line.strip()
    begin = _BEFORE_LABELS.match(line)
    labels: Mapping[str, str]
    if begin is None:
        plain = _BEFORE_VALUE.match(line)
        if plain is None:
            raise ValueError("no name and value")
        labels, end = MappingProxyType({}), plain.end()
    else:
        end = _end_of_labels(line, begin.end())
        labels = cache.labels(line[:end])
    value, _, at = line[end:].partition(" # ")[0].strip().replace("\t", " ").partition(" ")
    if not at:
        return labels, number(value), None
    return labels, number(value), number(at.strip()) / 1000


def number(text: str) -> float:
    """Return a number as Prometheus writes it; NaN and infinities too.

    Raises:
        ValueError: It is none.
    """
    if len(text) > _NUMBER_CHARACTERS_MAX or not _NUMBER.fullmatch(text):
        raise ValueError("no number")
    return float(text)


def _end_of_labels(line: str, position: int) -> int:
    """Return where the labels end, past their brace; a brace in a value is none."""
    brace = line.find("}", position)
    if brace >= 0 and line.find("}", brace + 1) < 0 and line.find('"', brace) < 0:
        return brace + 1
    while True:
        last = _NO_LABEL.match(line, position)
        if last is not None:
            return last.end()
        label = _LABEL.match(line, position)
        if label is None:
            raise ValueError("labels that do not parse")
        position = label.end()
        if label[3] == "}":
            return position


def _parse_labels(text: str) -> dict[str, str]:
    """Parse `name{…}`, to its end."""
    labels: dict[str, str] = {}
    position = text.index("{") + 1
    while not _NO_LABEL.fullmatch(text, position):
        label = _LABEL.match(text, position)
        if label is None or label[1] in labels or label[1] == "__name__":
            raise ValueError("labels that do not parse, or one given twice")
        labels[label[1]] = _unescaped(label[2])
        if len(labels) > LABELS_MAX:
            raise ValueError(f"more than {LABELS_MAX} labels")
        position = label.end()
        if label[3] == "}":
            if position != len(text):
                raise ValueError("text behind the labels")
            break
    return labels


def _unescaped(value: str) -> str:
    """Undo the three escapes; a backslash before anything else stays."""
    if "\\" not in value:
        return value
    return _ESCAPED.sub(lambda found: _UNESCAPED.get(found[1], found[0]), value)


def _size(text: str, labels: Mapping[str, str]) -> int:
    """Return about how many bytes an entry of the cache holds."""
    return 400 + 2 * len(text) + 160 * len(labels)
