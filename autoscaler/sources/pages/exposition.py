"""A metrics page in the Prometheus text format, of which a few series are needed.

A vLLM page has 600 lines and a dozen are needed: those are picked out first and only they
go through prometheus_client's parser (0.2 ms instead of 9 ms a page). Its judgement of escapes,
exponents, NaN and timestamps is kept, and a test compares the two on every captured page.

A page that is no metrics page is a `SourceError` that says what came instead: a proxy's HTML with
status 200 must never look like an engine without demand.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Protocol

from prometheus_client.parser import text_string_to_metric_families

from autoscaler.errors import SourceError
from autoscaler.sources.pages.outcome import ReadOutcome

_SHOWN_CHARACTERS = 80
"""Of a foreign body, in an error's message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One line of a page, or one series of a query's answer."""

    labels: Mapping[str, str]
    value: float
    """As it is written: NaN and infinities too."""
    at: float | None = None
    """The row's own time in seconds; None: none was given, the time of the read holds."""


class Rows(Protocol):
    """Rows by the name of their series: a page, or what Prometheus answered for one pod."""

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of exactly this name, in their order; none is an empty list."""
        ...


class ScrapedPage:
    """One metrics page, parsed only where it is asked."""

    def __init__(self, lines: Mapping[str, list[str]]) -> None:
        self._lines = lines

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of `name`, which must be one of those that the page was read for."""
        return [_parse(line) for line in self._lines.get(name, ())]


def read_page(body: bytes, names: Collection[str]) -> ScrapedPage:
    """Pick the lines of the named series out of a page.

    Args:
        body: The page as it came.
        names: Names of series as they are written on the page (`..._total`, `..._sum`): exact, and case
            matters.

    Raises:
        SourceError: The body is empty, HTML, JSON or otherwise no metrics page.
    """
    series = _names_as_bytes(frozenset(names))
    lines: dict[str, list[str]] = {}
    try:
        for line in body.split(b"\n"):
            head, brace, _ = line.partition(b"{")
            if head not in series:
                head = (
                    head.strip() if brace else head.strip().partition(b" ")[0].partition(b"\t")[0]
                )
                if head not in series:
                    continue
            lines.setdefault(series[head], []).append(line.decode())
        if not lines:
            _expect_metrics(body)
    except UnicodeDecodeError as error:
        message = f"the page is not UTF-8: {_beginning_of(body)}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error
    _expect_whole_line(body, lines)
    return ScrapedPage(lines)


@lru_cache(maxsize=64)
def _names_as_bytes(names: frozenset[str]) -> Mapping[bytes, str]:
    """The names as bytes, to be found on a page; cached, as all pages of an engine ask for the same."""
    return {name.encode(): name for name in names}


def _parse(line: str) -> SeriesRow:
    """Parse one line; without a TYPE line before it, its name stays as it is.

    Series change their values and keep their labels, and the pods of a Deployment share them: what
    stands before the value is parsed once and remembered. A line in which that end is not evident (a
    brace in a label's value) is parsed whole.
    """
    labels: Mapping[str, str]
    end = line.find("}") + 1
    try:
        if end == 0 or line.find("}", end) >= 0:
            labels, value, timestamp = _parse_sample(line)
        else:
            labels = _parse_labels(line[:end])
            _, value, timestamp = _parse_sample("x " + line[end:])
    except ValueError as error:
        message = f"a line does not parse: {line[:_SHOWN_CHARACTERS]!r}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error
    return SeriesRow(labels=labels, value=value, at=timestamp)


@lru_cache(maxsize=4096)
def _parse_labels(name_and_labels: str) -> Mapping[str, str]:
    """Parse the name and the labels before a value."""
    return MappingProxyType(_parse_sample(name_and_labels + " 0")[0])


def _parse_sample(line: str) -> tuple[dict[str, str], float, float | None]:
    """Let prometheus_client's parser judge one line: its labels, value and time stamp."""
    (family,) = text_string_to_metric_families(line)
    (sample,) = family.samples
    at = sample.timestamp
    return sample.labels, float(sample.value), None if at is None else float(at)


def _expect_whole_line(body: bytes, lines: Mapping[str, list[str]]) -> None:
    """Refuse a page whose last line is needed and stops in the middle.

    A page may lack its last newline, but then the line before it must be whole: what remains of
    `...{engine="0",mod` is a page that was cut, not a page without the signal.
    """
    if body.endswith(b"\n"):
        return
    last = body[body.rfind(b"\n") + 1 :].decode(errors="replace")
    for found in lines.values():
        if found[-1] == last:
            try:
                _parse(last)
            except SourceError as error:
                message = f"the page stops in the middle of a line: {last[-_SHOWN_CHARACTERS:]!r}"
                raise SourceError(message, outcome=ReadOutcome.TRUNCATED) from error


def _expect_metrics(body: bytes) -> None:
    """Refuse a body without a needed line that is no metrics page at all."""
    text = body.decode()
    if not text.strip():
        raise SourceError("the page is empty", outcome=ReadOutcome.NO_SIGNAL)
    if text.lstrip().startswith("<"):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        titled = f" titled {title[1].strip()!r}" if title else ""
        message = f"HTML{titled} came instead of metrics: {_beginning_of(body)}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS)
    try:
        for _family in text_string_to_metric_families(text):
            pass
    except ValueError as error:
        message = f"no metrics page came: {_beginning_of(body)}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error


def _beginning_of(body: bytes) -> str:
    """Quote the beginning of a body."""
    return repr(
        " ".join(body[: 4 * _SHOWN_CHARACTERS].decode(errors="replace").split())[:_SHOWN_CHARACTERS]
    )
