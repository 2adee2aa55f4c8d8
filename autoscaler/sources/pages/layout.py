"""Where the needed lines of a page are: the same from one reading to the next.

A page has some six hundred lines, a hundred of them are needed, and from one reading to the next their
values change and nothing else. So of a page that comes again it is remembered which lines are needed, and
what stands before their values. It is used only where every line begins as it did: each needed one with
all that was before its value, each other one with a name that is not needed. Then the page says what
parsing it would say; any other is parsed.

- A *shape* is which lines are needed, by the names that lines begin with. The pages of a release share it.
- A *text* is what stands before the values of these. The pages of a model share it.

That another line is not needed is told by its first byte and by a few of its name in which it differs from
every name that is needed: they are looked at on all lines together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from autoscaler.kube.samples import HistogramSample
from autoscaler.sources.pages.buckets import Bucket, HistogramRows, histogram_rows
from autoscaler.sources.pages.rows import (
    LabelledHistogram,
    PlacedHistogram,
    PlacedRow,
    SeriesRow,
)

K = TypeVar("K")
V = TypeVar("V")
_PAGE_BYTES_MAX = 128 * 2**10
_LINES_MAX = 4_096
"""Longer pages are parsed each time."""
_SHAPES_MAX = 16
_TEXTS_MAX = 1_024
"""A hundred lines take some 20 kB: 20 MB of a thousand models."""
_KEPT_MAX = 8
"""What is kept with one text: one for each set of model names that its pages are read for."""
_WORD_BYTES = 8
_NAME_BYTES_MAX = 256
_NAMES_MAX = 1_024
"""On one page, of comments too, all of them new: ten milliseconds of work. vLLM has two hundred."""
_PADDING_BYTES = _NAME_BYTES_MAX + 2 * _WORD_BYTES
"""A word of the last line, though it be an empty one now, lies within it."""
_NAME = re.compile(rb"[a-zA-Z0-9_:]+(?=[{ ])")
_NUMBER_CHARACTERS = b"0123456789.eE+-\n"
_NUMBER_BYTES_MAX = 64

Parse = Callable[[str, bytes], SeriesRow | Bucket]
"""Parse a needed line, given the name of its series; raises SourceError."""


class _Word(NamedTuple):
    """Some bytes of a name that is not needed."""

    offset: int
    """From the beginning of its line."""
    text: bytes
    """At most _WORD_BYTES, what ends the name among them."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Which lines are needed."""

    firsts: bytes
    """The first byte of each line; of an empty one, its end."""
    lines: NDArray[np.int64]
    """Numbers of the lines of which words are looked at, those that are not needed; a line may be there twice."""
    offsets: NDArray[np.int64]
    """Of each word, from the end of the line before."""
    masks: NDArray[np.uint64]
    """Which of its bytes count."""
    words: bytes
    """These."""
    needed: NDArray[np.int64]
    """Numbers of the lines."""
    after: NDArray[np.int64]
    """Of the lines behind them."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What stands before the values."""

    heads: Sequence[bytes]
    """Of each needed line."""
    lengths: NDArray[np.int64]
    """Of these."""
    by_name: Mapping[str, Sequence[PlacedRow]]
    """Each with its place among the needed lines."""
    histograms_by_name: Mapping[str, Sequence[PlacedHistogram]]
    groups: Sequence[HistogramRows]
    """Of each histogram, with its places among the needed lines."""
    kept: dict[Hashable, Any] = field(default_factory=dict)
    """What others have found on it."""

    def rows(self, name: str) -> list[PlacedRow]:
        """Return the rows of `name`."""
        return list(self.by_name.get(name, ()))

    def histograms(self, name: str) -> list[PlacedHistogram]:
        """Return the histograms of `name`."""
        return list(self.histograms_by_name.get(name, ()))


