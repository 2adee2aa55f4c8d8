"""Late capacity: demand that replicas would have carried which were asked for and not ready."""

from __future__ import annotations

import pytest

from autoscaler.core.scores.late_capacity import LateCapacity, late_replicas


@pytest.mark.parametrize(
    ("need", "ready", "asked", "late"),
    [
        (2.0, 2, 2, 0.0),
        (2.5, 2, 3, 0.5),
        (4.5, 2, 3, 1.0),
        (4.5, 2, 2, 0.0),
        (4.5, 3, 2, 0.0),
        (1.5, 2, 9, 0.0),
        (2.0 + 1e-12, 2, 3, 0.0),
    ],
    ids=["enough", "a part", "no more than asked", "none asked", "fewer asked", "idle", "rounding"],
)
def test_what_is_late(need, ready, asked, late):
    assert late_replicas(need=need, ready=ready, asked=asked) == pytest.approx(late)


def test_it_is_told_when_it_has_come():
    late = LateCapacity()
    assert late.observe(5.0, need=1.0, ready=2, asked=2) is None
    for _ in range(4):
        assert late.observe(5.0, need=3.5, ready=2, asked=4) is None
    assert late.observe(5.0, need=3.5, ready=4, asked=4) == (
        "capacity came 20 s late: up to 1.5 replicas' worth of demand was there before the replicas "
        "that were asked for it were ready"
    )
    assert late.observe(5.0, need=3.5, ready=4, asked=4) is None, "it is told once"
    assert (late.seconds, late.replica_s) == (20.0, 30.0)


def test_a_moment_is_counted_and_not_told():
    late = LateCapacity()
    late.observe(5.0, need=2.2, ready=2, asked=3)
    assert late.observe(5.0, need=2.0, ready=2, asked=3) is None
    assert late.seconds == 5.0
