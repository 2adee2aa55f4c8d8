"""Each guard's rules, as scenarios of the whole engine with the policy's number put in its mouth."""

from __future__ import annotations

import pytest

from autoscaler.core.spec import Behavior, Mode, Pause, SelectPolicy
from tests.builders import (
    ON_DEMAND,
    SPOT,
    UNKNOWN,
    PoolNow,
    group,
    model,
    node,
    on_demand,
    rules,
    spot,
)
from tests.expect import POLICY_UNKNOWN, Scenario, expect

# -- the policy's number passes where nothing speaks against it


@pytest.mark.parametrize(
    ("wants", "desired", "direction"), [(5, 5, "Up"), (3, 3, "Hold"), (2, 2, "Down")]
)
def test_a_free_proposal_is_the_decision(wants, desired, direction):
    story = Scenario(model())
    decision = story.look(0.0, group(ready=3), wants=wants)
    expect(story, desired=desired, reason="Scripted", steps=[])
    assert decision.direction.value == direction
    assert story.commands == ([] if desired == 3 else [f"SetReplicas on-demand {desired}"])


# -- freshness


@pytest.mark.parametrize(
    ("rows", "cluster_age_s", "pools", "reason"),
    [
        pytest.param(group(ready=1, sample_age_s=UNKNOWN), 0.0, {}, "MetricsStale", id="one ready replica was never read"),
        pytest.param(group(ready=1, sample_age_s=20.1), 0.0, {}, "MetricsStale", id="its sample is too old"),
        pytest.param(group(ready=1), 30.1, {}, "ClusterStale", id="the cluster's state is too old"),
        pytest.param(group(ready=1), 0.0, {"on-demand": PoolNow(rolling_out=True)}, "RolloutInProgress", id="the target rolls out"),
    ],
)  # fmt: skip
def test_blind_means_hold_or_up_never_down(rows, cluster_age_s, pools, reason):
    story = Scenario(model())
    others = group(ready=3, name="read")
    told = {"cluster_age_s": cluster_age_s, "pools": pools}
    story.look(0.0, others, rows, wants=2, **told)
    expect(story, desired=4, reason=reason, steps=["freshness"], commands=[])
    story.look(5.0, others, rows, wants=6, **told)
    expect(story, desired=6, reason="Scripted")


@pytest.mark.parametrize(("sample_age_s", "cluster_age_s"), [(20.0, 0.0), (0.0, 30.0)])
def test_an_age_at_its_limit_is_fresh(sample_age_s, cluster_age_s):
    story = Scenario(model())
    story.look(0.0, group(ready=3, sample_age_s=sample_age_s), wants=2, cluster_age_s=cluster_age_s)
    expect(story, desired=2)


def test_a_replica_that_does_not_serve_owes_no_sample():
    """Starting ones have a closed port; those on their way out have left the counts."""
    story = Scenario(model())
    gone = group(deleting=1, sample_age_s=UNKNOWN)
    story.look(0.0, group(ready=3, starting=[10.0]), gone, wants=2)
    expect(story, desired=2)


def test_unknown_demand_holds():
    story = Scenario(model())
    decision = story.look(0.0, group(ready=3), wants=POLICY_UNKNOWN)
    expect(story, desired=3, conditions={"ScalingActive": "False/DemandUnknown"})
    assert decision.proposal_replicas is None


# -- capacity on its way, with an expiry

TWO_POOLS = [on_demand(), spot()]


def two_pools(**what):
    return model(pools=TWO_POOLS, warm=1, warm_on=ON_DEMAND, **what)


def test_a_starting_replica_is_supply():
    story = Scenario(model())
    story.look(0.0, group(ready=2, starting=[30.0, 100.0]), wants=4)
    expect(story, desired=4, commands=[])
    assert story.mouth.given.supply.ready == 2
    assert story.mouth.given.supply.starting_remaining_s == (80.0, 150.0)


