"""From rows to a sample: what the engines' sources share.

The rules every engine's source keeps: a series that is absent, NaN, infinite or negative is unknown
and never zero; a sum with an unknown part is unknown; "no demand" is what an engine reports, never
inferred from a series that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from autoscaler.errors import SourceError
from autoscaler.foreign_text import listed
from autoscaler.kube.samples import HISTOGRAMS, HistogramSample, PodSample
from autoscaler.sources.pages.buckets import sum_of_histograms
from autoscaler.sources.pages.history_series import HistorySeries
from autoscaler.sources.pages.layout import KnownPage
from autoscaler.sources.pages.limits import (
    COUNTER_MAX,
    POD_PAGE_BYTES_MAX,
    REQUESTS_MAX,
    SKEW_S_MAX,
)
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import (
    Labelled,
    LabelledHistogram,
    NumberedRows,
    PlacedHistogram,
    PlacedRow,
    PlacedRows,
    PlacedValues,
    Rows,
    SeriesRow,
)

_ADDED = (
    "waiting_requests",
    "running_requests",
    "finished_requests_total",
    "aborted_requests_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "preemptions_total",
    "queue_time_s_total",
    "queued_requests_total",
    "steps_total",
    "step_tokens_total",
)
"""Fields of a sample that are counts, or sums of them."""

L = TypeVar("L", bound=Labelled)
R = TypeVar("R")

Read = Callable[[Rows, frozenset[str]], PodSample]
"""Read one pod's rows, restricted to these model names (empty: all); the sample is not dated yet.
Raises SourceError."""


class SignalPlaces(Protocol):
    """Where each signal of a pod stands on its page: this follows from names and labels alone."""

    def read(self, values: PlacedValues, *, sampled_at: float) -> PodSample:
        """Read them from what stands there. Raises SourceError."""
        ...


Find = Callable[[PlacedRows, frozenset[str]], SignalPlaces]
"""Find the signals among these rows, restricted to these model names (empty: all). What is found is kept
as long as rows have the same names and labels. Raises SourceError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSource:
    """How one serving engine is read, from its page and through Prometheus alike."""

    engine: str
    """As `spec.engine` names it."""
    names: tuple[str, ...]
    """Every series that `read` may ask for, in every spelling."""
    labels: frozenset[str]
    """Labels that the engine itself writes and that tell its rows of one series apart. Through
    Prometheus every other label is its own or its operator's, and tells nothing apart."""
    read: Read
    history: HistorySeries
    """What is asked about a time before it was read."""
    histograms: tuple[str, ...] = ()
    """Every histogram whose buckets `read` may ask for, in every spelling, without `_bucket`. They are
    read from pages alone: through Prometheus they would be ten times what is asked for else."""
    page_bytes_max: int = POD_PAGE_BYTES_MAX
    find: Find | None = None
    """What `read` does first, where that can be told apart; pages that come again need it but once."""

    def sample(self, rows: Rows, *, model_names: frozenset[str], at: float) -> PodSample:
        """Read one pod.

        Args:
            rows: Its page, or its part of a query's answer.
            model_names: Restricts engines that label their series by model; empty takes all.
            at: The moment of the read. Rows that carry their own time make the sample as old as the
                oldest of them, never younger than it is.

        Raises:
            SourceError: Nothing there says how much is waiting or running; a count or a time cannot be.
        """
        if self.find is not None and isinstance(rows, KnownPage):
            # No row of such a page has a time of its own.
            return self._places_on(rows, self.find, model_names).read(rows, sampled_at=at)
        remembered = _RememberedRows(rows)
        sample = self.read(remembered, model_names)
        _expect_past(remembered.times, at=at)
        return replace(sample, sampled_at=min([at, *remembered.times]))

    def _places_on(self, page: KnownPage, find: Find, model_names: frozenset[str]) -> SignalPlaces:
        """Find the signals, or remember where they were found; a page that refuses itself is asked anew."""
        key = self.engine, model_names
        found: SignalPlaces | None = page.kept(key)
        if found is None:
            found = find(_ApartRows(page.places), model_names)
            page.keep(key, found)
        return found