class KnownPage:
    """What a page says that is laid out as one before."""

    def __init__(self, text: _Text, numbers: Sequence[float]) -> None:
        self.places = text
        self.numbers = numbers
        """The value of each needed line."""

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of `name`, which must be one of those that the page was read for."""
        numbers = self.numbers
        return [
            SeriesRow(labels=labels, value=numbers[place])
            for labels, place in self.places.rows(name)
        ]

    def histograms(self, name: str) -> list[LabelledHistogram]:
        """Return the histograms of `name`, which must be one that the page was read for."""
        return [
            LabelledHistogram(labels, self.histogram(place))
            for labels, place in self.places.histograms(name)
        ]

    def histogram(self, place: int) -> HistogramSample | None:
        """Return the histogram of this place."""
        return self.places.groups[place].read(self.numbers)

    def kept(self, key: Hashable) -> Any:
        """Return what was kept with this page's layout; None: nothing."""
        return self.places.kept.get(key)

    def keep(self, key: Hashable, found: object) -> None:
        """Keep what follows from this page's names and labels alone."""
        _put(self.places.kept, key, found, most=_KEPT_MAX)


class LayoutCache:
    """Shapes and texts of pages that are read for the same names."""

    def __init__(self, names: Mapping[bytes, str]) -> None:
        """Begin with none; `names` are all that are needed, as they are written."""
        self._names = names
        self._numbers = [_as_number(name) for name in names]
        self._shapes: dict[int, _Shape] = {}
        """By number of lines."""
        self._texts: dict[tuple[int, bytes], _Text | None] = {}
        """By number of lines, and what stands before the first needed value; None: it was seen once."""
        self._words_of: dict[bytes, Sequence[_Word]] = {}
        """By the name of a line that is not needed, with what ends it."""

    def read(self, body: bytes) -> KnownPage | None:
        """Read a page that is laid out as one that was learnt; None: it has to be parsed."""
        if not self._shapes or len(body) > _PAGE_BYTES_MAX or not body.endswith(b"\n"):
            return None
        # As if a line ended before the first; behind the last, what words reach into.
        padded = b"\n%b%b" % (body, bytes(_PADDING_BYTES))
        characters = np.frombuffer(padded, np.uint8)
        ends = np.flatnonzero(characters == ord("\n"))
        shape = self._shapes.get(len(ends) - 1)
        if shape is None or not _has_shape(padded, characters, ends, shape):
            return None
        begins = ends[shape.needed] + 1
        stops = ends[shape.after]
        begins_of, stops_of = begins.tolist(), stops.tolist()
        first = _head(padded[begins_of[0] : stops_of[0]])
        text = self._texts.get((len(shape.firsts), first))
        if (
            text is None
            or len(text.heads) != len(begins)
            or not all(map(padded.startswith, text.heads, begins_of))
        ):
            return None
        starts = begins + text.lengths
        if (stops - starts).max() > _NUMBER_BYTES_MAX:
            return None
        numbers = _numbers(
            [padded[start:stop] for start, stop in zip(starts.tolist(), stops_of, strict=True)]
        )
        return None if numbers is None else KnownPage(text, numbers)

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
        shape = self._shape(lines, names, needed)
        if shape is None or not _are_plain(found, heads, values):
            return
        _put(self._shapes, len(lines), shape, most=_SHAPES_MAX)
        _put(self._texts, key, _text(found, heads), most=_TEXTS_MAX)

    def _shape(
        self, lines: Sequence[bytes], names: Sequence[bytes], needed: Sequence[int]
    ) -> _Shape | None:
        """Take the shape of a page; None: one of its lines begins as no exporter begins one."""
        if len(set(names)) > _NAMES_MAX:
            return None
        words: list[tuple[int, _Word]] = []
        for number, (line, name) in enumerate(zip(lines, names, strict=True)):
            if line[:1] in (b"#", b"") or name in self._names:
                continue
            found = self._words(line)
            if found is None:
                return None
            words += [(number, word) for word in found]
        texts = [word.text for _, word in words]
        ones = b"".join((b"\xff" * len(text)).ljust(_WORD_BYTES, b"\0") for text in texts)
        return _Shape(
            firsts=bytes((line or b"\n")[0] for line in lines),
            lines=np.array([number for number, _ in words], np.int64),
            offsets=np.array([1 + word.offset for _, word in words], np.int64),
            masks=np.frombuffer(ones, np.uint64),
            words=b"".join(text.ljust(_WORD_BYTES, b"\0") for text in texts),
            needed=np.array(needed, np.int64),
            after=np.array(needed, np.int64) + 1,
        )

    def _words(self, line: bytes) -> Sequence[_Word] | None:
        """Return words by which a line is told from every needed one; None: it begins with no name."""
        match = _NAME.match(line)
        if match is None or match.end() >= _NAME_BYTES_MAX:
            return None
        name = line[: match.end() + 1]
        if name not in self._words_of:
            _put(self._words_of, name, _telling_words(name, self._numbers), most=_TEXTS_MAX)
        return self._words_of[name]


