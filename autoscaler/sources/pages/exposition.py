"""A metrics page in the Prometheus text format, of which a few series are needed.

A vLLM page has 600 lines and a dozen are needed: those are picked out first, and only they are parsed
(0.4 ms instead of 9 ms a page). Whatever else is there, a byte of it has the same small price.

A page that is no metrics page is a `SourceError` that says what came instead: a proxy's HTML with
status 200 must never look like an engine without demand.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from prometheus_client.parser import text_string_to_metric_families

from autoscaler.errors import SourceError
from autoscaler.foreign_text import quoted
from autoscaler.sources.pages.buckets import Bucket, bucket_of, histograms_of, read_bucket
from autoscaler.sources.pages.layout import KnownPage, LayoutCache
from autoscaler.sources.pages.limits import (
    BEGINNING_BYTES,
    BUCKETS_MAX,
    LINE_BYTES_MAX,
    PAGE_LABELS_MAX,
    ROWS_MAX,
    STEP_BYTES,
    STEP_ROWS,
)
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import LabelledHistogram, Rows, SeriesRow
from autoscaler.sources.pages.sample_line import parse_line
from autoscaler.sources.pages.turns import Steps, at_once

_SHOWN_CHARACTERS = 80
"""Of a foreign body, in an error's message."""
_BEGINNING_LENGTH = 8
_BLANKS = frozenset({b" ", b"\t", b"\r"})
"""White space before a name, which the format allows."""
_HEAD_BYTES = 256
"""Of a line, in which its name ends."""
_LINES_MIN = 4_096
_LINE_BYTES_MEAN_MIN = 16
"""Lines have 80 bytes on the average, and HELP texts more."""
_SOUND_BYTES = 128 * 2**10
"""Up to here a page is searched in one go: it is as long as sound ones are."""


class ScrapedPage:
    """The needed rows of one metrics page."""

    def __init__(
        self,
        by_name: Mapping[str, list[SeriesRow]],
        histograms: Mapping[str, list[LabelledHistogram]] = MappingProxyType({}),
    ) -> None:
        self._by_name = by_name
        self._histograms = histograms

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of `name`, which must be one of those that the page was read for."""
        return list(self._by_name.get(name, ()))

    def histograms(self, name: str) -> list[LabelledHistogram]:
        """Return the histograms of `name`, which must be one that the page was read for."""
        return list(self._histograms.get(name, ()))


def read_page(body: bytes, names: Collection[str], histograms: Collection[str] = ()) -> Rows:
    """Read a page at once; see `page_steps`."""
    return at_once(page_steps(body, names, histograms))


def page_steps(
    body: bytes, names: Collection[str], histograms: Collection[str] = ()
) -> Steps[ScrapedPage | KnownPage]:
    """Read the named series of a page, step by step.

    Args:
        body: The page as it came.
        names: Names of series as they are written on the page (`..._total`, `..._sum`): exact, and case
            matters.
        histograms: Names of histograms whose buckets are read too, without `_bucket`. A page with more
            than BUCKETS_MAX of them is read as one that has none.

    Raises:
        SourceError: The body is empty, HTML, JSON or otherwise no metrics page; a needed line does not
            parse; or there is more of it than such a page has.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    needed = _needed(tuple(names), tuple(histograms))
    known = needed.layouts.read(body)
    if known is not None:
        return known
    _expect_lines(body)
    by_name: dict[str, list[SeriesRow]] = {}
    buckets: dict[str, list[Bucket]] = {}
    rows = labels = unpaused_bytes = unpaused_rows = bucket_rows = 0
    begin = 0
    while begin < len(body):
        end = _end_of_block(body, begin)
        for name, line in _lines_of(body[begin:end], needed):
            last = end == len(body) and body.endswith(line)
            if name in needed.histograms:
                bucket_rows += 1
                if bucket_rows <= BUCKETS_MAX:
                    buckets.setdefault(needed.histograms[name], []).append(
                        read_bucket(line) or bucket_of(_row(line, last=last))
                    )
            else:
                row = _row(line, last=last)
                by_name.setdefault(name, []).append(row)
                rows, labels = rows + 1, labels + len(row.labels)
            if rows > ROWS_MAX or labels > PAGE_LABELS_MAX:
                message = (
                    f"the page has more than {ROWS_MAX} rows, or {PAGE_LABELS_MAX} labels, of the "
                    "series that are read"
                )
                raise SourceError(message, outcome=ReadOutcome.TOO_LARGE)
            unpaused_bytes, unpaused_rows = unpaused_bytes + len(line), unpaused_rows + 1
            if unpaused_bytes > STEP_BYTES or unpaused_rows >= STEP_ROWS:
                unpaused_bytes = unpaused_rows = 0
                yield
        begin = end
        if begin > _SOUND_BYTES:
            yield
    if not by_name:
        _expect_metrics(body)
    if bucket_rows > BUCKETS_MAX:
        buckets.clear()
    else:
        yield
        needed.layouts.learn(body, needed.parse)
    histograms = {name: histograms_of(rows_of) for name, rows_of in buckets.items()}
    return ScrapedPage(by_name, histograms)


