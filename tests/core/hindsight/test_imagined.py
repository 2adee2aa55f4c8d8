"""An imagined fleet: who starts, who serves, who is given up, and who has the next request."""

from __future__ import annotations

import random

import pytest

from autoscaler.core.hindsight.imagined import ImaginedFleet


def test_a_replica_serves_one_cold_start_after_it_was_asked_for():
    fleet = ImaginedFleet(old=2)
    assert fleet.resize(5, at=100.0, start_s=180.0) == 0
    fleet.begin(at=279.9)
    assert (fleet.ready, fleet.asked) == (2, 5)
    fleet.begin(at=280.0)
    assert (fleet.ready, fleet.asked, fleet.starting) == (5, 5, [])


def test_those_that_start_are_given_up_first_the_youngest_of_them_before_the_others():
    fleet = ImaginedFleet(old=2, old_held=8.0)
    fleet.resize(4, at=0.0, start_s=180.0)
    fleet.resize(7, at=15.0, start_s=180.0)
    assert fleet.resize(5, at=30.0, start_s=180.0) == 0
    assert fleet.starting == [(180.0, 2), (195.0, 1)]
    assert fleet.resize(1, at=45.0, start_s=180.0) == 1
    assert fleet.starting == []
    assert (fleet.ready, fleet.old_held) == (1, 4.0), "it takes with it what it held"


def test_new_replicas_take_all_that_comes_until_they_hold_as_much_as_the_old_ones():
    """Each replica has a queue of its own: two that are new do nothing for thirty that wait at the old one."""
    fleet = ImaginedFleet(old=1, new=2, old_held=50.0)
    assert fleet.share(60.0) == 60.0
    fleet.take(old_held=40.0, new_held=60.0)
    assert fleet.new == 2
    # They have room for 20 more until they are level; of the ten beyond these, two in three are theirs.
    assert fleet.share(30.0) == pytest.approx(20.0 + 10.0 * 2 / 3)
    fleet.take(old_held=30.0, new_held=58.0)
    assert (fleet.old, fleet.new, fleet.old_held, fleet.new_held) == (3, 0, 88.0, 0.0)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_asked_for_numbers_and_requests_add_up(seed: int):
    rng = random.Random(seed)
    fleet, asked = ImaginedFleet(old=3, old_held=20.0), 3
    for step in range(500):
        at = 15.0 * step
        fleet.begin(at=at)
        came = rng.uniform(0.0, 50.0)
        to_new = fleet.share(came)
        assert 0.0 <= to_new <= came
        assert fleet.new or not to_new
        before = fleet.old_held + fleet.new_held
        fleet.take(old_held=fleet.old_held + came - to_new, new_held=fleet.new_held + to_new)
        assert fleet.old_held + fleet.new_held == pytest.approx(before + came)
        fleet.take(old_held=0.6 * fleet.old_held, new_held=0.6 * fleet.new_held)
        asked = max(1, asked + rng.choice([-3, -1, 0, 0, 0, 1, 4]))
        ready = fleet.ready
        left = fleet.resize(asked, at=at, start_s=180.0)
        assert fleet.asked == asked
        assert fleet.ready == ready - left
        assert min(fleet.old, fleet.new, fleet.old_held, fleet.new_held) >= 0.0
