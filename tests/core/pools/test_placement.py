"""Where a number of replicas goes: floor, rest, stand-ins and fallback, pool by pool."""

from __future__ import annotations

import pytest

from autoscaler.core.pools.order import order_pools
from tests.builders import ON_DEMAND, SPOT, PoolNow, group, mixed, model, on_demand, promised, spot
from tests.core.interrupted import fleet
from tests.expect import POLICY_UNKNOWN, Scenario, expect
from tests.rows import Row

O, S, M = on_demand(), spot(), mixed()  # noqa: E741  as short as the tables need


@pytest.mark.parametrize(
    ("pools", "warm_on", "preference", "floor", "fallback"),
    [
        pytest.param([O], None, ["on-demand"], None, "on-demand", id="one pool"),
        pytest.param([O, S], ON_DEMAND, ["spot", "on-demand"], "on-demand", "on-demand", id="the usual"),
        pytest.param([O, S], SPOT, ["spot", "on-demand"], None, "on-demand", id="a floor on spot"),
        pytest.param([O, M], ON_DEMAND, ["mixed", "on-demand"], "on-demand", "on-demand", id="mixed before on-demand"),
        pytest.param([M, S], None, ["spot", "mixed"], None, None, id="spot before mixed; no on-demand"),
        pytest.param([spot("b", price=2.0), spot("a", price=1.0)], None, ["a", "b"], None, None, id="the cheapest first"),
        pytest.param([spot("b"), spot("a", price=9.0)], None, ["a", "b"], None, None, id="a price that is not given comes last"),
        pytest.param([spot("b", price=1.0), spot("a", price=1.0)], None, ["b", "a"], None, None, id="a tie goes by the spec"),
    ],
)  # fmt: skip
def test_the_order_of_pools(pools, warm_on, preference, floor, fallback):
    spec = model(pools=pools, warm=1, warm_on=warm_on)
    found = order_pools(spec)
    names = [pool.name for pool in spec.pools]
    assert [names[index] for index in found.preference] == preference
    assert (None if found.floor is None else names[found.floor]) == floor
    assert (None if found.fallback is None else names[found.fallback]) == fallback


@pytest.mark.parametrize(
    ("pools", "warm", "warm_on", "wants", "desired"),
    [
        ([O], 0, None, 3, {"on-demand": 3}),
        ([O, S], 0, None, 3, {"on-demand": 0, "spot": 3}),
        ([O, S], 1, ON_DEMAND, 3, {"on-demand": 1, "spot": 2}),
        ([O, S], 2, ON_DEMAND, 2, {"on-demand": 2, "spot": 0}),
        ([O, S], 2, ON_DEMAND, 1, {"on-demand": 2, "spot": 0}),
        ([O, S], 2, SPOT, 1, {"on-demand": 0, "spot": 2}),
        ([O, S, M], 1, ON_DEMAND, 4, {"on-demand": 1, "spot": 3, "mixed": 0}),
        ([O, M], 1, ON_DEMAND, 4, {"on-demand": 1, "mixed": 3}),
        ([M], 1, ON_DEMAND, 4, {"mixed": 4}),
        ([O, on_demand("cheap", price=1.0)], 1, ON_DEMAND, 4, {"on-demand": 0, "cheap": 4}),
    ],
)
def test_a_number_out_of_nothing(pools, warm, warm_on, wants, desired):
    story = Scenario(model(pools=pools, warm=warm, warm_on=warm_on))
    story.look(0.0, wants=wants)
    expect(story, pools=desired)


def test_a_cheaper_pool_takes_over_without_a_dip():
    """A price changed: what serves goes only as the other pool's replicas are ready for long."""
    a, b = spot("a", price=1.0), spot("b", price=2.0)
    story = Scenario(model(pools=[a, b]))
    for at, rows, desired in [
        (0.0, [group("b", ready=3)], {"a": 3, "b": 3}),
        (5.0, [group("a", starting=[5.0] * 3), group("b", ready=3)], {"a": 3, "b": 3}),
        (100.0, [group("a", ready=2, ready_age_s=20.0), group("a", starting=[90.0]), group("b", ready=3)], {"a": 3, "b": 3}),
        (400.0, [group("a", ready=2, ready_age_s=320.0), group("a", starting=[90.0]), group("b", ready=3)], {"a": 3, "b": 1}),
        (700.0, [group("a", ready=3, ready_age_s=320.0), group("b", ready=1)], {"a": 3, "b": 0}),
    ]:  # fmt: skip
        story.look(at, *rows, wants=3)
        expect(story, pools=desired)


def test_a_scale_down_takes_the_dearer_replicas_first():
    story = Scenario(model(pools=[O, S], warm=1, warm_on=ON_DEMAND))
    # Two more on on-demand than placement put there: somebody scaled it by hand.
    story.look(0.0, group(ready=3), group("spot", ready=3), wants=5)
    expect(story, pools={"on-demand": 2, "spot": 3})
    story.look(300.0, group(ready=2), group("spot", ready=3), wants=4)
    expect(story, pools={"on-demand": 1, "spot": 3})
    story.look(600.0, group(ready=1), group("spot", ready=3), wants=3)
    expect(story, pools={"on-demand": 1, "spot": 2})


