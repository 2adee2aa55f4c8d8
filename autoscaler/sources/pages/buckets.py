"""From bucket lines to histograms.

A page has some sixty bucket lines that are read, and five times as many that are not. The labels of a
histogram are the same on each of its lines but for `le`, so a line is cut around that, and what is
left of it is looked up.

A histogram decides nothing, so one that makes no sense is unknown, and the rest of its page holds.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from autoscaler.kube.samples import BOUNDS_MAX, HistogramSample
from autoscaler.sources.pages.limits import COUNTER_MAX
from autoscaler.sources.pages.rows import LabelledHistogram, SeriesRow
from autoscaler.sources.pages.sample_line import number, parse_line

_LE = b',le="', b'{le="'
_TEXTS = 4_096
"""Lines cut around their bound that are remembered: of a thousand models, four each."""
_TEXT_BYTES_MAX = 512
"""Longer ones are parsed anew each time, so that what is remembered is bounded in bytes."""


class Bucket(NamedTuple):
    """A row of `..._bucket`, with its bound apart from the other labels."""

    labels: frozenset[tuple[str, str]]
    bound: float
    """`le`: infinite for all; NaN: it is no number."""
    observed: float
    """Observations so far up to the bound, as it is written."""


def read_bucket(line: bytes) -> Bucket | None:
    """Read a bucket's line as exporters write it; None: it is written otherwise, and has to be parsed."""
    head, _, value = line.rpartition(b" ")
    if not value.replace(b".", b"", 1).isdigit() or len(line) > _TEXT_BYTES_MAX:
        return None
    # In a label's value the quote would be escaped. One that ends in `,le=` is cut there, and what
    # follows is then no number.
    before, le, rest = head.partition(_LE[0])
    if not le:
        before, le, rest = head.partition(_LE[1])
    bound, quote, after = rest.partition(b'"')
    upper = _bound_of(bound)
    if not quote or math.isnan(upper):
        return None
    labels = _labels_of(before, after)
    if labels is None:
        return None
    return Bucket(labels, upper, float(value))


def bucket_of(row: SeriesRow) -> Bucket:
    """Take a row of `..._bucket` apart."""
    labels = dict(row.labels)
    bound = _bound_of(labels.pop("le", "").encode())
    return Bucket(frozenset(labels.items()), bound, row.value)


@lru_cache(maxsize=_TEXTS)
def _bound_of(text: bytes) -> float:
    """Return what stands in `le`; NaN: no number."""
    try:
        return number(text.decode())
    except ValueError:  # no number, or no UTF-8
        return math.nan


@lru_cache(maxsize=_TEXTS)
def _labels_of(before: bytes, after: bytes) -> frozenset[tuple[str, str]] | None:
    """Return the labels around `le`; None: it does not look like a line with one."""
    name, brace, first = before.partition(b"{")
    more = after.removesuffix(b"}").removeprefix(b",")
    both = b",".join(part for part in (first, more) if part)
    if not after.endswith(b"}") or (after != b"}" and not after.startswith(b",")):
        return None
    try:
        labels, _, _ = parse_line(f"{name.decode()}{{{both.decode()}}} 0")
    except ValueError:
        return None
    return None if "le" in labels or (not brace and first) else frozenset(labels.items())


class HistogramRows(NamedTuple):
    """Which rows of a `..._bucket` are one histogram."""

    labels: frozenset[tuple[str, str]]
    bounds: tuple[float, ...]
    places: tuple[int, ...]
    """Of the rows, in order of their bounds, the infinite one last; empty: they are no histogram."""

    def read(self, observed: Sequence[float]) -> HistogramSample | None:
        """Read it from what the rows say; None: it makes no sense."""
        if not self.places:
            return None
        counts = _picked(self.places)(observed)
        sound = (
            counts[0] >= 0.0
            and counts[-1] <= COUNTER_MAX
            and all(map(operator.le, counts, counts[1:]))
        )
        return HistogramSample(bounds=self.bounds, counts=counts) if sound else None


@lru_cache(maxsize=_TEXTS)
def _picked(places: tuple[int, ...]) -> operator.itemgetter[tuple[float, ...]]:
    """Cached, as it takes longer to make than to use."""
    return operator.itemgetter(*places)


def histogram_rows(buckets: Iterable[Bucket]) -> list[HistogramRows]:
    """Put the rows of each histogram together, in the order of their first ones."""
    rows_of: dict[frozenset[tuple[str, str]], list[tuple[float, int]]] = {}
    for place, bucket in enumerate(buckets):
        rows_of.setdefault(bucket.labels, []).append((bucket.bound, place))
    return [_histogram(labels, rows) for labels, rows in rows_of.items()]


def _histogram(labels: frozenset[tuple[str, str]], rows: list[tuple[float, int]]) -> HistogramRows:
    """Order rows by their bounds, which must be those of a histogram, up to one that is infinite."""
    rows = sorted(rows)
    bounds = [bound for bound, _ in rows]
    sound = (
        2 <= len(bounds) <= BOUNDS_MAX + 1
        and bounds[-1] == math.inf
        and math.isfinite(math.fsum(bounds[:-1]))
        and all(bound < later for bound, later in itertools.pairwise(bounds))
    )
    places = tuple(place for _, place in rows) if sound else ()
    return HistogramRows(labels, tuple(bounds[:-1]), places)


def histograms_of(buckets: Sequence[Bucket]) -> list[LabelledHistogram]:
    """Read the histograms of one name."""
    observed = [bucket.observed for bucket in buckets]
    return [LabelledHistogram(rows.labels, rows.read(observed)) for rows in histogram_rows(buckets)]


def sum_of_histograms(parts: Sequence[HistogramSample | None]) -> HistogramSample | None:
    """Add up histograms of one quantity: at the bounds that all of them have.

    None where there are none, one is unknown, or they have no bound in common.
    """
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    first, *others = known
    if not others:
        return first
    if any(other.bounds != first.bounds for other in others):
        common = set(first.bounds).intersection(*(other.bounds for other in others))
        if not common:
            return None
        known = [_at(part, common) for part in known]
    counts = tuple(math.fsum(each) for each in zip(*(part.counts for part in known), strict=True))
    return HistogramSample(bounds=known[0].bounds, counts=counts)


def _at(part: HistogramSample, bounds: set[float]) -> HistogramSample:
    """Keep these bounds of a histogram."""
    pairs = zip(part.bounds, part.counts, strict=False)
    kept = [(bound, count) for bound, count in pairs if bound in bounds]
    return HistogramSample(
        bounds=tuple(bound for bound, _ in kept),
        counts=(*(count for _, count in kept), part.counts[-1]),
    )