@dataclass(frozen=True, slots=True)
class _Needed:
    """What is looked for on a page."""

    names: Mapping[bytes, str]
    histograms: Mapping[str, str]
    """By the name of their buckets."""
    beginnings: frozenset[bytes]
    """Of the names, by which most lines are told from needed ones, each of `length`."""
    length: int
    layouts: LayoutCache

    def parse(self, name: str, line: bytes) -> SeriesRow | Bucket:
        """Parse a needed line."""
        if name in self.histograms:
            return read_bucket(line) or bucket_of(_row(line, last=False))
        return _row(line, last=False)


@lru_cache(maxsize=64)
def _needed(names: tuple[str, ...], histograms: tuple[str, ...]) -> _Needed:
    """Cached, as all pages of an engine are searched for the same."""
    of_buckets = {f"{name}_bucket": name for name in histograms}
    found = {name.encode(): name for name in (*names, *of_buckets)}
    length = min(_BEGINNING_LENGTH, *map(len, found))
    beginnings = frozenset(name[:length] for name in found)
    return _Needed(found, of_buckets, beginnings, length, LayoutCache(found))


def _expect_lines(body: bytes) -> None:
    """Refuse a page of lines that are shorter than any."""
    lines_max = _LINES_MIN + len(body) // _LINE_BYTES_MEAN_MIN
    if body.count(b"\n") > lines_max:
        message = f"the page has more than {lines_max} lines, more than a page of its length has"
        raise SourceError(message, outcome=ReadOutcome.TOO_LARGE)


def _end_of_block(body: bytes, begin: int) -> int:
    """Return where the lines end that are looked at together; a line is never parted."""
    end = body.rfind(b"\n", begin, begin + STEP_BYTES) + 1
    if end <= begin:
        end = body.find(b"\n", begin + STEP_BYTES) + 1
    return end if end > begin else len(body)


def _lines_of(block: bytes, needed: _Needed) -> Iterator[tuple[str, bytes]]:
    """Find the needed lines: (name, line)."""
    names, beginnings, length = needed.names, needed.beginnings, needed.length
    for line in block.split(b"\n"):
        if line[:length] not in beginnings and line[:1] not in _BLANKS:
            continue
        head, brace, _ = line[:_HEAD_BYTES].partition(b"{")
        if head not in names:
            if brace and line[:1] not in _BLANKS and head[-1:] not in _BLANKS:
                continue  # nearly all of them: a longer name
            found = head.split(None, 1)
            head = found[0] if found else b""
            if head not in names:
                continue
        if len(line) > LINE_BYTES_MAX:
            message = f"a line of {names[head]} has more than {LINE_BYTES_MAX} bytes"
            raise SourceError(message, outcome=ReadOutcome.TOO_LARGE)
        yield names[head], line


def _row(line: bytes, *, last: bool) -> SeriesRow:
    """Parse one line.

    A page may lack its last newline, but then its last line must be whole: what remains of
    `...{engine="0",mod` is a page that was cut, not a page without the signal.
    """
    try:
        labels, value, at = parse_line(line.decode())
    except UnicodeDecodeError as error:
        message = f"the page is not UTF-8: {quoted(line, limit=_SHOWN_CHARACTERS)}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error
    except ValueError as error:
        shown = quoted(line, limit=_SHOWN_CHARACTERS)
        if last:
            message = f"the page stops in the middle of a line: {shown}"
            raise SourceError(message, outcome=ReadOutcome.TRUNCATED) from error
        message = f"a line does not parse: {shown}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error
    return SeriesRow(labels=labels, value=value, at=at)


def _expect_metrics(body: bytes) -> None:
    """Refuse a body without a needed line that is no metrics page at all, judged by its beginning."""
    beginning = body[:BEGINNING_BYTES]
    shown = quoted(beginning, limit=_SHOWN_CHARACTERS)
    try:
        # Not to its end: a cut there may go through a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError as error:
        message = f"the page is not UTF-8: {shown}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error
    if not text.strip():
        raise SourceError("the page is empty", outcome=ReadOutcome.NO_SIGNAL)
    if text.lstrip().startswith("<"):
        title = _title_of(text)
        titled = f" titled {quoted(title, limit=_SHOWN_CHARACTERS)}" if title else ""
        message = f"HTML{titled} came instead of metrics: {shown}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS)
    if len(body) > BEGINNING_BYTES:
        text = text[: text.rfind("\n") + 1]
    try:
        families = sum(1 for _ in text_string_to_metric_families(text))
    except Exception as error:  # a foreign parser on foreign text: whatever it raises is that
        message = f"no metrics page came: {shown}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error
    if not families and not text.lstrip().startswith("#"):
        message = f"no metrics page came: {shown}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS)


def _title_of(text: str) -> str:
    """Return what stands between the first pair of title tags; no expression that could go back."""
    lower = text.lower()
    begin = lower.find("<title")
    begin = lower.find(">", begin) + 1 if begin >= 0 else 0
    end = lower.find("</title", begin) if begin else -1
    return text[begin:end].strip() if end >= 0 else ""
