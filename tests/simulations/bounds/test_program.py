"""The linear program: worked cases, and never dearer than any schedule of whole replicas."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.bounds.hull import NEGLIGIBLE, TOLERANCE, hull
from simulations.bounds.program import BoundPool, BoundWork
from simulations.bounds.program import least_cost as solution
from tests.extent import examples


def work(arrived, wait=0):
    arrived = np.array(arrived, dtype=float)
    due = np.zeros_like(arrived)
    for step, amount in enumerate(arrived):
        due[min(step + wait, len(arrived) - 1)] += amount
    return BoundWork(arrived=arrived, due=due)


def least_cost(*args, **options):
    return solution(*args, **options).cost


def pool(**overrides):
    return BoundPool(**({"price_per_step": 1.0, "start_steps": 0, "initial": 1} | overrides))


def test_work_that_may_wait_costs_less():
    burst = [0, 0, 4, 0, 0, 0]
    at_once = least_cost(work(burst), pools=(pool(start_steps=1),), given_up=0.0)
    spread = least_cost(work(burst, wait=3), pools=(pool(start_steps=1),), given_up=0.0)
    # at once: four replicas in one step, each paid for the step before; spread: one a step
    assert at_once == pytest.approx(8.0)
    assert spread == pytest.approx(5.0)


def test_what_is_given_up_need_not_be_paid():
    assert least_cost(work([1, 1, 1, 1]), pools=(pool(),), given_up=1.5) == pytest.approx(2.5)


def test_a_start_before_the_trace_is_only_the_initial_fleet():
    one = least_cost(work([1, 1, 1]), pools=(pool(start_steps=2, initial=1),), given_up=0.0)
    assert one == pytest.approx(3.0)
    from autoscaler.errors import InvariantBroken

    with pytest.raises(InvariantBroken, match="not solved"):
        least_cost(work([2, 2, 2]), pools=(pool(start_steps=2, initial=1),), given_up=0.0)


def test_spot_is_used_while_it_is_there():
    spot = pool(price_per_step=0.3, initial=2, available=np.array([2.0, 2.0, 0.0, 0.0]))
    dear = pool(price_per_step=1.0, initial=0, start_steps=1)
    cost = least_cost(work([1, 1, 1, 1]), pools=(spot, dear), given_up=0.0)
    # two steps of spot, two on demand, and the step in which on-demand starts
    assert cost == pytest.approx(0.3 * 2 + 1.0 * 3)


def test_the_floor_is_always_paid():
    cost = least_cost(work([0, 0, 0]), pools=(pool(initial=2),), given_up=0.0, replicas_min=2)
    assert cost == pytest.approx(6.0)


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
@settings(max_examples=examples(day=25, night=250))
@given(
    need=st.lists(st.floats(0, 2), min_size=3, max_size=5),
    start_steps=st.integers(0, 2),
    initial=st.integers(0, 1),
    share=st.floats(0.6, 1.0),
)
def test_no_schedule_of_whole_replicas_is_cheaper(need, start_steps, initial, share):
    """Fractional replicas, and work given up anywhere: the program can only be cheaper, or equal."""
    need = np.array(need)
    most = int(np.ceil(need.max()))
    given_up = (1.0 - share) * need.sum()
    costs = [
        paid
        for paid, serving in schedules(len(need), most, start_steps=start_steps, initial=initial)
        if np.minimum(need, serving).sum() >= need.sum() - given_up
    ]
    if costs:
        terms = {"pools": (pool(start_steps=start_steps, initial=initial),)}
        assert least_cost(work(need), given_up=given_up, **terms) <= min(costs) + 1e-6


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
    terms = {"pools": (pool(start_steps=start_steps, initial=int(np.ceil(need[0]))),)}
    assert least_cost(work(need), given_up=0.0, **terms) == pytest.approx(expected), name


@pytest.mark.slow
@settings(max_examples=examples(day=30, night=300))
@given(
    need=st.lists(st.floats(0, 3), min_size=4, max_size=12),
    start_steps=st.integers(0, 2),
    wait=st.integers(0, 2),
    market=st.none() | st.lists(st.integers(0, 2), min_size=12, max_size=12),
    floor=st.integers(0, 1),
    share=st.floats(0, 1),
)
def test_the_hull_is_below_the_program_and_close_to_it(
    need, start_steps, wait, market, floor, share
):
    day = work(need, wait)
    pools = [pool(start_steps=start_steps, initial=9)]
    if market is not None:
        there = np.array(market[: len(need)], dtype=float)
        pools.append(pool(price_per_step=0.3, initial=9, available=there))
    terms = {"pools": tuple(pools), "replicas_min": floor}
    total = float(day.due.sum())
    drawn = hull(lambda given_up: solution(day, given_up=given_up, **terms), most=total)
    truth = least_cost(day, given_up=share * total, **terms)
    assert drawn.at(share * total) <= truth + 1e-6
    slack = max(TOLERANCE * truth, NEGLIGIBLE * least_cost(day, given_up=0.0, **terms))
    assert drawn.at(share * total) >= truth - slack - 1e-6


def test_a_solution_is_a_line_below_every_other():
    terms = {"pools": (pool(start_steps=1),), "replicas_min": 1}
    day = work([1, 4, 0, 2, 5, 1, 0, 3], wait=1)
    middle = solution(day, given_up=3.0, **terms)
    assert middle.slope < 0
    for given_up in np.linspace(0, 16, 33):
        line = middle.cost + middle.slope * (given_up - 3.0)
        assert line <= least_cost(day, given_up=given_up, **terms) + 1e-9
