"""What a model did, step by step, as its Prometheus has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray
from autoscaler.errors import SourceError
from simulations.field.capture.counters import gauge_changes, total_increases
from simulations.field.capture.ranges import Grid, RangeReader, Series
from simulations.field.capture.signals import (
    FINISHED,
    HISTOGRAMS,
    RUNNING,
    WAITING,
    Subject,
    by_process,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Observations of each step, in buckets."""

    bounds: FloatArray
    """Upper bounds, ascending; the last is infinite."""
    counts: FloatArray
    """(steps, buckets), not cumulated."""
    sums: FloatArray
    """Sum of the observed values of each step."""
    metric: str = ""
    """Which family it is, of those that may stand for the same."""

    def mean(self, steps: slice | BoolArray = slice(None)) -> float | None:
        """Of what was observed in these steps; None: nothing was."""
        observations = float(self.counts[steps].sum())
        return float(self.sums[steps].sum()) / observations if observations > 0 else None

    def spread(self, each: int, *, steps: int) -> Histogram:
        """The same over steps that are `each` times shorter; those behind the last have nothing."""
        if each == 1:
            return self
        counts = np.zeros((steps, len(self.bounds)))
        sums = np.zeros(steps)
        covered = len(self.sums) * each
        counts[:covered] = np.repeat(self.counts / each, each, axis=0)
        sums[:covered] = np.repeat(self.sums / each, each)
        return replace(self, counts=counts, sums=sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One model over the steps of a grid (one step fewer than points)."""

    subject: Subject
    grid: Grid
    arrivals: FloatArray
    """Requests that arrived in each step; 0 where unknown: see `known`."""
    known: BoolArray
    """Steps in which Prometheus had the counters; the others are holes."""
    replicas: FloatArray
    """Serving processes seen at the end of each step."""
    waiting: FloatArray
    """Requests waiting, over all of them, at the end of each step."""
    running: FloatArray
    """Requests running, likewise."""
    histograms: Mapping[str, Histogram]
    """By name as in `signals.HISTOGRAMS`; those that Prometheus has."""

    def mean(self, name: str, steps: slice | BoolArray = slice(None)) -> float | None:
        """Of a histogram over these steps; None: nothing was observed, or Prometheus has none."""
        histogram = self.histograms.get(name)
        return None if histogram is None else histogram.mean(steps)

    @property
    def hours(self) -> float:
        """Length in hours."""
        return len(self.arrivals) * self.grid.step / 3600.0


def find_subjects(reader: RangeReader, grid: Grid, *, namespace: str | None) -> list[Subject]:
    """The models that had vLLM series in the span, most loaded first.

    Raises:
        SourceError: There are none; the message says what to look at.
    """
    found = reader.series(f"sum by (namespace, model_name) ({RUNNING})", grid)
    loads = {}
    for series in found:
        model = series.labels.get("model_name")
        where = series.labels.get("namespace")
        if model and (namespace is None or where == namespace):
            loads[Subject(model_name=model, namespace=where)] = float(np.nansum(series.values))
    if not loads and namespace and found:
        there = sorted({str(series.labels.get("namespace")) for series in found})
        raise SourceError(
            f"no series {RUNNING} in namespace {namespace}; there are some in {', '.join(there)}: "
            "give one of these with --namespace, or none"
        )
    if not loads:
        where = f" in namespace {namespace}" if namespace else ""
        raise SourceError(
            f"no series {RUNNING}{where} in the last {grid.step * grid.points / 3600:.1f} h; does this "
            "Prometheus scrape the vLLM pods (a PodMonitor, or scrape annotations)?"
        )
    return sorted(loads, key=lambda subject: (-loads[subject], subject.name))


def capture_model(
    reader: RangeReader,
    subject: Subject,
    grid: Grid,
    *,
    progress: Callable[[str], None] | None = None,
    histogram_steps: int = 1,
) -> Capture:
    """Read one model's series and turn them into what happened in each step.

    Arrivals are what finished plus what is more in flight than before, over the processes.
    Histograms have a hundred series a process: `histogram_steps` steps of them may be read as one and
    spread evenly, which lengths, drawn over ten minutes, do not notice.

    Raises:
        SourceError: A query failed, or the model has no counters in the span.
    """

    def read_on(grid: Grid, metric: str, also: str = "") -> list[Series]:
        if progress is not None:
            progress(metric)
        return reader.series(by_process(subject.select(metric), also), grid)

    read = partial(read_on, grid)

    finished = read(FINISHED)
    if not finished:
        raise SourceError(f"{subject.name}: no series {FINISHED} in the span asked for")
    running = read(RUNNING)
    waiting = read(WAITING)
    done, known = total_increases([series.values for series in finished])
    more = gauge_changes([series.values for series in running]) + gauge_changes(
        [series.values for series in waiting]
    )
    # fewer in flight than the finished explain: they ended with their process, and came earlier
    arrivals = np.where(known, np.maximum(done + more, 0.0), 0.0)
    there = np.vstack([series.values for series in running])
    coarse = grid.coarser(histogram_steps)
    histograms = {
        name: histogram.spread(histogram_steps, steps=grid.points - 1)
        for name, metrics in HISTOGRAMS.items()
        if (histogram := _histogram(partial(read_on, coarse), metrics, steps=coarse.points - 1))
        is not None
    }
    return Capture(
        subject=subject,
        grid=grid,
        arrivals=arrivals,
        known=known,
        replicas=np.asarray((~np.isnan(there)).sum(axis=0)[1:], dtype=np.float64),
        waiting=np.asarray(
            np.nansum(np.vstack([series.values for series in waiting]), axis=0)[1:],
            dtype=np.float64,
        ),
        running=np.asarray(np.nansum(there, axis=0)[1:], dtype=np.float64),
        histograms=histograms,
    )


def _histogram(
    read: Callable[..., list[Series]], metrics: tuple[str, ...], *, steps: int
) -> Histogram | None:
    for metric in metrics:
        buckets: dict[float, list[FloatArray]] = {}
        for series in read(f"{metric}_bucket", "le"):
            buckets.setdefault(float(series.labels["le"]), []).append(series.values)
        if not buckets:
            continue
        bounds = np.array(sorted(buckets))
        cumulated = np.zeros((steps, len(bounds)))
        for column, bound in enumerate(bounds):
            cumulated[:, column] = total_increases(buckets[bound])[0]
        counts = np.maximum(np.diff(cumulated, axis=1, prepend=0.0), 0.0)
        sums = total_increases([series.values for series in read(f"{metric}_sum")])[0]
        return Histogram(bounds=bounds, counts=counts, sums=sums, metric=metric)
    return None
