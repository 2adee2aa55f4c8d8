"""Counters that restart, lose a scrape, or go away."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.field.capture.counters import gauge_changes, increases, total_increases

N = np.nan


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("plain", [0, 2, 5], [2, 3]),
        ("a restart counts what came after it", [7, 9, 3, 4], [2, 3, 1]),
        ("one lost scrape is bridged", [1, N, 5, 6], [2, 2, 1]),
        ("a long gap is a hole", [1, N, N, N, 9, 10], [N, N, N, N, 1]),
        ("nothing before the first value", [N, 4, 6], [N, 2]),
        ("nothing after the last", [4, 6, N], [2, N]),
        ("never there", [N, N, N], [N, N]),
        ("one point has no step", [3], []),
    ],
)
def test_increases(rule, values, expected):
    assert increases(np.array(values, dtype=float)) == pytest.approx(expected, nan_ok=True), rule


def test_pods_that_come_and_go_make_no_hole_but_all_away_do():
    total, known = total_increases(
        [np.array([1, 3, N, N, N, N, N]), np.array([N, N, 0, 4, N, N, N])]
    )
    assert total.tolist() == [2, 0, 4, 0, 0, 0]
    assert known.tolist() == [True, False, True, False, False, False]


def test_a_pod_that_goes_takes_along_what_it_held():
    change = gauge_changes([np.array([2, 5, N]), np.array([N, 1, 3])])
    assert change.tolist() == [3, 2]
