"""One replica as an on/off problem: against every schedule there is."""

from __future__ import annotations

import itertools
import random

import pytest

from autoscaler.core.policy.replica_value import price_of_unmet_work, solve, steps_ahead


def best(gains: list[float], *, start: int, first: int, ready: bool) -> float:
    """Try every schedule from step `first` on (from 1), without the program's recursion.

    A schedule says of each step whether the replica serves. Where it begins to serve it was asked
    for `start` steps before, while it was off, and costs `start`; one that is ready at first
    serves its first step in any case.
    """
    steps = range(first, len(gains) + 1)
    highest = float("-inf")
    for serves in itertools.product((False, True), repeat=len(steps)):
        value, off_for = 0.0, 0
        for step, on in zip(steps, serves, strict=True):
            if on:
                given = ready and step == first
                before = step > first and serves[step - first - 1]
                if not given and not before:
                    value -= start if off_for >= start else float("inf")
                value += gains[step - 1]
                off_for = 0
            else:
                value -= float("inf") if ready and step == first else 0.0
                off_for += 1
        highest = max(highest, value)
    return highest


def test_the_program_finds_the_best_of_all_schedules():
    rng = random.Random(8)
    for _ in range(120):
        horizon, start = rng.randint(2, 8), rng.randint(1, 4)
        gains = [rng.choice((-1.0, rng.uniform(-1.0, 3.0))) for _ in range(horizon)]
        values = solve(gains, start=start)
        for first in range(1, horizon + 1):
            on = best(gains, start=start, first=first, ready=True)
            off = best(gains, start=start, first=first, ready=False)
            assert values.on[first] == pytest.approx(on)
            assert values.off[first] == pytest.approx(off)


def test_solutions_nest():
    """What a lower replica earns is never less, so it is kept where a higher one is."""
    rng = random.Random(3)
    for _ in range(300):
        horizon, start = rng.randint(2, 30), rng.randint(1, 6)
        higher = [60.0 * rng.random() ** 8 - 1.0 for _ in range(horizon)]
        lower = [gain + rng.choice((0.0, 0.0, rng.random())) for gain in higher]
        above, below = solve(higher, start=start), solve(lower, start=start)
        assert below.on[1] - below.off[1] >= above.on[1] - above.off[1] - 1e-9
        starts = [v.on[1 + start] - start - v.off[2] for v in (above, below)]
        assert starts[1] >= starts[0] - 1e-9


@pytest.mark.parametrize(
    ("cold_start_s", "tick_s", "step_s", "start", "horizon"),
    [
        (180.0, 5.0, 30.0, 6, 6 + 20),  # a sixth of it, ten minutes more
        (20.0, 5.0, 5.0, 4, 4 + 24),  # not less than a tick, 24 steps more at most
        (420.0, 5.0, 70.0, 6, 6 + 9),
        (3.0, 1.0, 1.0, 3, 3 + 24),
        (2.0, 5.0, 5.0, 1, 1 + 24),
    ],
)
def test_how_time_is_cut(cold_start_s, tick_s, step_s, start, horizon):
    steps = steps_ahead(cold_start_s=cold_start_s, tick_s=tick_s)
    assert (steps.step_s, steps.start, steps.horizon) == (step_s, start, horizon)
    assert len(steps.leads) == len(steps.shares) == horizon
    middles = steps.leads + steps.shares
    assert middles.tolist() == sorted(middles.tolist())


@pytest.mark.parametrize(("attainment", "expected"), [(0.99, 60.0), (0.995, 97.0), (0.999, 300.0)])
def test_the_price_follows_from_the_objective(attainment, expected):
    assert price_of_unmet_work(attainment) == pytest.approx(expected, rel=0.01)