def test_replicas_that_are_needed_anyway_move_to_the_cheaper_pool():
    story = Scenario(model(pools=[O, S], warm=1, warm_on=ON_DEMAND))
    story.look(0.0, group(ready=3), group("spot", ready=3), wants=6)
    expect(story, pools={"on-demand": 3, "spot": 5})
    story.look(500.0, group(ready=3), group("spot", ready=5, ready_age_s=400.0), wants=6)
    expect(story, pools={"on-demand": 1, "spot": 5})


def test_who_stands_in_for_a_stuck_floor_is_not_stood_in_for_again():
    """As long as the demand is unknown, what serves is held. It grew by one a tick, up to the maximum."""
    story = Scenario(model(pools=[O, S], warm=1, warm_on=ON_DEMAND))
    stuck = group(starting=[4000.0])
    story.look(0.0, stuck, group("spot", ready=3), wants=4)
    expect(story, pools={"on-demand": 1, "spot": 4}, reason="StandsIn")
    for tick in range(1, 6):
        story.look(5.0 * tick, stuck, group("spot", ready=4), wants=POLICY_UNKNOWN)
        expect(story, pools={"on-demand": 1, "spot": 4})
    # somebody sets another number, and that is what serves
    story.look(30.0, stuck, group("spot", ready=6), wants=POLICY_UNKNOWN)
    expect(story, pools={"on-demand": 1, "spot": 6})
    # the floor is there: they go, and what serves stays
    for at in (35.0, 40.0):  # the write is not seen at once
        story.look(at, group(ready=1), group("spot", ready=6), wants=POLICY_UNKNOWN)
        expect(story, pools={"on-demand": 1, "spot": 5})
    for at in (45.0, 50.0):
        story.look(at, group(ready=1), group("spot", ready=5), wants=POLICY_UNKNOWN)
        expect(story, pools={"on-demand": 1, "spot": 5})


def test_at_the_maximum_a_stand_in_gives_way_and_is_none_of_those_that_serve():
    story = Scenario(model(pools=[O, S], warm=1, warm_on=ON_DEMAND, maximum=4))
    stuck = group(starting=[4000.0])
    for tick, wants in enumerate((3, POLICY_UNKNOWN, POLICY_UNKNOWN, 3)):
        story.look(5.0 * tick, stuck, group("spot", ready=3 if tick else 2), wants=wants)
        expect(story, pools={"on-demand": 1, "spot": 3})
        assert story.mouth.given is not None
        assert story.decision.trail[0].after == 3
    story.look(20.0, stuck, group("spot", ready=3), wants=4)
    expect(story, pools={"on-demand": 1, "spot": 3}, reason="TooManyReplicas")


def test_a_pool_with_doomed_replicas_is_not_cut_below_what_it_keeps_and_those():
    """Its ReplicaSet might keep just the doomed ones."""
    from tests.builders import notice

    story = Scenario(model(minimum=0, warm=1))
    rows = [group(ready=2), group(ready=2, node="n2", name="x")]
    doomed = [notice("n2", deadline_at=500.0)]
    story.look(0.0, *rows, wants=1, interruptions=doomed)
    expect(story, desired=3, steps=["placement"], reason="PoolsHeld")
    story.look(5.0, group(ready=2, deleting=2), wants=1)
    expect(story, desired=1)


def test_a_rollout_pins_its_own_pool():
    story = Scenario(model(pools=[O, S], warm=1, warm_on=ON_DEMAND))
    story.look(
        0.0, group(ready=1), group("spot", ready=3), wants=2,
        pools={"spot": PoolNow(rolling_out=True)},
    )  # fmt: skip
    expect(story, pools={"on-demand": 1, "spot": 3}, reason="RolloutInProgress")


def test_promises_on_a_pool_that_no_longer_carries_the_fallback_are_taken_away():
    """Somebody made another on-demand pool the cheapest. What stands in stays as long as it does."""
    pools = [on_demand("old", price=5.0), on_demand("new", price=4.0), spot(price=1.0)]
    story = Scenario(model(pools=pools))
    told = {"old": PoolNow(promises=(promised("s1", 2, since=0.0),))}
    rows = [group("old", ready=2), group("spot", ready=1), group("spot", starting=[10.0, 10.0])]
    story.look(100.0, *rows, wants=3, pools=told)
    expect(story, pools={"old": 2, "new": 0, "spot": 3}, commands=["Annotate old None"])


@pytest.mark.parametrize("count", [1, 3])
def test_spot_that_ceased_to_be_ready_a_moment_ago_is_not_bought_again(count):
    """A probe that failed once, a kubelet's restart, all of them at once: each bought on-demand for minutes."""
    story = Scenario(fleet())
    for at, since_s in [(100.0, 2.0), (105.0, 7.0), (160.0, 62.0)]:
        blinking = [
            Row(
                name=f"b{i}",
                pool="spot",
                node="s1",
                age_s=7200.0,
                scheduled_age_s=7200.0,
                not_ready_age_s=since_s,
            )
            for i in range(count)
        ]
        story.look(at, group(ready=1), group("spot", ready=3 - count), blinking, wants=4)
        expect(story, pools={"on-demand": 1, "spot": 3}, commands=[])