@pytest.mark.parametrize(
    ("stuck", "stands_in"),
    [
        pytest.param({"starting": [100.0]}, 0, id="on its way"),
        pytest.param({"starting": [359.0]}, 0, id="overdue, but not given up"),
        pytest.param({"starting": [361.0]}, 1, id="expired at twice the cold start"),
        pytest.param({"unschedulable": [59.0]}, 0, id="unschedulable, a provisioner may be at it"),
        pytest.param({"unschedulable": [61.0]}, 1, id="unschedulable for too long"),
    ],
)
def test_a_stuck_level_is_asked_for_in_another_pool(stuck, stands_in):
    """Level 4: floor 1 on on-demand, 3 on spot, of which one is not there."""
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1), group("spot", ready=2, **stuck), wants=4)
    # Never in its own pool: spot stays at 3.
    expect(story, desired=4 + stands_in, pools={"on-demand": 1 + stands_in, "spot": 3})


def test_with_no_other_pool_it_holds_and_says_so():
    story = Scenario(model())
    story.look(0.0, group(ready=2, unschedulable=[400.0]), wants=3)
    expect(story, desired=3, commands=[], conditions={"ScalingLimited": "True/CapacityUnavailable"})


def test_a_pool_that_is_stuck_itself_is_not_asked():
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1, unschedulable=[400.0]), group("spot", ready=2, unschedulable=[400.0]), wants=4)  # fmt: skip
    expect(
        story,
        pools={"on-demand": 2, "spot": 3},
        conditions={"ScalingLimited": "True/CapacityUnavailable"},
    )


def test_the_cheapest_other_pool_that_can_have_it_is_asked_first():
    pools = [on_demand(), spot("spot-a", price=3.0), spot("spot-b", price=4.0)]
    story = Scenario(model(pools=pools))
    story.look(0.0, group("spot-a", ready=2, unschedulable=[400.0]), wants=3)
    expect(story, pools={"spot-a": 3, "spot-b": 1, "on-demand": 0})
    story.look(90.0, group("spot-a", ready=2, unschedulable=[490.0]), group("spot-b", unschedulable=[80.0]), wants=3)  # fmt: skip
    expect(story, pools={"spot-a": 3, "spot-b": 1, "on-demand": 1})


def test_a_stand_in_goes_when_its_principal_has_been_back_for_the_return_time():
    story = Scenario(two_pools())
    serving = group("spot", ready=2)
    for at, back, on_demand_replicas in [
        (0.0, group("spot", unschedulable=[70.0], name="x"), 2),
        (5.0, group("spot", starting=[5.0], name="x"), 2),
        (10.0, group("spot", ready=1, ready_age_s=299.0, name="x"), 2),
        (15.0, group("spot", ready=1, ready_age_s=300.0, name="x"), 1),
    ]:
        asked = 2 if at else 1
        story.look(at, group(ready=asked), serving, back, wants=4)
        expect(story, pools={"on-demand": on_demand_replicas, "spot": 3})
        # The policy is never shown the stand-in and its principal as two.
        assert story.mouth.given.supply.total <= 4


def test_at_the_maximum_a_stand_in_takes_the_stuck_ones_place():
    story = Scenario(two_pools(maximum=4))
    story.look(0.0, group(ready=1), group("spot", ready=2, unschedulable=[70.0]), wants=4)
    expect(story, desired=4, pools={"on-demand": 2, "spot": 2})
    # And stays there: the policy's level is 4, which is what there is.
    story.look(5.0, group(ready=2), group("spot", ready=2), wants=4)
    expect(story, desired=4, pools={"on-demand": 2, "spot": 2}, commands=[])


def test_pods_that_are_never_created_expire_like_those_that_never_get_ready():
    """A quota that is used up leaves no pod to look at, only a count that is short."""
    story = Scenario(two_pools())
    for at, on_demand_replicas in [(0.0, 1), (360.0, 1), (361.0, 2)]:
        story.look(at, group(ready=1), group("spot", ready=2), current={"spot": 3}, wants=4)
        expect(story, pools={"on-demand": on_demand_replicas, "spot": 3})


