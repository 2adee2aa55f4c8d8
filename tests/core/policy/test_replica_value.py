"""One replica as an on/off problem: against every schedule there is."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

from autoscaler.core.contract.state import FloatArray
from autoscaler.core.policy import replica_value
from autoscaler.core.policy.replica_value import (
    ReplicaValues,
    Steps,
    Values,
    price_of_unmet_work,
    solve,
    steps_ahead,
)


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


class Known:
    """A forecast that is sure: what a replica serves of each step."""

    def __init__(self, use: list[float]) -> None:
        self._use = np.array([*use, 0.0])

    def expected_use(self, first: int, last: int, *, carried_ratio: float) -> FloatArray:
        assert carried_ratio == 1.0
        return np.tile(self._use, (last - first + 1, 1))


def judged(gains: list[float], *, start: int) -> ReplicaValues:
    """Values of a replica with these gains, at a price of 4."""
    horizon = len(gains)
    steps = Steps(
        step_s=5.0,
        start=start,
        horizon=horizon,
        leads=np.arange(horizon),
        shares=np.zeros(horizon),
    )
    use = [(gain + 1.0) / 4.0 for gain in gains]
    return ReplicaValues(Known(use), steps=steps, price_ratio=4.0, likely=1)


def drawn(rng: random.Random) -> tuple[list[float], int]:
    horizon, start = rng.randint(2, 8), rng.randint(1, 4)
    many = rng.choice((0.3, 0.7))
    return [-1.0 if rng.random() < many else rng.uniform(-1.0, 3.0) for _ in range(horizon)], start


def answers(ask: Callable[[list[float], int, ReplicaValues], tuple[bool, float]]) -> set[bool]:
    """Ask of 400 programs; the answer must be that of the best schedules, but where both are equal."""
    rng, given = random.Random(12), set()
    for _ in range(400):
        gains, start = drawn(rng)
        answer, better_by = ask(gains, start, judged(gains, start=start))
        if abs(better_by) > 1e-9:
            assert answer == (better_by > 0), (gains, start)
            given.add(answer)
    return given


def test_a_ready_replica_stays_where_the_best_schedule_that_serves_now_is_the_best_of_all():
    def ask(gains: list[float], start: int, values: ReplicaValues) -> tuple[bool, float]:
        on = best(gains, start=start, first=1, ready=True)
        return values.stays(1), on - best(gains, start=start, first=1, ready=False)

    assert answers(ask) == {True, False}


@pytest.mark.parametrize("rest", [1, 2, 3])
def test_one_that_starts_is_awaited_where_its_best_schedule_pays_for_the_rest_of_its_start(rest):
    def ask(gains: list[float], start: int, values: ReplicaValues) -> tuple[bool, float]:
        on = best(gains, start=start, first=min(1 + rest, len(gains) + 1), ready=True) - rest
        return values.arrives(1, rest * 5.0), on - best(gains, start=start, first=2, ready=False)

    assert answers(ask) == {True, False}


def test_a_new_one_is_started_where_its_best_schedule_pays_for_its_start():
    def ask(gains: list[float], start: int, values: ReplicaValues) -> tuple[bool, float]:
        on = best(gains, start=start, first=min(1 + start, len(gains) + 1), ready=True) - start
        return values.starts(1), on - best(gains, start=start, first=2, ready=False)

    assert answers(ask) == {True, False}


def test_a_start_that_costs_nothing_is_noticed(monkeypatch):
    def free(gains: list[float], *, start: int) -> Values:
        values = solve(gains, start=start)
        return Values(on=[value + start for value in values.on], off=values.off)

    monkeypatch.setattr(replica_value, "solve", free)
    with pytest.raises(AssertionError):
        test_a_new_one_is_started_where_its_best_schedule_pays_for_its_start()
    with pytest.raises(AssertionError):
        test_one_that_starts_is_awaited_where_its_best_schedule_pays_for_the_rest_of_its_start(1)