class _RememberedRows:
    """Rows that keep the times of those that were asked for."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.times: list[float] = []

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of `name`."""
        found = _apart(name, self._rows.rows(name))
        self.times += [row.at for row in found if row.at is not None]
        return found

    def histograms(self, name: str) -> list[LabelledHistogram]:
        """Return the histograms of `name`."""
        return self._rows.histograms(name)


class _ApartRows:
    """PlacedRows of rows that differ in their labels."""

    def __init__(self, places: PlacedRows) -> None:
        self._places = places

    def rows(self, name: str) -> list[PlacedRow]:
        """Return the rows of `name`."""
        return _apart(name, self._places.rows(name))

    def histograms(self, name: str) -> list[PlacedHistogram]:
        """Return the histograms of `name`."""
        return self._places.histograms(name)


def _apart(name: str, rows: list[L]) -> list[L]:
    """Refuse rows of one name that are there twice."""
    if len(rows) > 1 and len({frozenset(row.labels.items()) for row in rows}) < len(rows):
        message = f"a row of {name} is there twice, with the same labels"
        raise SourceError(message, outcome=ReadOutcome.DUPLICATE)
    return rows


def _expect_past(times: Iterable[float], *, at: float) -> None:
    """Refuse values of the future, which would look fresh for as long as they lie ahead."""
    for time in times:
        if not 0.0 <= time <= at + SKEW_S_MAX:  # NaN is not either
            message = (
                f"a value is dated {time - at:.0f} s from now; mend the clocks, or leave out the "
                "time stamps on the page"
            )
            raise SourceError(message, outcome=ReadOutcome.IMPLAUSIBLE)


@lru_cache(maxsize=256)
def spellings(*names: str) -> tuple[str, ...]:
    """Return every way in which these series are written, each as given first.

    Pipelines and agents that cannot have colons put underscores there, and some leave out `_total`, or
    write it where an engine does not.

    >>> spellings("vllm:prompt_tokens_total")[:2]
    ('vllm:prompt_tokens_total', 'vllm_prompt_tokens_total')
    >>> spellings("vllm:prompt_tokens_total")[2:]
    ('vllm:prompt_tokens', 'vllm_prompt_tokens')
    """
    found: dict[str, None] = {}
    for name in names:
        bare = name.removesuffix("_total")
        for each in (name, bare) if bare != name else (name,):
            found |= dict.fromkeys((each, each.replace(":", "_")))
    return tuple(found)


class _Named(Protocol[R]):
    """Rows of any kind, by name."""

    def rows(self, name: str) -> list[R]:
        """Return the rows of exactly this name."""
        ...


def first_of(rows: _Named[R], *names: str) -> list[R]:
    """Return the rows of the first name that has any: a series that was renamed has several names."""
    for name in names:
        found = rows.rows(name)
        if found:
            return found
    return []


def rows_of_models(rows: Iterable[L], model_names: frozenset[str]) -> list[L]:
    """Keep the rows of these models; an empty set keeps all."""
    return [row for row in rows if not model_names or row.labels.get("model_name") in model_names]


def total(rows: Iterable[SeriesRow], *, at_most: float = REQUESTS_MAX) -> float | None:
    """Add up the counts of rows; see `sum_of_counts`."""
    return sum_of_counts([row.value for row in rows], at_most=at_most)


def total_at(
    numbers: Sequence[float], places: Sequence[int], at_most: float = REQUESTS_MAX
) -> float | None:
    """Add up the counts in these places; see `sum_of_counts`."""
    if len(places) == 1 and 0.0 <= (value := numbers[places[0]]) <= at_most:
        return value + 0.0  # nearly always; and -0.0 is 0.0, as in a sum
    return sum_of_counts([numbers[place] for place in places], at_most=at_most)


