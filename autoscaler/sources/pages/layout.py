"""Where the needed lines of a page are: the same from one reading to the next.

A page has some six hundred lines, a hundred of them are needed, and from one reading to the next their
values change and nothing else. So of a page that comes again it is remembered which lines are needed, and
what stands before their values. It is used only where every line begins as it did: each needed one with
all that was before its value, each other one with a name that is not needed. Then the page says what
parsing it would say; any other is parsed.

- A *shape* is which lines are needed, by the names that lines begin with. The pages of a release share it.
- A *text* is what stands before the values of these. The pages of a model share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from autoscaler.sources.pages.buckets import Bucket, HistogramRows, histogram_rows
from autoscaler.sources.pages.rows import LabelledHistogram, SeriesRow

K = TypeVar("K")
V = TypeVar("V")
_PAGE_BYTES_MAX = 128 * 2**10
_LINES_MAX = 4_096
"""Longer pages are parsed each time."""
_SHAPES_MAX = 16
_TEXTS_MAX = 1_024
"""A hundred lines take some 20 kB: 20 MB of a thousand models."""
_HEAD_BYTES = 32
"""Of each line, that are looked at together, as words of eight."""
_OFFSETS = np.arange(0, _HEAD_BYTES, 8)[:, None]
_NUMBER_CHARACTERS = b"0123456789.eE+-\n"
_NUMBER_BYTES_MAX = 64

Parse = Callable[[str, bytes], SeriesRow | Bucket]
"""Parse a needed line, given the name of its series; raises SourceError."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Which lines are needed."""

    masks: NDArray[np.uint64]
    """[word, line]: which of its first bytes are a name's, and the one that ends it."""
    words: NDArray[np.uint64]
    """These."""
    names: Sequence[tuple[int, bytes]]
    """Lines that are not needed and whose first bytes are those of some that are: their whole names."""
    needed: Sequence[int]
    """Numbers of the lines."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What stands before the values."""

    heads: Sequence[bytes]
    """Of each needed line."""
    rows: Mapping[str, Sequence[tuple[int, SeriesRow]]]
    """By name; each with its place among the needed lines."""
    histograms: Mapping[str, tuple[Sequence[int], Sequence[HistogramRows]]]
    """By name: the places of its rows among the needed lines, and which of them are one histogram."""


class Reading(NamedTuple):
    """What a page says."""

    rows: Mapping[str, list[SeriesRow]]
    histograms: Mapping[str, list[LabelledHistogram]]


class LayoutCache:
    """Shapes and texts of pages that are read for the same names."""

    def __init__(self, names: Mapping[bytes, str]) -> None:
        """Begin with none; `names` are all that are needed, as they are written."""
        self._names = names
        self._beginnings = frozenset(name[:_HEAD_BYTES] for name in names)
        self._shapes: dict[int, _Shape] = {}
        """By number of lines."""
        self._texts: dict[tuple[int, bytes], _Text | None] = {}
        """By number of lines, and what stands before the first needed value; None: it was seen once."""

    def read(self, body: bytes) -> Reading | None:
        """Read a page that is laid out as one that was learnt; None: it has to be parsed."""
        if not self._shapes or len(body) > _PAGE_BYTES_MAX or not body.endswith(b"\n"):
            return None
        padded = body + bytes(_HEAD_BYTES)
        ends = np.flatnonzero(np.frombuffer(padded, np.uint8) == ord("\n"))
        shape = self._shapes.get(len(ends))
        if shape is None:
            return None
        starts = np.concatenate(([0], ends[:-1] + 1))
        if not ((_words(padded, starts) & shape.masks) == shape.words).all():
            return None
        begins = [*starts.tolist(), len(body)]
        if not all(body.startswith(name, begins[number]) for number, name in shape.names):
            return None
        first = shape.needed[0]
        text = self._texts.get((len(ends), _head(body[begins[first] : begins[first + 1] - 1])))
        if text is None or len(text.heads) != len(shape.needed):
            return None
        values: list[bytes] = []
        for number, head in zip(shape.needed, text.heads, strict=True):
            begin = begins[number]
            if not body.startswith(head, begin):
                return None
            values.append(body[begin + len(head) : begins[number + 1] - 1])
        numbers = _numbers(values)
        return None if numbers is None else _reading(text, numbers)

    def learn(self, body: bytes, parse: Parse) -> None:
        """Remember how a page is laid out that was parsed and comes for the second time.

        Args:
            body: It.
            parse: Of its lines, which parsed before.
        """
        if len(body) > _PAGE_BYTES_MAX or not body.endswith(b"\n"):
            return
        lines = body.split(b"\n")[:-1]
        if len(lines) > _LINES_MAX:
            return
        names = [_name(line) for line in lines]
        needed = [number for number, name in enumerate(names) if name in self._names]
        if not needed:
            return
        heads = [_head(lines[number]) for number in needed]
        key = len(lines), heads[0]
        if key not in self._texts:
            _put(self._texts, key, None, most=_TEXTS_MAX)
            return
        found = [
            (self._names[names[number]], parse(self._names[names[number]], lines[number]))
            for number in needed
        ]
        values = [lines[number][len(head) :] for number, head in zip(needed, heads, strict=True)]
        shape = self._shape(body, lines, names, needed)
        if shape is None or not _are_plain(found, heads, values):
            return
        _put(self._shapes, len(lines), shape, most=_SHAPES_MAX)
        _put(self._texts, key, _text(found, heads), most=_TEXTS_MAX)

    def _shape(
        self,
        body: bytes,
        lines: Sequence[bytes],
        names: Sequence[bytes],
        needed: Sequence[int],
    ) -> _Shape | None:
        """Take the shape of a page; None: one of its lines begins as no exporter begins one."""
        masks = np.zeros((len(lines), _HEAD_BYTES), np.uint8)
        whole: list[tuple[int, bytes]] = []
        for number, (line, name) in enumerate(zip(lines, names, strict=True)):
            if line[:1] in (b" ", b"\t", b"\r"):
                return None  # a name may follow
            if line[:1] in (b"#", b""):
                masks[number, :1] = 0xFF
                continue
            masks[number, : len(name) + 1] = 0xFF
            cut = len(name) >= _HEAD_BYTES
            if cut and name[:_HEAD_BYTES] in self._beginnings and name not in self._names:
                whole.append((number, f"{line.decode()}\n".encode()[: len(name) + 1]))
        padded = body + bytes(_HEAD_BYTES)
        lengths = np.array([len(line) + 1 for line in lines])
        starts = np.cumsum(lengths) - lengths
        words_of = np.ascontiguousarray(masks.view(np.uint64).T)
        return _Shape(words_of, _words(padded, starts) & words_of, whole, needed)