# -- stabilization


def test_a_scale_down_waits_for_the_highest_proposal_of_the_learnt_cold_start():
    story = Scenario(model(cold_start_s=60.0))
    for at, wants, desired in [
        (0.0, 5, 5),
        (5.0, 2, 5),
        (59.0, 2, 5),
        (60.0, 2, 2),  # age == window is outside
    ]:
        story.look(at, group(ready=5), wants=wants)
        expect(story, desired=desired)


def test_what_is_remembered_is_the_raw_proposal():
    """Remembering the stabilized number, one peak would hold itself up for ever."""
    story = Scenario(model(cold_start_s=60.0))
    story.look(0.0, group(ready=5), wants=5)
    for at in range(5, 60, 5):
        story.look(float(at), group(ready=5), wants=2)
        expect(story, desired=5)
    story.look(60.0, group(ready=5), wants=2)
    expect(story, desired=2)


def test_a_window_that_behavior_gives_is_obeyed():
    spec = model(cold_start_s=60.0, behavior=Behavior(scale_down=rules(window=20)))
    story = Scenario(spec)
    story.look(0.0, group(ready=5), wants=5)
    story.look(19.0, group(ready=5), wants=2)
    expect(story, desired=5, reason="ScaleDownStabilized")
    story.look(20.0, group(ready=5), wants=2)
    expect(story, desired=2)


def test_a_scale_up_window_takes_the_lowest():
    spec = model(behavior=Behavior(scale_up=rules(("Pods", 10, 15), window=30)))
    story = Scenario(spec)
    story.look(0.0, group(ready=2), wants=2)
    story.look(25.0, group(ready=2), wants=6)
    expect(story, desired=2, reason="ScaleUpStabilized")
    story.look(31.0, group(ready=2), wants=6)
    expect(story, desired=6)


@pytest.mark.parametrize(("wants", "desired"), [(11, 10), (12, 12), (5, 10), (4, 4)])
def test_tolerance_is_relative_to_the_replicas_and_its_edges_are_inside(wants, desired):
    behavior = Behavior(
        scale_up=rules(("Pods", 10, 15), tolerance=0.1),
        scale_down=rules(("Pods", 10, 15), tolerance=0.5, window=0),
    )
    story = Scenario(model(maximum=20, behavior=behavior))
    story.look(0.0, group(ready=10), wants=wants)
    expect(story, desired=desired)


def test_nothing_scales_down_until_a_window_is_full():
    story = Scenario(model(cold_start_s=60.0), settled=False)
    for at, desired in [(0.0, 4), (30.0, 4), (59.9, 4), (60.0, 1)]:
        story.look(at, group(ready=4), wants=1)
        expect(story, desired=desired)


def test_after_an_outage_the_window_fills_again():
    story = Scenario(model(cold_start_s=60.0))
    story.look(0.0, group(ready=4), wants=4)
    for at in range(5, 100, 5):
        story.look(float(at), group(ready=4, sample_age_s=UNKNOWN), wants=1)
        expect(story, desired=4)
    story.look(100.0, group(ready=4), wants=1)
    expect(story, desired=4, reason="ScaleDownStabilized")
    story.look(155.0, group(ready=4), wants=1)
    expect(story, desired=1)


# -- rate


def test_without_a_behavior_there_is_no_rate():
    story = Scenario(model(maximum=100))
    story.look(0.0, group(ready=1), wants=80)
    expect(story, desired=80)


