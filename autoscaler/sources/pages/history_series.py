"""Which series of an engine tell, afterwards, what a model's pods had to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSeries:
    """One quantity of a pod: the first of several names that it has."""

    names: tuple[str, ...]
    matchers: tuple[str, ...] = ()
    """Of its own, as PromQL writes them."""
    by_model: bool = True
    """Whether its rows have the label `model_name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySeries:
    """What is asked of a store of metrics about one engine's pods.

    Of each figure the first part must be there; the others are added where they are.
    """

    running: tuple[PastSeries, ...]
    waiting: tuple[PastSeries, ...]
    finished: tuple[PastSeries, ...]
    """Counters."""
    kv_usage: PastSeries | None = None
    """Share of a rank's cache that is in use; of several ranks the mean. None: it is not told."""
    labels: tuple[str, ...]
    """That tell the rows of one pod's series apart."""
    one_of_several: str = "avg"
    """Which of rows that have all of these labels in common is meant, as PromQL puts them together: the same row
    scraped twice, or the ranks of one scheduler."""