def _telling_words(name: bytes, others: Iterable[int]) -> list[_Word]:
    """Return words of a name, with what ends it: no line of another has these and the same first byte.

    >>> _telling_words(b"vllm:lora_info{", map(_as_number, [b"vllm:num_requests", b"vllm:lora"]))
    [_Word(offset=5, text=b'lora_inf')]
    """
    own = _as_number(name)
    differences = {_NAME_BYTES_MAX - ((own ^ other).bit_length() + 7) // 8 for other in others}
    words: list[_Word] = []
    covered = 1  # the first byte is looked at on every line
    for place in sorted(differences):
        if place >= covered:
            words.append(_Word(place, name[place : place + _WORD_BYTES]))
            covered = place + _WORD_BYTES
    return words


def _as_number(name: bytes) -> int:
    """Return a name as one number, so that where two of them differ first is seen at once."""
    return int.from_bytes(name.ljust(_NAME_BYTES_MAX, b"\0"))


def _has_shape(
    padded: bytes, characters: NDArray[np.uint8], ends: NDArray[np.int64], shape: _Shape
) -> bool:
    """Tell whether the same lines are needed, and no others."""
    if characters[ends[:-1] + 1].tobytes() != shape.firsts:
        return False
    words = _words(padded, ends[shape.lines] + shape.offsets)
    return bool((words & shape.masks).tobytes() == shape.words)


def _words(padded: bytes, starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the bytes that begin at each of these, as words."""
    every: NDArray[np.uint64] = np.ndarray(
        (len(padded) - _WORD_BYTES + 1,), np.uint64, padded, offset=0, strides=(1,)
    )
    words: NDArray[np.uint64] = every[starts]
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
    if numbers is None or max(map(len, values)) > _NUMBER_BYTES_MAX:
        return False
    for (_, parsed), head, value in zip(found, heads, numbers, strict=True):
        known = parsed.value if isinstance(parsed, SeriesRow) else parsed.observed
        dated = isinstance(parsed, SeriesRow) and parsed.at is not None
        labelled = head.endswith(b"} ") if b"{" in head else head.count(b" ") == 1
        if dated or not labelled or b" # " in head or known != value:
            return False
    return True


def _text(found: Sequence[tuple[str, SeriesRow | Bucket]], heads: Sequence[bytes]) -> _Text:
    rows: dict[str, list[PlacedRow]] = {}
    buckets: dict[str, list[tuple[int, Bucket]]] = {}
    for place, (name, parsed) in enumerate(found):
        if isinstance(parsed, SeriesRow):
            rows.setdefault(name, []).append(PlacedRow(parsed.labels, place))
        else:
            buckets.setdefault(name.removesuffix("_bucket"), []).append((place, parsed))
    histograms: dict[str, list[PlacedHistogram]] = {}
    groups: list[HistogramRows] = []
    for name, placed in buckets.items():
        for group in histogram_rows([bucket for _, bucket in placed]):
            places = tuple(placed[row][0] for row in group.places)
            histograms.setdefault(name, []).append(PlacedHistogram(group.labels, len(groups)))
            groups.append(group._replace(places=places))
    return _Text(
        heads=heads,
        lengths=np.array([len(head) for head in heads], np.int64),
        by_name=rows,
        histograms_by_name=histograms,
        groups=groups,
    )


def _put(kept: dict[K, V], key: K, value: V, *, most: int) -> None:
    """Remember one more, and forget the oldest where there are too many."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]
