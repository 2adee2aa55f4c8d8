"""The small model of queues: nothing appears, nothing is lost, and more replicas never serve worse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoscaler.core.candidates.fleet_model import (
    REPLICAS_MAX,
    carried_by,
    chance_ratio,
    most_load,
    replicas_for,
    replicas_for_one,
    serve,
)

FLEETS = np.arange(0.0, 12.0)


def played(*, service_s: float, steps: int = 40, arrivals: float = 60.0):
    in_flight = np.zeros(len(FLEETS))
    late = []
    for step in range(steps):
        flow = serve(
            in_flight,
            arrivals=arrivals if step < steps // 2 else 0.0,
            ready=FLEETS,
            seats=5.0,
            service_s=service_s,
            step_s=15.0,
            slack_s=1.0,
        )
        in_flight = flow.in_flight
        late.append(flow.late_ratio)
    return in_flight, np.array(late)


@pytest.mark.parametrize("service_s", [0.5, 4.0, 40.0])
def test_more_replicas_never_serve_worse(service_s):
    in_flight, late = played(service_s=service_s)
    assert (np.diff(late, axis=1) <= 1e-12).all()
    assert (np.diff(in_flight) <= 1e-9).all()
    assert (late >= 0.0).all()
    assert (late <= 1.0).all()


def test_nobody_serves_and_all_wait_for_ever():
    in_flight, late = played(service_s=4.0)
    assert in_flight[0] == pytest.approx(20 * 60.0)
    assert (late[:20, 0] > 0.999).all()


def test_what_fits_is_never_late_and_leaves_as_it_is_served():
    flow = serve(
        np.array([10.0]),
        arrivals=0.0,
        ready=np.array([4.0]),
        seats=5.0,
        service_s=30.0,
        step_s=15.0,
        slack_s=1.0,
    )
    assert flow.in_flight[0] == pytest.approx(10.0 * math.exp(-0.5))
    assert flow.late_ratio[0] == 0.0


def test_as_many_replicas_as_carry_a_load():
    for count in (1, 2, 5, 40, 300):
        assert replicas_for(np.array([carried_by(count)]))[0] == count
        assert replicas_for(np.array([carried_by(count) + 0.1]))[0] == count + 1
    assert replicas_for(np.array([0.0]))[0] == 0
    assert replicas_for(np.array([1e9]))[0] == REPLICAS_MAX
    assert carried_by(4.0) == pytest.approx(4.0)
    assert carried_by(0.5) == pytest.approx(0.5 * carried_by(1.0))
    assert carried_by(2.5) == pytest.approx((carried_by(2) + carried_by(3)) / 2)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 300])
def test_the_greatest_load_of_so_many_replicas_is_where_one_more_begins(count):
    load = most_load(count)
    assert replicas_for(np.array([load - 1e-9]))[0] == count
    assert replicas_for(np.array([load + 1e-9]))[0] == count + 1


@pytest.mark.parametrize(
    ("least", "most"), [(0, REPLICAS_MAX), (1, 1), (3, 7), (9, 2), (2, REPLICAS_MAX + 5)]
)
def test_bounds_are_kept_and_one_load_asks_for_what_it_does_among_many(least, most):
    """Where both cannot be kept, the most is."""
    loads = [0.0, 0.01, 0.5, carried_by(1), carried_by(3), 3.3, 6.99, 250.0, 1e9]
    ones = [replicas_for_one(load) for load in loads]
    assert ones[-1] == REPLICAS_MAX
    assert replicas_for(np.array(loads), least=least, most=most).tolist() == [
        min(max(one, least), most) for one in ones
    ]


def test_chance_is_the_budget_at_the_load_that_is_carried_and_rises_with_it():
    ready = np.array([1.0, 4.0, 16.0, 300.0])
    at_capacity = [
        chance_ratio(
            carried_by(count), ready=np.array([count]), carried_ratio=np.ones(1), budget_ratio=0.01
        )[0]
        for count in ready.tolist()
    ]
    assert at_capacity == pytest.approx([0.01] * 4)
    low, high = (
        chance_ratio(load, ready=ready, carried_ratio=np.ones(4), budget_ratio=0.01)
        for load in (0.5, 0.9)
    )
    assert (low < high).all()
    assert (np.diff(low) < 0.0).all(), "the same load on more replicas"
    half = chance_ratio(0.45, ready=ready, carried_ratio=np.full(4, 0.5), budget_ratio=0.01)
    assert half == pytest.approx(high), "half of the load on replicas that carry half"
