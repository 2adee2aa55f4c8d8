"""Rows and histograms by the name of their series: what a page, or an answer of Prometheus, is read into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from autoscaler.kube.samples import HistogramSample


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One line of a page, or one series of a query's answer."""

    labels: Mapping[str, str]
    value: float
    """As it is written: NaN and infinities too."""
    at: float | None = None
    """The row's own time in seconds; None: none was given, the time of the read holds."""
    before_at: float | None = None
    """Time of the sample before it, of an answer of Prometheus; None: there was none."""


class LabelledHistogram(NamedTuple):
    """One histogram: all rows of a `..._bucket` that differ in their bound alone."""

    labels: frozenset[tuple[str, str]]
    """Those that tell it from others of its name."""
    sample: HistogramSample | None
    """None: it makes no sense."""


class Labelled(Protocol):
    """A row of any kind."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Return its labels."""
        ...


class Rows(Protocol):
    """A page, or what Prometheus answered for one pod."""

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of exactly this name, in their order; none is an empty list."""
        ...

    def histograms(self, name: str) -> list[LabelledHistogram]:
        """Return the histograms of this name (without `_bucket`), in the order of their first rows."""
        ...


class PlacedRow(NamedTuple):
    """A row, and where its value stands: the values change from reading to reading, and this does not."""

    labels: Mapping[str, str]
    place: int
    """Among the numbers of its page."""


class PlacedHistogram(NamedTuple):
    """Likewise a histogram."""

    labels: frozenset[tuple[str, str]]
    place: int
    """Among the histograms of its page."""


class PlacedRows(Protocol):
    """Rows without their values."""

    def rows(self, name: str) -> list[PlacedRow]:
        """Return the rows of exactly this name, in their order; none is an empty list."""
        ...

    def histograms(self, name: str) -> list[PlacedHistogram]:
        """Return the histograms of this name (without `_bucket`), in the order of their first rows."""
        ...


class PlacedValues(Protocol):
    """What stands in the places."""

    @property
    def numbers(self) -> Sequence[float]:
        """Return the value in each place, as it is written."""
        ...

    def histogram(self, place: int) -> HistogramSample | None:
        """Return the histogram of this place; None: it makes no sense."""
        ...


class NumberedRows:
    """Any rows as places and values, numbered as they are asked for."""

    def __init__(self, rows: Rows) -> None:
        """Ask these."""
        self._rows = rows
        self._histograms: list[HistogramSample | None] = []
        self.numbers: list[float] = []

    def rows(self, name: str) -> list[PlacedRow]:
        """Return the rows of `name`."""
        found = self._rows.rows(name)
        first = len(self.numbers)
        self.numbers += [row.value for row in found]
        return [PlacedRow(row.labels, place) for place, row in enumerate(found, first)]

    def histograms(self, name: str) -> list[PlacedHistogram]:
        """Return the histograms of `name`."""
        found = self._rows.histograms(name)
        first = len(self._histograms)
        self._histograms += [each.sample for each in found]
        return [PlacedHistogram(each.labels, place) for place, each in enumerate(found, first)]

    def histogram(self, place: int) -> HistogramSample | None:
        """Return the histogram of this place."""
        return self._histograms[place]