def _words(padded: bytes, starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the first bytes of each line as words: [word, line]."""
    every: NDArray[np.uint64] = np.ndarray(
        (len(padded) - 7,), np.uint64, padded, offset=0, strides=(1,)
    )
    words: NDArray[np.uint64] = every[starts + _OFFSETS]
    return words


def _name(line: bytes) -> bytes:
    """Return the name that a line begins with; of a comment, or of none, what is no name."""
    head = line.partition(b"{")[0]
    if b" " not in head and b"\t" not in head:
        return head
    words = head.split(None, 1)
    return words[0] if words else b""  # a line of blanks


def _head(line: bytes) -> bytes:
    """Return what stands before a line's value."""
    return line[: line.rfind(b" ") + 1]


def _numbers(values: Sequence[bytes]) -> list[float] | None:
    """Read numbers as `sample_line` does; None: one is not written in digits."""
    if b"\n".join(values).translate(None, _NUMBER_CHARACTERS):
        return None
    if max(map(len, values)) > _NUMBER_BYTES_MAX:
        return None
    try:
        return list(map(float, values))
    except ValueError:
        return None


def _are_plain(
    found: Sequence[tuple[str, SeriesRow | Bucket]],
    heads: Sequence[bytes],
    values: Sequence[bytes],
) -> bool:
    """Tell whether each line is labels and a number: no time and no exemplar behind it."""
    numbers = _numbers(values)
    if numbers is None:
        return False
    for (_, parsed), head, value in zip(found, heads, numbers, strict=True):
        known = parsed.value if isinstance(parsed, SeriesRow) else parsed.observed
        dated = isinstance(parsed, SeriesRow) and parsed.at is not None
        labelled = head.endswith(b"} ") if b"{" in head else head.count(b" ") == 1
        if dated or not labelled or b" # " in head or known != value:
            return False
    return True


def _text(found: Sequence[tuple[str, SeriesRow | Bucket]], heads: Sequence[bytes]) -> _Text:
    rows: dict[str, list[tuple[int, SeriesRow]]] = {}
    buckets: dict[str, list[tuple[int, Bucket]]] = {}
    for place, (name, parsed) in enumerate(found):
        if isinstance(parsed, SeriesRow):
            rows.setdefault(name, []).append((place, parsed))
        else:
            buckets.setdefault(name.removesuffix("_bucket"), []).append((place, parsed))
    histograms = {
        name: (
            [place for place, _ in placed],
            histogram_rows([bucket for _, bucket in placed]),
        )
        for name, placed in buckets.items()
    }
    return _Text(heads, rows, histograms)


def _reading(text: _Text, numbers: Sequence[float]) -> Reading:
    rows = {
        name: [SeriesRow(labels=row.labels, value=numbers[place]) for place, row in placed]
        for name, placed in text.rows.items()
    }
    histograms = {}
    for name, (places, groups) in text.histograms.items():
        observed = [numbers[place] for place in places]
        histograms[name] = [group.read(observed) for group in groups]
    return Reading(rows, histograms)


def _put(kept: dict[K, V], key: K, value: V, *, most: int) -> None:
    """Remember one more, and forget the oldest where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
