"""What always holds of the warm floor of a moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.contract.schedules import DAY_S, FloorSchedule
from autoscaler.core.contract.spec import RampMode, WarmFloor
from autoscaler.core.forecast.ramp import RampMemory
from autoscaler.core.pools.floor import find_floor, in_force
from autoscaler.core.pools.order import order_pools
from autoscaler.settings.time_zones import read_time_zone
from tests.builders import MIXED, ON_DEMAND, SPOT, mixed, model, on_demand, spot
from tests.extent import examples

ZONES = [read_time_zone(name) for name in ("UTC", "Europe/Berlin", "America/New_York")]


@st.composite
def schedules(draw) -> FloorSchedule:
    from_s = draw(st.integers(0, DAY_S - 1))
    return FloorSchedule(
        days=tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1)))),
        from_s=from_s,
        to_s=from_s + draw(st.integers(1, DAY_S)),
        time_zone=draw(st.sampled_from(ZONES)),
        replicas=draw(st.integers(1, 20)),
        text="at times",
    )


@st.composite
def specs(draw):
    maximum = draw(st.integers(1, 20))
    floor = WarmFloor(
        replicas=draw(st.integers(0, maximum)),
        capacity_type=draw(st.sampled_from([ON_DEMAND, SPOT, MIXED, None])),
        ramp=draw(st.sampled_from(list(RampMode))),
        schedules=tuple(draw(st.lists(schedules(), max_size=4))),
    )
    pools = draw(st.sampled_from([[on_demand(), spot(price=2.0)], [mixed()], [spot(), mixed()]]))
    return replace(model(maximum=maximum, pools=pools), warm_floor=floor)


@pytest.mark.slow
@given(
    spec=specs(),
    at=st.floats(1.6e9, 2.4e9),
    ahead_s=st.floats(0.0, 7_200.0),
    ramp=st.none() | st.integers(0, 50),
)
@settings(max_examples=examples(day=150, night=5_000), deadline=None)
def test_it_lies_between_what_is_kept_always_and_the_maximum(spec, at, ahead_s, ramp):
    order = order_pools(spec)
    memory = RampMemory(replicas=ramp)
    floor = find_floor(spec, order, at=at, ahead_s=ahead_s, ramp=memory)
    assert spec.warm_floor.replicas <= floor.replicas <= spec.max_replicas
    assert spec.warm_floor.replicas <= floor.due_replicas <= floor.replicas
    assert spec.warm_floor.replicas <= floor.told_replicas <= floor.replicas
    assert (floor.replicas == spec.warm_floor.replicas) or floor.why
    begun = find_floor(spec, order, at=at, ahead_s=0.0, ramp=memory)
    assert begun.replicas == begun.due_replicas == floor.due_replicas
    decided, placed = in_force(spec, order, floor)
    assert decided.warm_floor.replicas == floor.replicas
    assert placed == order_pools(decided)