def test_the_rate_counts_own_rescales_that_were_accepted():
    behavior = Behavior(scale_up=rules(("Pods", 2, 60)))
    story = Scenario(model(maximum=20, behavior=behavior))
    story.look(0.0, group(ready=1), wants=9)
    expect(story, desired=3, reason="ScaleUpLimit", commands=["SetReplicas on-demand 3"])
    story.finish_all(1.0, reason="Conflict")
    story.look(5.0, group(ready=1), wants=9)  # refused: it does not count
    expect(story, desired=3)
    story.finish_all(6.0)
    story.look(10.0, group(ready=3), wants=9)
    expect(story, desired=3)
    story.look(66.0, group(ready=3), wants=9)  # 60 s after it was accepted
    expect(story, desired=5)


@pytest.mark.parametrize(
    ("select", "desired"),
    [(SelectPolicy.MAX, 5), (SelectPolicy.MIN, 8), (SelectPolicy.DISABLED, 10)],
)
def test_select_policy(select, desired):
    behavior = Behavior(
        scale_down=rules(("Pods", 2, 60), ("Percent", 50, 60), window=0, select=select)
    )
    story = Scenario(model(maximum=20, behavior=behavior))
    story.look(0.0, group(ready=10), wants=1)
    expect(story, desired=desired)


# -- warm floor


@pytest.mark.parametrize(
    ("kind", "pools"),
    [
        (ON_DEMAND, {"on-demand": 2, "spot": 0}),
        (SPOT, {"on-demand": 0, "spot": 2}),
        (None, {"on-demand": 0, "spot": 2}),
    ],
)
def test_the_warm_floor_is_kept_on_its_capacity_type(kind, pools):
    story = Scenario(model(pools=TWO_POOLS, minimum=0, warm=2, warm_on=kind))
    story.look(0.0, group(ready=2), group("spot", ready=2), wants=0)
    expect(story, desired=2, pools=pools, steps=["warm_floor"], reason="WarmFloor")


def test_the_floor_counts_ready_replicas_that_are_not_doomed():
    story = Scenario(model(minimum=0, warm=2))
    story.look(0.0, group(ready=1, starting=[10.0]), wants=0)
    expect(story, desired=2, conditions={"WarmPoolSatisfied": "False/FloorNotReady"})
    story.look(5.0, group(ready=2), wants=0)
    expect(story, desired=2, conditions={"WarmPoolSatisfied": "True/FloorReady"})


def test_a_floor_that_is_stuck_is_asked_for_in_a_pool_of_its_type_before_another():
    pools = [on_demand("big"), on_demand("small", price=1.0), spot()]
    story = Scenario(model(pools=pools, warm=1, warm_on=ON_DEMAND))
    story.look(0.0, group("small", unschedulable=[70.0]), group("spot", ready=2), wants=3)
    expect(story, pools={"big": 1, "small": 1, "spot": 2})


def test_spot_stands_in_for_a_floor_that_nobody_can_have():
    story = Scenario(two_pools())
    story.look(0.0, group(unschedulable=[70.0]), group("spot", ready=2), wants=3)
    expect(story, pools={"on-demand": 1, "spot": 3})


# -- bounds


@pytest.mark.parametrize(("wants", "desired"), [(0, 2), (1, 2), (2, 2), (6, 6), (7, 6), (99, 6)])
def test_bounds(wants, desired):
    story = Scenario(model(minimum=2, maximum=6))
    story.look(0.0, group(ready=3), wants=wants)
    expect(story, desired=desired)


def test_bounds_bind_also_when_blind():
    """Min and max are the user's word, not something seen."""
    story = Scenario(model(maximum=2))
    story.look(0.0, group(ready=4, sample_age_s=UNKNOWN), wants=1)
    expect(story, desired=2, reason="TooManyReplicas")


# -- pause and mode


@pytest.mark.parametrize(
    ("pause", "wants", "desired", "reason"),
    [
        (Pause.ALL, 5, 3, "Paused"),
        (Pause.ALL, 1, 3, "Paused"),
        (Pause.SCALE_DOWN, 5, 5, "Scripted"),
        (Pause.SCALE_DOWN, 1, 3, "ScaleDownPaused"),
    ],
)
def test_pause(pause, wants, desired, reason):
    story = Scenario(model(pause=pause))
    story.look(0.0, group(ready=3), wants=wants)
    expect(story, desired=desired, reason=reason)
    assert bool(story.commands) == (desired != 3)


