"""Histograms of single pods as columns: those with the same bounds together."""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.contract.state import HistogramColumns
from autoscaler.kube.histogram_columns import SETS_MAX, histogram_columns
from autoscaler.kube.samples import HistogramSample


def sample(bounds: tuple[float, ...], *counts: float) -> HistogramSample:
    return HistogramSample(bounds=bounds, counts=counts)


def test_pods_of_one_image_share_their_bounds():
    (columns,) = histogram_columns([sample((0.5, 1.0), 1, 2, 3), None, sample((0.5, 1.0), 4, 5, 6)])
    assert columns.bounds == (0.5, 1.0)
    np.testing.assert_equal(columns.rows, [0, 2])
    np.testing.assert_equal(columns.counts, [[1, 4], [2, 5], [3, 6]])


def test_a_rollout_has_two_sets():
    old, new = histogram_columns([sample((0.5,), 1, 2), sample((0.7,), 3, 4), sample((0.5,), 5, 6)])
    np.testing.assert_equal(old.rows, [0, 2])
    np.testing.assert_equal(new.rows, [1])
    np.testing.assert_equal(new.counts, [[3], [4]])


def test_nobody_says_it():
    assert histogram_columns([None, None]) == histogram_columns([]) == ()


def test_pods_that_all_have_bounds_of_their_own_are_bounded():
    each = [sample((float(number),), 1, 2) for number in range(100)]
    assert len(histogram_columns(each)) == SETS_MAX


def test_they_are_written_and_read_back():
    kept = histogram_columns([sample((0.5, 1.0), 1, 2, 3), None, sample((0.7,), 3, 4)])
    kind = tuple[HistogramColumns, ...]
    written = to_builtins(kept, kind)
    assert to_builtins(from_builtins(written, kind), kind) == written
    assert written[0] == {"bounds": [0.5, 1.0], "rows": [0], "counts": [[1.0], [2.0], [3.0]]}
