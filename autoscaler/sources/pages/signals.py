"""From rows to signals: what the engines' sources share.

The rules every engine's source keeps: a series that is absent, NaN, infinite or negative is unknown
and never zero; a sum with an unknown part is unknown; what reads as "no demand" has been said by the
engine, not inferred from silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.sources.pages.exposition import Row, Rows
from autoscaler.sources.pages.outcome import Outcome

Read = Callable[[Rows, frozenset[str]], "Signals"]
"""Read one pod's rows, restricted to these model names (empty: all). Raises SourceError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What one pod's engine says; None is unknown. Names and units as in `PodSample`."""

    waiting_requests: float | None
    running_requests: float | None
    kv_usage_ratio: float | None = None
    finished_requests_total: float | None = None
    prompt_tokens_total: float | None = None
    generation_tokens_total: float | None = None
    preemptions_total: float | None = None


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
        dated = _Dated(rows)
        signals = self.read(dated, model_names)
        return PodSample(
            sampled_at=min(at, dated.oldest_at),
            waiting_requests=signals.waiting_requests,
            running_requests=signals.running_requests,
            kv_usage_ratio=signals.kv_usage_ratio,
            finished_requests_total=signals.finished_requests_total,
            prompt_tokens_total=signals.prompt_tokens_total,
            generation_tokens_total=signals.generation_tokens_total,
            preemptions_total=signals.preemptions_total,
        )


class _Dated:
    """Rows that remember the oldest time among those handed out."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.oldest_at = math.inf

    def rows(self, name: str) -> list[Row]:
        """Return the rows of `name`."""
        found = self._rows.rows(name)
        for row in found:
            if row.at is not None:
                self.oldest_at = min(self.oldest_at, row.at)
        return found


def first_of(rows: Rows, *names: str) -> list[Row]:
    """Return the rows of the first name that has any: names that followed each other."""
    for name in names:
        found = rows.rows(name)
        if found:
            return found
    return []


def of_models(rows: Iterable[Row], model_names: frozenset[str]) -> list[Row]:
    """Keep the rows of these models; an empty set keeps all."""
    return [row for row in rows if not model_names or row.labels.get("model_name") in model_names]


def total(rows: Iterable[Row]) -> float | None:
    """Add up counts; None where there are none or one of them is no count."""
    values = [row.value for row in rows]
    if not values or not all(math.isfinite(value) and value >= 0 for value in values):
        return None
    return math.fsum(values)


def added(*parts: float | None) -> float | None:
    """Add up parts of one figure; None where one is unknown."""
    known = [part for part in parts if part is not None]
    return math.fsum(known) if len(known) == len(parts) else None


def mean_ratio(rows: Sequence[Row], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of ratios; None where there are none or one is not from 0 to 1."""
    if not rows or not all(0.0 <= row.value <= 1.0 for row in rows):
        return None
    weighted = math.fsum(row.value * weight for row, weight in zip(rows, weights, strict=True))
    return min(1.0, weighted / math.fsum(weights))


def expect_demand(
    signals: Signals, *, engine: str, found: Iterable[Row], model_names: frozenset[str]
) -> Signals:
    """Refuse a page from which no demand can be told, and say what would mend it."""
    if signals.waiting_requests is not None or signals.running_requests is not None:
        return signals
    present = sorted({row.labels["model_name"] for row in found if "model_name" in row.labels})
    if model_names and present and not model_names.intersection(present):
        message = (
            f"the page is of the models {', '.join(present)}; spec.modelNames asks for "
            f"{', '.join(sorted(model_names))}"
        )
    else:
        message = f"the page has no series of {engine} for waiting and running requests"
    raise SourceError(message, outcome=Outcome.NO_SIGNAL)