def test_observe_decides_and_never_acts():
    story = Scenario(model(mode=Mode.OBSERVE))
    story.look(0.0, group(ready=3), wants=5)
    expect(story, desired=5, commands=[], conditions={"ScalingActive": "False/Observing"})


# -- what cannot be read, and bugs


def test_a_target_that_cannot_be_read_holds_the_model():
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1), wants=5, current={"spot": None})
    expect(story, commands=[], reason="TargetUnreadable", conditions={"Ready": "False/TargetUnreadable"})  # fmt: skip
    assert story.decision.desired_replicas is None
    assert story.pool("spot").desired_replicas is None
    assert story.pool("on-demand").desired_replicas == 1


def test_somebody_elses_scale_is_met_as_hpa_would():
    """A proposal is a total: the next tick asks for it, through the window as any scale-down."""
    story = Scenario(model(cold_start_s=60.0))
    story.look(0.0, group(ready=3), wants=3)
    story.look(5.0, group(ready=8), wants=3)
    expect(story, desired=3)
    story.look(20.0, group(ready=1), wants=3)
    expect(story, desired=3, commands=["SetReplicas on-demand 3"])


def test_a_manual_raise_in_the_dearer_pool_is_not_moved_but_cut():
    story = Scenario(two_pools())
    story.look(0.0, group(ready=1), group("spot", ready=3), wants=4)
    story.look(5.0, group(ready=4), group("spot", ready=3), wants=5)
    expect(story, pools={"on-demand": 2, "spot": 3})


def test_dcgm_free_gpus_cap_the_starts_that_are_counted_on():
    """Two starts have no node yet; the nodes of their pool have one GPU free."""
    nodes = [node("spot-node", SPOT, gpus_free=1.0), node("on-demand-node", ON_DEMAND, gpus_free=8)]
    story = Scenario(two_pools())
    told = group("spot", starting=[1.0, 2.0], node="")
    story.look(0.0, group(ready=1), told, wants=3, nodes=nodes)
    assert story.mouth.given.supply.starting == 1
    nodes = [node("spot-node", SPOT, gpus_free=UNKNOWN), node("on-demand-node", ON_DEMAND, gpus_free=8)]  # fmt: skip
    story.look(5.0, group(ready=1), told, wants=3, nodes=nodes)
    assert story.mouth.given.supply.starting == 2  # unknown caps nothing


@pytest.mark.parametrize(
    ("climb", "counted"),
    [
        pytest.param([(0, None), (150, None)], True, id="unknown: until twice the cold start"),
        pytest.param([(0, None), (300, None)], False, id="unknown: given up after that"),
        pytest.param([(0, 0.0), (50, 0.0)], True, id="stands still: given up at the cold start"),
        pytest.param([(0, 0.0), (120, 0.0)], False, id="stands still after it"),
        pytest.param(
            [(0, 1e9), (150, 5e9), (290, 6e9)],
            True,
            id="rises: waited for past twice the cold start",
        ),
        pytest.param(
            [(0, 1e9), (150, 5e9), (299, 5e9)], False, id="rose, then nothing for a cold start"
        ),
        pytest.param(
            [(0, 8e9), (60, 0.0), (130, 7e9)], False, id="loads again after a crash: no new high"
        ),
    ],
)
def test_dcgm_framebuffer_tells_loading_from_stuck(climb, counted):
    """Cold start 100 s; the replica was bound 60 s before the first look but the first case."""
    spec = model(cold_start_s=100.0)
    story = Scenario(spec)
    for at, used in climb:
        told = group(starting=[at + 20.0], framebuffer_bytes=UNKNOWN if used is None else used)
        story.look(float(at), group(ready=1), told, wants=2)
    assert story.mouth.given.supply.starting == counted
