"""From rows to a sample: what the engines' sources share.

The rules every engine's source keeps: a series that is absent, NaN, infinite or negative is unknown
and never zero; a sum with an unknown part is unknown; "no demand" is what an engine reports, never
inferred from a series that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.sources.pages.exposition import Rows, SeriesRow
from autoscaler.sources.pages.outcome import ReadOutcome

Read = Callable[[Rows, frozenset[str]], PodSample]
"""Read one pod's rows, restricted to these model names (empty: all); the sample is not dated yet.
Raises SourceError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSource:
    """How one serving engine is read, from its page and through Prometheus alike."""

    engine: str
    """As `spec.engine` names it."""
    names: tuple[str, ...]
    """Every series that `read` may ask for."""
    read: Read

    def sample(self, rows: Rows, *, model_names: frozenset[str], at: float) -> PodSample:
        """Read one pod.

        Args:
            rows: Its page, or its part of a query's answer.
            model_names: Restricts engines that label their series by model; empty takes all.
            at: The moment of the read. Rows that carry their own time make the sample as old as the
                oldest of them, never younger than it is.

        Raises:
            SourceError: Nothing there says how much is waiting or running.
        """
        remembered = _RememberedRows(rows)
        sample = self.read(remembered, model_names)
        return replace(sample, sampled_at=min([at, *remembered.times]))


class _RememberedRows:
    """Rows that keep the times of those that were asked for."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.times: list[float] = []

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of `name`."""
        found = self._rows.rows(name)
        self.times += [row.at for row in found if row.at is not None]
        return found


def first_of(rows: Rows, *names: str) -> list[SeriesRow]:
    """Return the rows of the first name that has any: a series that was renamed has several names."""
    for name in names:
        found = rows.rows(name)
        if found:
            return found
    return []


def rows_of_models(rows: Iterable[SeriesRow], model_names: frozenset[str]) -> list[SeriesRow]:
    """Keep the rows of these models; an empty set keeps all."""
    return [row for row in rows if not model_names or row.labels.get("model_name") in model_names]


def total(rows: Iterable[SeriesRow]) -> float | None:
    """Add up counts; None where there are none or one of them is no count."""
    values = [row.value for row in rows]
    if not values or not all(math.isfinite(value) and value >= 0 for value in values):
        return None
    return math.fsum(values)


def sum_of_parts(*parts: float | None) -> float | None:
    """Add up parts of one figure; None where one is unknown."""
    known = [part for part in parts if part is not None]
    return math.fsum(known) if len(known) == len(parts) else None


def mean_ratio(rows: Sequence[SeriesRow], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of ratios; None where there are none or one is not from 0 to 1."""
    if not rows or not all(0.0 <= row.value <= 1.0 for row in rows):
        return None
    weighted = math.fsum(row.value * weight for row, weight in zip(rows, weights, strict=True))
    return min(1.0, weighted / math.fsum(weights))


def expect_demand(
    sample: PodSample, *, engine: str, found: Iterable[SeriesRow], model_names: frozenset[str]
) -> PodSample:
    """Refuse a page that does not show how much is waiting or running, and say what would mend it."""
    if sample.waiting_requests is not None or sample.running_requests is not None:
        return sample
    present = sorted({row.labels["model_name"] for row in found if "model_name" in row.labels})
    if model_names and present and not model_names.intersection(present):
        message = (
            f"the page is of the models {', '.join(present)}; spec.modelNames asks for "
            f"{', '.join(sorted(model_names))}"
        )
    else:
        message = f"the page has no series of {engine} for waiting and running requests"
    raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)
