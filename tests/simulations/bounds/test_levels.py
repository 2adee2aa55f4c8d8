"""The level program against trying every schedule, and its bound against every schedule's cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.bounds.levels import hull_cost, level_values


def schedules(steps: int, most: int, *, start_steps: int, initial: int):
    """Every (paid, serving) pair of a fleet of at most `most` interchangeable replicas."""
    singles = []
    for on in itertools.product((0, 1), repeat=steps):
        for early in (False, True):  # ready before the first step, or started at it
            serving = [0] * steps
            for t in range(steps):
                first = t
                while first > 0 and on[first - 1]:
                    first -= 1
                warm = early and first == 0
                serving[t] = int(on[t] and (warm or t - first >= start_steps))
            singles.append((early and bool(on[0]), on, tuple(serving)))
    singles = list(dict.fromkeys(singles))
    for group in itertools.combinations_with_replacement(singles, most):
        if sum(early for early, _, _ in group) <= initial:
            paid = sum(sum(on) for _, on, _ in group)
            serving = np.sum([s for _, _, s in group], axis=0)
            yield paid, serving


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    need=st.lists(st.floats(0, 2), min_size=3, max_size=5),
    start_steps=st.integers(0, 2),
    initial=st.integers(0, 1),
    price=st.floats(0.5, 20),
)
def test_value_is_that_of_the_best_schedule(need, start_steps, initial, price):
    need = np.array(need)
    most = int(np.ceil(need.max()))
    best = max(
        (
            price * np.minimum(need, serving).sum() - paid
            for paid, serving in schedules(
                len(need), most, start_steps=start_steps, initial=initial
            )
        ),
        default=0.0,
    )
    value = level_values(need, start_steps=start_steps, prices=np.array([price]), initial=initial)[
        0
    ]
    assert value == pytest.approx(best)


@pytest.mark.parametrize(
    ("name", "need", "start_steps", "expected"),
    [
        # two replicas all along, ready from the start: nothing to save
        ("flat", [2.0] * 10, 3, 20.0),
        # a gap shorter than a start is bridged: 2 steps paid for, against 3 for starting anew
        ("short gap", [1, 1, 1, 0, 0, 1, 1, 1], 3, 8.0),
        # a longer gap is left and started into: 3 + 3 on, 3 for the start
        ("long gap", [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1], 3, 9.0),
    ],
)
def test_all_work_costs_the_closed_form(name, need, start_steps, expected):
    need = np.array(need, dtype=float)
    prices = np.array([10.0, 100.0, 1000.0])
    values = level_values(
        need, start_steps=start_steps, prices=prices, initial=int(np.ceil(need[0]))
    )
    assert hull_cost(values, prices=prices, served=need.sum()) == pytest.approx(expected), name


def test_no_need_costs_only_the_floor():
    prices = np.array([1.0, 50.0])
    values = level_values(np.zeros(7), start_steps=2, prices=prices, floor=2, initial=2)
    assert hull_cost(values, prices=prices, served=0.0) == pytest.approx(14.0)