def sum_of_counts(values: Sequence[float], *, at_most: float = REQUESTS_MAX) -> float | None:
    """Add up counts; None where there are none or one of them is no count.

    Args:
        values: Of one quantity.
        at_most: What one of them can be: COUNTER_MAX for counters.

    Raises:
        SourceError: One is greater than that. Such a page is not believed in anything.
    """
    if not values or not all(math.isfinite(value) and value >= 0 for value in values):
        return None
    if max(values) > at_most or (sum_ := math.fsum(values)) > at_most:
        message = f"a count of {max(values):g} is more than a server can hold ({at_most:g})"
        raise SourceError(message, outcome=ReadOutcome.IMPLAUSIBLE)
    return sum_


def histogram(
    rows: Rows, *names: str, model_names: frozenset[str] = frozenset()
) -> HistogramSample | None:
    """Return the first of these histograms that is there, over all its rows; None: unknown."""
    numbered = NumberedRows(rows)
    return histogram_at(numbered, histogram_places(numbered, *names, model_names=model_names))


def histogram_places(
    places: PlacedRows, *names: str, model_names: frozenset[str] = frozenset()
) -> tuple[int, ...]:
    """Return the places of the first of these histograms that is there; empty: none is."""
    found = next(filter(None, map(places.histograms, names)), [])
    if model_names:
        named = {("model_name", name) for name in model_names}
        found = [each for each in found if not named.isdisjoint(each.labels)]
    return tuple(each.place for each in found)


def histogram_at(values: PlacedValues, places: Sequence[int]) -> HistogramSample | None:
    """Add up the histograms in these places; None: unknown."""
    if len(places) == 1:
        return values.histogram(places[0])
    return sum_of_histograms([values.histogram(place) for place in places])


def count_since_start(rows: Iterable[SeriesRow]) -> float | None:
    """Add up counters; None where there are none or one of them is no count."""
    return total(rows, at_most=COUNTER_MAX)


def sum_of_parts(*parts: float | None) -> float | None:
    """Add up parts of one figure; None where one is unknown."""
    known = [part for part in parts if part is not None]
    return math.fsum(known) if len(known) == len(parts) else None


def mean_ratio(rows: Sequence[SeriesRow], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of rows' ratios; see `mean_of_ratios`."""
    return mean_of_ratios([row.value for row in rows], weights)


def mean_of_ratios(ratios: Sequence[float], weights: Sequence[float]) -> float | None:
    """Return their weighted mean; None where there are none or one is not from 0 to 1."""
    if len(ratios) == 1 and 0.0 <= ratios[0] <= 1.0 and weights[0] == 1.0:
        return ratios[0] + 0.0
    if not ratios or not all(0.0 <= ratio <= 1.0 for ratio in ratios):
        return None
    weighted = math.fsum(ratio * weight for ratio, weight in zip(ratios, weights, strict=True))
    return min(1.0, weighted / math.fsum(weights))


def expect_demand(
    sample: PodSample, *, engine: str, found: Iterable[Labelled], model_names: frozenset[str]
) -> PodSample:
    """Refuse a page that does not show how much is waiting or running, and say what would mend it."""
    if sample.waiting_requests is not None or sample.running_requests is not None:
        return sample
    present = sorted({row.labels["model_name"] for row in found if "model_name" in row.labels})
    if model_names and present and not model_names.intersection(present):
        message = (
            f"the page is of the models {listed(present)}; spec.modelNames asks for "
            f"{listed(sorted(model_names))}"
        )
    else:
        message = f"the page has no series of {engine} for waiting and running requests"
    raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)


def sum_of_pages(pages: Sequence[PodSample]) -> PodSample:
    """Put the pages of one pod together, one for each data-parallel rank; unknown where one is."""
    if len(pages) == 1:
        return pages[0]

    def added(name: str) -> float | None:
        return sum_of_parts(*(getattr(page, name) for page in pages))

    usage = added("kv_usage_ratio")
    parts: dict[str, Any] = {name: added(name) for name in _ADDED}
    for name in HISTOGRAMS:
        parts[name] = sum_of_histograms([getattr(page, name) for page in pages])
    return PodSample(
        sampled_at=min(page.sampled_at for page in pages),
        kv_usage_ratio=None if usage is None else usage / len(pages),
        **parts,
    )
