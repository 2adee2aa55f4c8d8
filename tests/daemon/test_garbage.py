"""How often the garbage collector may hold the daemon up."""

from __future__ import annotations

import gc

import pytest

from autoscaler.daemon.garbage import seldom_look_through_everything


@pytest.fixture
def settled():
    before = gc.get_threshold()
    seldom_look_through_everything()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("settled")
def test_objects_that_stay_bring_no_walk_through_everything():
    before = gc.get_stats()[2]["collections"]
    kept = [[number] for number in range(400_000)]  # with Python's own thresholds: ten of them
    assert gc.get_stats()[2]["collections"] == before
    assert len(kept) == 400_000


@pytest.mark.usefixtures("settled")
def test_what_is_looked_through_in_one_go_is_little():
    """Each costs two microseconds where samples are read, and meanwhile nothing is heard."""
    kept, most = [], 0
    for number in range(50_000):
        kept.append([number])
        if number % 200 == 0:
            most = max(most, sum(len(gc.get_objects(generation)) for generation in (0, 1)))
    assert 0 < most < 8_000


@pytest.mark.usefixtures("settled")
def test_what_refers_to_itself_is_still_found_young():
    class Knot:
        alive = 0

        def __init__(self):
            self.itself = self
            Knot.alive += 1

        def __del__(self):
            Knot.alive -= 1

    for _ in range(20_000):
        Knot()
    assert Knot.alive < 12_000
