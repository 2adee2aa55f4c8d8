"""Histograms of single pods as columns: those with the same bounds together.

The pods of a model run one image and have one set of bounds, two while it is rolled out. So few sets are
kept: pages that all have bounds of their own are nobody's histograms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from autoscaler.core.contract.state import HistogramColumns
from autoscaler.kube.samples import HistogramSample

SETS_MAX = 8
"""Sets of bounds that are kept of one histogram of a model, those of the first pods that have one."""


def histogram_columns(samples: Sequence[HistogramSample | None]) -> tuple[HistogramColumns, ...]:
    """Put the histograms of a model's pods together, in the order of their first pods.

    Args:
        samples: Of each pod, in the order of the columns; None: unknown.
    """
    rows_of: dict[tuple[float, ...], list[int]] = {}
    for row, sample in enumerate(samples):
        if sample is None:
            continue
        rows = rows_of.get(sample.bounds)
        if rows is not None:
            rows.append(row)
        elif len(rows_of) < SETS_MAX:
            rows_of[sample.bounds] = [row]
    return tuple(_together(samples, bounds, rows) for bounds, rows in rows_of.items())


def _together(
    samples: Sequence[HistogramSample | None], bounds: tuple[float, ...], rows: list[int]
) -> HistogramColumns:
    width = len(bounds) + 1
    counts = itertools.chain.from_iterable(
        sample.counts for sample in (samples[row] for row in rows) if sample is not None
    )
    flat = np.fromiter(counts, dtype=np.float64, count=width * len(rows))
    return HistogramColumns(
        bounds=bounds,
        rows=np.array(rows, dtype=np.int64),
        counts=np.ascontiguousarray(flat.reshape(len(rows), width).T),
    )
