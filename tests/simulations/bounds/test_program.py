"""The linear program: worked cases, and never above the level program where nothing may wait."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.bounds.hull import NEGLIGIBLE, TOLERANCE, hull
from simulations.bounds.levels import hull_cost, level_values
from simulations.bounds.program import BoundPool, Workload
from simulations.bounds.program import least_cost as solution


def work(arrived, wait=0):
    arrived = np.array(arrived, dtype=float)
    due = np.zeros_like(arrived)
    for step, amount in enumerate(arrived):
        due[min(step + wait, len(arrived) - 1)] += amount
    return Workload(arrived=arrived, due=due)


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


@settings(max_examples=40, deadline=None)
@given(
    need=st.lists(st.floats(0, 3), min_size=4, max_size=14),
    start_steps=st.integers(0, 3),
    share=st.floats(0.6, 1.0),
)
def test_never_above_the_level_program(need, start_steps, share):
    need = np.array(need)
    if need.sum() < 0.5:
        return
    initial = int(np.ceil(need.max()))
    prices = np.geomspace(0.5, 500, 60)
    values = level_values(need, start_steps=start_steps, prices=prices, initial=initial)
    served = need.sum() * share
    cost = least_cost(
        work(need),
        pools=(pool(start_steps=start_steps, initial=initial),),
        given_up=need.sum() - served,
    )
    # fractional replicas and work given up anywhere: the program can only be cheaper, or equal
    grid = 1e-6 + 0.12 * served  # the hull is drawn at 60 prices, which costs a little
    assert cost <= hull_cost(values, prices=prices, served=served) + grid


@settings(max_examples=30, deadline=None)
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
