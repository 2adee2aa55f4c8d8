"""Load that ramps, and comes back: what the forecast is for, as a scenario of the whole core."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from autoscaler.core.contract.spec import ForecastMode
from tests.builders import ON_DEMAND, model
from tests.core.serving import Serving

TICK_S = 5.0
RAMP = [(15.0, 2.0), (15.0, 5.0), (15.0, 8.0), (15.0, 11.0), (40.0, 13.0)]
"""Seconds and requests per second: to two and a half replicas of 32 in flight."""
MINUTES_15_S = 900.0


@dataclass
class Ramp:
    """How one ramp was met."""

    waiting_request_s: float
    asked_after_s: dict[int, float] = field(default_factory=dict)
    """Replicas -> seconds after the ramp's start."""


def serving(mode: ForecastMode, *, seed: int, cold_start_s: float = 20.0) -> Serving:
    spec = model(
        minimum=1, maximum=4, warm=1, warm_on=ON_DEMAND, cold_start_s=cold_start_s, forecast=mode
    )
    spread = (0.9 * cold_start_s, 1.1 * cold_start_s)
    return Serving(spec=spec, seed=seed, cold_start_s=spread)


def three_ramps(mode: ForecastMode, *, seed: int) -> list[Ramp]:
    world = serving(mode, seed=seed)
    ramps = []
    for _ in range(3):
        begun, before = world.now, world.waiting_request_s
        world.play(RAMP)
        world.wait_for_floor(at_most_s=MINUTES_15_S)
        ramp = Ramp(waiting_request_s=world.waiting_request_s - before)
        for replicas in (2, 3):
            ramp.asked_after_s[replicas] = world.first_desired(replicas, since=begun)
        ramps.append(ramp)
    return ramps


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_third_of_three_equal_ramps_is_met_in_advance(seed):
    """`Auto` asks for the second and third replica a tick before `Off`, and halves the queue."""
    auto = three_ramps(ForecastMode.AUTO, seed=seed)[2]
    off = three_ramps(ForecastMode.OFF, seed=seed)[2]
    print(f"\nAuto {auto}\nOff  {off}")
    for replicas in (2, 3):
        assert auto.asked_after_s[replicas] <= off.asked_after_s[replicas] - TICK_S
    assert auto.waiting_request_s <= 0.5 * off.waiting_request_s


@pytest.mark.slow
@pytest.mark.parametrize("mode", ForecastMode)
@pytest.mark.parametrize("cold_start_s", [20.0, 60.0, 180.0])
def test_after_a_burst_the_fleet_is_back_at_the_floor_within_fifteen_minutes(mode, cold_start_s):
    """Out of nothing to two and a half replicas and back: it must not be waited for, for hours."""
    world = serving(mode, seed=1, cold_start_s=cold_start_s)
    world.play([(60.0, 0.0), (180.0, 13.0)])
    assert max(decision.desired_replicas for _, decision in world.decisions) >= 3
    took_s = world.wait_for_floor(at_most_s=MINUTES_15_S)
    print(f"\n{mode}, {cold_start_s:.0f} s: at the floor after {took_s:.0f} s")
    world.play([(300.0, 0.0)])
    assert {decision.desired_replicas for _, decision in world.decisions[-50:]} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ForecastMode)
def test_a_steady_load_is_served_without_a_queue_and_without_flapping(mode):
    """Half an hour at 60 % of three replicas: the scale stands still for most of it."""
    world = serving(mode, seed=3)
    world.play([(600.0, 9.0)])
    begun, before = world.now, world.waiting_request_s
    world.play([(1800.0, 9.0)])
    desired = [decision.desired_replicas for at, decision in world.decisions if at >= begun]
    assert world.waiting_request_s - before < 1800.0, "less than one request waits on average"
    assert min(desired) >= 2
    assert sum(a != b for a, b in pairwise(desired)) <= 6
