"""HPA's stabilization and rate limits, by hand-worked tables.

The real controller's recorded decisions are replayed on the same functions by the conformance suite of the
simulations; here each rule has its name.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core import hpa
from autoscaler.core.contract.spec import SelectPolicy
from autoscaler.core.hpa import HpaMemory
from tests.builders import rules
from tests.core.checkpoints import through_json


@pytest.mark.parametrize(
    ("ratio", "up", "down", "inside"),
    [
        (1.0, 0.1, 0.1, True),
        (1.1, 0.1, 0.1, True),
        (0.9, 0.1, 0.1, True),
        (44.001 / 40, 0.1, 0.1, False),
        (0.899, 0.1, 0.1, False),
        (1.0001, 0.0, 0.5, False),
        (0.5, 0.0, 0.5, True),
        (0.4999, 0.0, 0.5, False),
        (float("nan"), 0.1, 0.1, False),
        (float("inf"), 0.1, 0.1, False),
    ],
)
def test_tolerance(ratio, up, down, inside):
    assert hpa.within_tolerance(ratio, up_ratio=up, down_ratio=down) is inside


@pytest.mark.parametrize(
    ("remembered", "current", "proposal", "up_s", "down_s", "after", "reason"),
    [
        pytest.param([(90.0, 9)], 5, 3, 0, 60, 5, "ScaleDownStabilized", id="held at the current"),
        pytest.param([(90.0, 4)], 5, 3, 0, 60, 4, "ScaleDownStabilized", id="down to the highest"),
        pytest.param([(40.0, 9)], 5, 3, 0, 60, 3, "ReadyForNewScale", id="age == window: outside"),
        pytest.param([(90.0, 2)], 5, 9, 60, 60, 5, "ScaleUpStabilized", id="up held by the lowest"),
        pytest.param([(90.0, 7)], 5, 9, 60, 60, 7, "ScaleUpStabilized", id="up to the lowest"),
        pytest.param([(90.0, 2)], 5, 9, 0, 60, 9, "ReadyForNewScale", id="no up window: at once"),
        pytest.param([(100.0, 2)], 5, 9, 0, 60, 9, "ReadyForNewScale", id="up window 0 holds nothing, not even now"),
        pytest.param([(95.0, 2), (90.0, 9)], 5, 5, 60, 60, 5, "ReadyForNewScale", id="both windows at once"),
    ],
)  # fmt: skip
def test_stabilization(remembered, current, proposal, up_s, down_s, after, reason):
    limited = hpa.stabilize(
        list(remembered),
        at=100.0,
        current=current,
        proposal=proposal,
        up_window_s=up_s,
        down_window_s=down_s,
    )
    assert (limited.replicas, limited.reason) == (after, reason)


def test_the_raw_proposal_takes_the_slot_of_one_that_is_too_old():
    slots = [(0.0, 8), (90.0, 7)]
    hpa.stabilize(slots, at=100.0, current=8, proposal=2, down_window_s=50.0)
    assert slots == [(100.0, 2), (90.0, 7)]
    hpa.stabilize(slots, at=105.0, current=8, proposal=3, down_window_s=50.0)
    assert slots == [(100.0, 2), (90.0, 7), (105.0, 3)]
    # One that the longer of the two windows still needs keeps its slot.
    slots = [(60.0, 8)]
    hpa.stabilize(slots, at=100.0, current=8, proposal=2, up_window_s=50.0, down_window_s=10.0)
    assert slots == [(60.0, 8), (100.0, 2)]


MAX, MIN, DISABLED = SelectPolicy.MAX, SelectPolicy.MIN, SelectPolicy.DISABLED


@pytest.mark.parametrize(
    ("policies", "select", "current", "ups", "downs", "limit"),
    [
        pytest.param([], MAX, 1, [], [], 5, id="defaults: four pods"),
        pytest.param([], MAX, 10, [], [], 20, id="defaults: or double"),
        pytest.param([("Pods", 2, 60)], MAX, 3, [], [], 5, id="pods"),
        pytest.param([("Percent", 10, 60)], MAX, 1, [], [], 2, id="a percentage is rounded up"),
        pytest.param([("Percent", 30, 60)], MAX, 7, [], [], 10, id="7 * 1.3 = 9.1"),
        pytest.param([("Pods", 2, 60), ("Percent", 100, 60)], MAX, 3, [], [], 6, id="max"),
        pytest.param([("Pods", 2, 60), ("Percent", 100, 60)], MIN, 3, [], [], 5, id="min"),
        pytest.param([("Pods", 2, 60)], DISABLED, 3, [], [], 3, id="disabled"),
        pytest.param([("Pods", 2, 60)], MAX, 5, [(50.0, 2)], [], 5, id="used up in the period"),
        pytest.param([("Pods", 2, 60)], MAX, 5, [(40.0, 2)], [], 7, id="age == period is outside"),
        pytest.param([("Pods", 2, 60)], MAX, 5, [(50.0, 3)], [], 4, id="below the current: not at all"),
        pytest.param([("Pods", 2, 60)], MAX, 3, [], [(50.0, 2)], 7, id="what was removed may come back"),
        pytest.param([("Percent", 100, 60)], MAX, 4, [(50.0, 2)], [], 4, id="of the period's start"),
    ],
)  # fmt: skip
def test_scale_up_limit(policies, select, current, ups, downs, limit):
    memory = HpaMemory(scale_ups=list(ups), scale_downs=list(downs))
    found = hpa.scale_up_limit(
        memory, at=100.0, current=current, rules=rules(*policies, select=select)
    )
    assert found == limit


@pytest.mark.parametrize(
    ("policies", "select", "current", "ups", "downs", "limit"),
    [
        pytest.param([], MAX, 10, [], [], 0, id="default: all of it"),
        pytest.param([("Pods", 2, 60)], MAX, 5, [], [], 3, id="pods"),
        pytest.param([("Percent", 50, 60)], MAX, 3, [], [], 1, id="cut towards zero: 1.5 leaves 1"),
        pytest.param([("Percent", 10, 60)], MAX, 1, [], [], 0, id="0.9 leaves 0"),
        pytest.param([("Percent", 30, 60)], MAX, 10, [], [], 7, id="7.0 leaves 7"),
        pytest.param([("Pods", 2, 60), ("Percent", 50, 60)], MAX, 10, [], [], 5, id="max: most change"),
        pytest.param([("Pods", 2, 60), ("Percent", 50, 60)], MIN, 10, [], [], 8, id="min: least change"),
        pytest.param([("Pods", 2, 60)], DISABLED, 10, [], [], 10, id="disabled"),
        pytest.param([("Pods", 2, 60)], MAX, 3, [], [(50.0, 2)], 3, id="used up"),
        pytest.param([("Pods", 2, 60)], MAX, 3, [], [(40.0, 2)], 1, id="age == period is outside"),
        pytest.param([("Pods", 2, 60)], MAX, 6, [(50.0, 3)], [], 1, id="what was added may go"),
    ],
)  # fmt: skip
def test_scale_down_limit(policies, select, current, ups, downs, limit):
    memory = HpaMemory(scale_ups=list(ups), scale_downs=list(downs))
    found = hpa.scale_down_limit(
        memory, at=100.0, current=current, rules=rules(*policies, select=select)
    )
    assert found == limit


@pytest.mark.parametrize(
    ("current", "proposal", "after", "reason"),
    [
        (4, 9, 6, "ScaleUpLimit"),
        (7, 1, 6, "ScaleDownLimit"),
        (4, 4, 4, "DesiredWithinRange"),
        (4, 5, 5, "DesiredWithinRange"),
    ],
)
def test_limit_rate(current, proposal, after, reason):
    limited = hpa.limit_rate(
        HpaMemory(),
        at=0.0,
        current=current,
        proposal=proposal,
        up=rules(("Pods", 2, 60)),
        down=rules(("Pods", 1, 60)),
    )
    assert (limited.replicas, limited.reason) == (after, reason)


def test_a_limit_that_contradicts_the_direction_is_the_current():
    memory = HpaMemory(scale_ups=[(90.0, 5)])
    limited = hpa.limit_rate(
        memory, at=100.0, current=6, proposal=9, up=rules(("Pods", 2, 60)), down=None
    )
    assert limited.replicas == 6


def test_rescales_are_remembered_for_the_longest_period_of_their_direction():
    memory = HpaMemory()
    up, down = rules(("Pods", 2, 60), ("Pods", 4, 180)), rules(("Pods", 2, 30))
    for at, before, after in [
        (0.0, 1, 3),
        (100.0, 3, 5),
        (180.0, 5, 6),
        (181.0, 6, 4),
        (182.0, 4, 4),
    ]:
        hpa.remember_rescale(memory, at=at, before=before, after=after, up=up, down=down)
    assert memory.scale_ups == [(180.0, 1), (100.0, 2)]
    assert memory.scale_downs == [(181.0, 2)]


def test_memory_comes_back_from_a_checkpoint():
    memory = HpaMemory(recommendations=[(1.0, 2)], scale_ups=[(3.0, 4)], scale_downs=[(5.0, 6)])
    assert through_json(memory) == memory


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), min_size=1, max_size=40),
    st.integers(0, 120),
    st.integers(0, 120),
)
def test_slots_forget_nothing_that_a_window_needs(story, up_s, down_s):
    """Against the plain definition: minimum and maximum over everything that was ever proposed."""
    slots: list[tuple[float, int]] = []
    ever: list[tuple[float, int]] = []
    at, current = 0.0, 5
    for pause, proposal in story:
        at += pause
        lowest = min([proposal, *(n for t, n in ever if at - t < up_s)])
        highest = max([proposal, *(n for t, n in ever if at - t < down_s)])
        limited = hpa.stabilize(
            slots,
            at=at,
            current=current,
            proposal=proposal,
            up_window_s=up_s,
            down_window_s=down_s,
        )
        assert limited.replicas == min(max(current, lowest), highest)
        ever.append((at, proposal))
        current = limited.replicas
