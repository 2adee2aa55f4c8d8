from __future__ import annotations

from autoscaler.daemon.clock import Clock


class Times:
    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)


def test_it_starts_at_the_wall_clock_and_follows_the_monotonic_one():
    times = Times()
    clock = times.clock()
    times.monotonic += 12.5
    times.wall += 3.0
    assert clock.now() == 1_000_012.5


def test_a_wall_clock_that_jumps_back_changes_nothing():
    times = Times()
    clock = times.clock()
    times.wall -= 3600
    times.monotonic += 1
    assert clock.re_anchor() == 0.0
    assert clock.now() == 1_000_001.0


def test_a_wall_clock_that_jumps_ahead_is_caught_up_with():
    times = Times()
    clock = times.clock()
    times.wall += 3600
    assert clock.re_anchor() == 3600.0
    assert clock.now() == 1_003_600.0
    times.monotonic += 1
    assert clock.now() == 1_003_601.0


def test_drift_below_a_second_is_left_alone():
    times = Times()
    clock = times.clock()
    times.wall += 0.9
    assert clock.re_anchor() == 0.0
    assert clock.now() == 1_000_000.0


def test_it_never_decreases_whatever_the_wall_clock_does():
    times = Times()
    clock = times.clock()
    last = clock.now()
    for jump in (5, -7, 100, -3600, 0.5, 3600, -1):
        times.wall += jump
        times.monotonic += 0.25
        clock.re_anchor()
        assert clock.now() > last
        last = clock.now()
