"""Rows and histograms by the name of their series: what a page, or an answer of Prometheus, is read into."""

from __future__ import annotations

from collections.abc import Mapping
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


class Rows(Protocol):
    """A page, or what Prometheus answered for one pod."""

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of exactly this name, in their order; none is an empty list."""
        ...

    def histograms(self, name: str) -> list[LabelledHistogram]:
        """Return the histograms of this name (without `_bucket`), in the order of their first rows."""
        ...
