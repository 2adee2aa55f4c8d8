"""What a Prometheus answers, read piece by piece: the newest sample of each series.

The body is JSON, and Python's parser would read all of it in one go. So the two objects around the
series are walked here, and each series is given to the parser by itself: no piece is longer than
SERIES_BYTES_MAX, however long the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoscaler.errors import SourceError
from autoscaler.foreign_text import quoted, shown
from autoscaler.sources.pages.buckets import bucket_of, histograms_of
from autoscaler.sources.pages.limits import (
    LABELS_MAX,
    SERIES_BYTES_MAX,
    SERIES_MAX,
    STEP_BYTES,
    STEP_ROWS,
)
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import LabelledHistogram, SeriesRow
from autoscaler.sources.pages.sample_line import number
from autoscaler.sources.pages.turns import Steps, at_once

_SHOWN_CHARACTERS = 120
_WARNINGS_MAX = 10
_KEYS_MAX = 100
_WHITE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
WRONG_FORM = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError),
    RecursionError,
)
"""What walking through something else raises; a UnicodeDecodeError is a ValueError."""


class QueryRefusedError(SourceError):
    """Prometheus answered that it does not take this query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query returned: the newest sample of each series, by the name of the series."""

    by_name: Mapping[str, list[SeriesRow]]
    warnings: tuple[str, ...] = ()
    """Warnings of Prometheus, such as that the answer is partial."""

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of `name`."""
        return self.by_name.get(name, [])

    def histograms(self, name: str) -> list[LabelledHistogram]:
        """Return the histograms of `name`."""
        return histograms_of([bucket_of(row) for row in self.rows(f"{name}_bucket")])


def read_answer(body: bytes) -> Answer:
    """Read an answer at once; see `answer_steps`."""
    return at_once(answer_steps(body))


def answer_steps(body: bytes) -> Steps[Answer]:
    """Read the body of a query's answer, step by step.

    Raises:
        SourceError: It reports an error, is not what Prometheus answers, or has more than that.
    """
    walk = Walk()
    try:
        text = body.decode()
        yield
        yield from walk.whole(text)
        return Answer(warnings=walk.warnings(), by_name=walk.by_name)
    except WRONG_FORM as error:
        raise no_answer(body) from error


def no_answer(body: bytes) -> SourceError:
    """Say that a body is none."""
    message = f"no answer of a Prometheus came: {quoted(body, limit=_SHOWN_CHARACTERS)}"
    return SourceError(message, outcome=ReadOutcome.NOT_METRICS)


@dataclass(slots=True)
class Walk:
    """Through one answer: what was found so far, and where it goes on. `_read_series` says what is kept."""

    found: dict[str, Any] = field(default_factory=dict)
    """The small values, by their name in either object."""
    by_name: dict[str, list[SeriesRow]] = field(default_factory=dict)
    series: int = 0
    keys: int = 0
    text: str = ""
    at: int = 0
    """Where it goes on, in `text`."""
    window: str = ""
    window_at: int = 0
    """Where the window begins in `text`."""

    def whole(self, text: str) -> Steps[None]:
        """Walk through the outer object."""
        self.text = text
        self._take("{")
        while not self._has("}"):
            key = self._key()
            if key == "data" and self._next() == "{":
                yield from self._data()
            else:
                self.found[key] = self._value()
                yield
            self._comma("}")
        if self._next():
            raise ValueError("more behind it")

    def warnings(self) -> tuple[str, ...]:
        """Return what Prometheus says beside the answer, if it is one.

        Raises:
            SourceError: It is an error, or of another type.
        """
        if self.found["status"] != "success":
            kind, said = shown(self.found["errorType"], limit=40), shown(self.found["error"])
            message = f"Prometheus refused the query: {kind}: {said}"
            raise QueryRefusedError(message, outcome=ReadOutcome.STATUS)
        if self.found["resultType"] != "matrix":
            message = f"a {shown(self.found['resultType'], limit=20)} came where raw samples were asked for"
            raise SourceError(message, outcome=ReadOutcome.NOT_METRICS)
        return tuple(
            shown(text)
            for key in ("warnings", "infos")
            for text in list(self.found.get(key) or ())[:_WARNINGS_MAX]
        )

    def _data(self) -> Steps[None]:
        self._take("{")
        while not self._has("}"):
            key = self._key()
            if key == "result" and self._next() == "[":
                self.found[key] = True
                yield from self._result()
            else:
                self.found[key] = self._value()
                yield
            self._comma("}")

    def _result(self) -> Steps[None]:
        """Walk through the series."""
        self._take("[")
        begun_at, rows = self.at, 0
        while not self._has("]"):
            self._read_series(self._value())
            rows += 1
            if rows >= STEP_ROWS or self.at - begun_at > STEP_BYTES:
                yield
                begun_at, rows = self.at, 0
            self._comma("]")

    def _read_series(self, series: Any) -> None:
        """Keep the newest sample of one series, of a matrix or (to be told by its type) a vector."""
        self.series += 1
        if self.series > SERIES_MAX:
            message = f"the answer has more than {SERIES_MAX} series"
            raise SourceError(message, outcome=ReadOutcome.TOO_LARGE)
        labels = dict(series["metric"])
        if len(labels) > LABELS_MAX or not all(isinstance(each, str) for each in labels.values()):
            raise ValueError("labels that are none")
        samples = series["values"] if "values" in series else [series["value"]]
        (at, value), before = samples[-1], samples[-2:-1]
        row = SeriesRow(
            labels=labels,
            value=number(value),
            at=float(at),
            before_at=float(before[0][0]) if before else None,
        )
        self.by_name.setdefault(labels.pop("__name__"), []).append(row)

    def _key(self) -> str:
        self.keys += 1
        if self.keys > _KEYS_MAX:
            raise ValueError("more keys than an answer has")
        key = self._value()
        self._take(":")
        if not isinstance(key, str):
            raise TypeError("a key that is no string")
        return key

    def _value(self) -> Any:
        """Parse one value, which may not be longer than a series may be.

        The parser is given a window of the text, cut out anew where the value does not end in it.
        """
        self._next()
        for last in (False, True):
            if last or not 0 <= self.at - self.window_at < len(self.window):
                self.window_at = self.at
                self.window = self.text[self.at : self.at + 2 * SERIES_BYTES_MAX]
            try:
                value, end = _DECODER.raw_decode(self.window, self.at - self.window_at)
            except ValueError:
                if last:
                    break
                continue
            if end < len(self.window) or self.window_at + end == len(self.text):
                self.at = self.window_at + end
                return value
        if len(self.text) - self.at > 2 * SERIES_BYTES_MAX:
            message = (
                f"a part of the answer is longer than {2 * SERIES_BYTES_MAX} bytes, or no JSON"
            )
            raise SourceError(message, outcome=ReadOutcome.TOO_LARGE)
        raise ValueError("no JSON")

    def _next(self) -> str:
        """Skip white space; return the next character, empty at the end."""
        found = _WHITE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + 1]

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise ValueError(f"no {character}")
        self.at += 1

    def _has(self, character: str) -> bool:
        """Take a character if it is next."""
        if self._next() != character:
            return False
        self.at += 1
        return True

    def _comma(self, end: str) -> None:
        """Take the comma between two, unless the end is next."""
        if self._next() != end:
            self._take(",")
