"""Each guard's rules, as scenarios of the whole engine with the policy's number put in its mouth."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.spec import Behavior, Mode, Pause, SelectPolicy
from tests.builders import ON_DEMAND, SPOT, UNKNOWN, PoolNow, group, model, on_demand, rules, spot
from tests.expect import POLICY_UNKNOWN, Scenario, expect

TWO_POOLS = [on_demand(), spot()]


def two_pools(**what):
    return model(pools=TWO_POOLS, warm=1, warm_on=ON_DEMAND, **what)


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
        pytest.param(group(ready=1, running=UNKNOWN), 0.0, {}, "MetricsStale", id="its page has no such series"),
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


@pytest.mark.parametrize("every", [4, 12])
def test_a_blink_now_and_then_does_not_fill_the_window_again(every):
    """Samples of a Prometheus that scrapes each minute were stale on one tick in twelve: four replicas stayed
    for six hours at a tenth of one's load."""
    story = Scenario(model(cold_start_s=60.0))
    for tick in range(40):
        stale_s = 70.0 if tick % every == every - 1 else 1.0
        story.look(
            5.0 * tick, group(ready=3), group(ready=1, name="late", sample_age_s=stale_s), wants=1
        )
    story.look(200.0, group(ready=4), wants=1)
    expect(story, desired=1)


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
        (Pause.SCALE_UP, 5, 3, "ScaleUpPaused"),
        (Pause.SCALE_UP, 1, 1, "Scripted"),
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
