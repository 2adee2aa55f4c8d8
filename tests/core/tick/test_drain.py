"""Doomed nodes: what is promised, raised, cordoned, evicted and released, tick by tick."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.spec import ForecastMode
from tests.builders import (
    MIXED,
    ON_DEMAND,
    SPOT,
    UNKNOWN,
    PoolNow,
    group,
    lost,
    mixed,
    model,
    node,
    notice,
    on_demand,
    promised,
    spot,
)
from tests.core.interrupted import annotation, fleet
from tests.expect import Scenario, expect


def test_a_notice_is_answered_in_order():
    """Annotation, then scale, then cordon; eviction once the node is seen unschedulable."""
    story = Scenario(fleet())
    warm, spots = (
        group(ready=1),
        [group("spot", ready=1), group("spot", ready=2, node="s1", name="x")],
    )
    doomed = [notice("s1", deadline_at=220.0, noticed_at=100.0)]
    story.look(100.0, warm, *spots, wants=4, interruptions=doomed)
    expect(
        story,
        desired=6,
        pools={"on-demand": 3, "spot": 3},
        reason="FallbackRaised",
        steps=["interruption"],
        commands=[annotation(("s1", 2)), "SetReplicas on-demand 3", "CordonNode s1"],
        conditions={
            "CapacityInterrupted": "True/NodesDoomed",
            "FallbackActive": "True/SpotInterrupted",
        },
    )
    annotate, scale, cordon = story.outcome.commands
    assert (annotate.after, scale.after, cordon.after) == (None, annotate.id, scale.id)
    assert annotate.target == scale.target
    # Doomed replicas are no supply to the policy.
    assert story.mouth.given.supply.ready == 2

    # Nothing was heard of the writes yet: nothing is sent twice.
    story.look(105.0, warm, *spots, wants=4, interruptions=doomed)
    expect(story, desired=6, commands=[])
    for command in (annotate, scale, cordon):
        story.finish(106.0, command)
    raised = {"on-demand": PoolNow(promises=(promised("s1", 2, since=100.0),))}
    cordoned = [node("s1", SPOT, unschedulable=True, cordoned_by_us=True)]
    story.look(
        110.0, warm, group(starting=[5.0, 5.0]), *spots, wants=4, interruptions=doomed,
        pools=raised, nodes=cordoned,
    )  # fmt: skip
    expect(story, desired=6, commands=["EvictPod spot-x-r0000 30", "EvictPod spot-x-r0001 30"])
    story.finish_all(111.0)
    # The replacement that eviction causes counts as starting; the spot pool's scale stays.
    story.look(
        115.0, warm, group(starting=[10.0, 10.0]), spots[0],
        group("spot", starting=[3.0, 3.0], name="new"),
        group("spot", deleting=2, node="s1", name="x"),
        wants=4, interruptions=doomed, pools=raised, nodes=cordoned,
    )  # fmt: skip
    expect(story, desired=6, pools={"on-demand": 3, "spot": 3}, commands=[])
    assert story.pool("spot").starting_replicas == 2
    # To the policy, a stand-in and its principal are one.
    assert story.mouth.given.supply.total == 4


def test_evictions_end_before_the_deadline_and_take_loading_replicas_too():
    cordoned = [node("s1", SPOT, unschedulable=True)]
    for at, grace_s in [(100.0, 110), (180.0, 30), (205.0, 5), (212.0, 1)]:
        story = Scenario(fleet())
        story.look(
            at, group(ready=3), group("spot", ready=1, node="s1", name="x", grace_s=300.0),
            group("spot", starting=[10.0], node="s1", name="y", grace_s=300.0),
            wants=2, nodes=cordoned,
            interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
        )  # fmt: skip
        # 220 - 100 - 10 of margin leave 110 s; its own 300 s do not fit.
        evictions = [words for words in story.commands if words.startswith("EvictPod")]
        assert evictions == [f"EvictPod spot-x-r0000 {grace_s}", f"EvictPod spot-y-s0000 {grace_s}"]


def test_a_budget_that_refuses_is_overruled_near_the_deadline():
    story = Scenario(fleet(fallback=False))
    told = {
        "wants": 4,
        "nodes": [node("s1", SPOT, unschedulable=True)],
        "interruptions": [notice("s1", deadline_at=220.0, noticed_at=100.0)],
    }
    rows = [group(ready=1), group("spot", ready=2), group("spot", ready=1, node="s1", name="x")]
    story.look(100.0, *rows, **told)
    expect(story, commands=["EvictPod spot-x-r0000 30"])
    story.finish_all(101.0, reason="DisruptionBudget")
    story.look(105.0, *rows, **told)
    expect(
        story,
        commands=["EvictPod spot-x-r0000 30"],
        conditions={"AbleToScale": "False/DisruptionBudget"},
    )
    story.finish_all(106.0, reason="DisruptionBudget")
    # 40 s before the deadline: 10 s of margin and its own 30 s.
    story.look(180.0, *rows, **told)
    expect(story, commands=["DeletePod spot-x-r0000 30"])
    story.finish_all(181.0)
    story.look(185.0, *rows, **told)
    expect(story, commands=[])


def test_when_half_of_the_notice_is_over_the_drain_waits_for_no_raise():
    """An annotation that may not be written must not keep the streams from draining."""
    story = Scenario(fleet())
    rows = [group(ready=1), group("spot", ready=2, node="s1", name="x")]
    told = {"wants": 3, "interruptions": [notice("s1", deadline_at=220.0, noticed_at=100.0)]}
    for at, waits in [(100.0, True), (150.0, True), (170.0, False)]:
        story.look(at, *rows, **told)
        annotate, scale, cordon = story.outcome.commands
        assert cordon.after == (scale.id if waits else None)
        story.finish(at + 1, annotate, reason="Forbidden")
        story.finish(at + 1, scale, reason="Skipped")
        story.finish(at + 1, cordon, reason="Skipped" if waits else "Accepted")
        expect(story, pools={"on-demand": 3})


def test_a_node_that_somebody_cordoned_is_not_cordoned_again():
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1), group("spot", ready=2, node="s1", name="x"), wants=3,
        nodes=[node("s1", SPOT, unschedulable=True)],
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    _, scale, *evictions = story.outcome.commands
    assert [type(command).__name__ for command in evictions] == ["EvictPod", "EvictPod"]
    assert {command.after for command in evictions} == {scale.id}


@pytest.mark.parametrize("how", ["marked lost", "gone", "not ready"])
def test_a_lost_node_is_made_up_for_but_never_touched(how):
    story = Scenario(fleet())
    told = {
        "marked lost": {"interruptions": [lost("s1", noticed_at=100.0)]},
        "gone": {"nodes": [node("s1", SPOT, exists=False)]},
        "not ready": {"nodes": [node("s1", SPOT, ready=False)]},
    }[how]
    rows = [
        group(ready=1), group("spot", ready=1),
        group("spot", ready=2, node="s1", name="x", sample_age_s=UNKNOWN),
    ]  # fmt: skip
    story.look(100.0, *rows, wants=4, **told)
    # Their samples are owed by nobody: they do not serve, so this is no blindness.
    expect(
        story,
        pools={"on-demand": 3, "spot": 3},
        commands=[annotation(("s1", 2)), "SetReplicas on-demand 3"],
        conditions={"MetricsAvailable": "True/SamplesFresh"},
    )
    assert story.pool("spot").ready_replicas == 1
    # The blip is over: its replicas have been ready for long, so all is released at once.
    raised = {"on-demand": PoolNow(promises=(promised("s1", 2, since=100.0),))}
    story.finish_all(101.0)
    story.look(
        160.0, group(ready=3), group("spot", ready=1), group("spot", ready=2, node="s1", name="x"),
        wants=4, pools=raised,
    )  # fmt: skip
    expect(story, pools={"on-demand": 1, "spot": 3})


def test_an_on_demand_node_under_notice_is_drained_and_not_bought_twice():
    """Its ReplicaSet replaces what is evicted; raising the Deployment too would buy double."""
    story = Scenario(model())
    story.look(
        100.0, group(ready=2), group(ready=1, node="n2", name="x"), wants=3,
        interruptions=[notice("n2", deadline_at=400.0, noticed_at=100.0)],
    )  # fmt: skip
    expect(story, desired=3, commands=["CordonNode n2"])


def test_without_an_on_demand_pool_a_condition_says_so_and_streams_still_drain():
    story = Scenario(model(pools=[spot()]))
    story.look(
        100.0, group("spot", ready=1), group("spot", ready=2, node="s1", name="x"), wants=3,
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    expect(
        story,
        desired=3,
        commands=["CordonNode s1"],
        conditions={"FallbackActive": "False/NoOnDemandPool"},
    )


def test_a_mixed_pool_has_its_fallback_on_on_demand():
    story = Scenario(model(pools=[mixed(), on_demand()], cold_start_s=60.0))
    story.look(
        100.0, group("mixed", ready=1, node="m1", name="a"), group("mixed", ready=2, node="s1", name="x"),
        wants=3, nodes=[node("m1", ON_DEMAND), node("s1", SPOT)],
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    expect(story, pools={"mixed": 3, "on-demand": 2})


def test_a_mixed_pools_warm_floor_is_told_by_its_nodes():
    story = Scenario(model(pools=[mixed()], warm=1, warm_on=ON_DEMAND))
    for kind, told in [(ON_DEMAND, "True/FloorReady"), (SPOT, "False/FloorNotReady")]:
        story.look(0.0, group("mixed", ready=1, node="m1"), wants=1, nodes=[node("m1", kind)])
        expect(story, conditions={"WarmPoolSatisfied": told})
    assert MIXED.value == "Mixed"


def test_a_fallback_that_is_disabled_drains_and_raises_nothing():
    story = Scenario(fleet(fallback=False))
    story.look(
        100.0, group(ready=1), group("spot", ready=2, node="s1", name="x"), wants=3,
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    expect(
        story,
        desired=3,
        commands=["CordonNode s1"],
        conditions={"FallbackActive": "False/FallbackDisabled"},
    )


def test_a_withdrawn_notice_uncordons_what_we_cordoned():
    story = Scenario(fleet())
    rows = [group(ready=1), group("spot", ready=2, node="s1", name="x")]
    ours = [node("s1", SPOT, unschedulable=True, cordoned_by_us=True)]
    story.look(100.0, *rows, wants=3, nodes=ours, cluster_age_s=31.0)
    expect(story, commands=[])  # blind: nothing is withdrawn
    story.look(105.0, *rows, wants=3, nodes=ours)
    expect(story, commands=["UncordonNode s1"])
    story.look(110.0, *rows, wants=3, nodes=ours)
    expect(story, commands=[])  # on its way
    others = [node("s1", SPOT, unschedulable=True)]
    story.look(200.0, *rows, wants=3, nodes=others)
    expect(story, commands=[])  # somebody else's cordon is none of ours


def test_the_forecast_switched_off_changes_nothing_here():
    story = Scenario(fleet(forecast=ForecastMode.OFF))
    story.look(
        100.0, group(ready=1, running=40.0), group("spot", ready=2, node="s1", name="x", running=40.0),
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    # 120 requests over 32 and a fifth more: 5 replicas.
    expect(story, pools={"on-demand": 3, "spot": 4})


def test_a_mass_eviction_is_spread_over_ticks():
    """More than the API server takes would only expire in the queue, and stall the loop."""
    story = Scenario(model(pools=[spot()], maximum=2000))
    told = {
        "wants": 1200,
        "nodes": [node("s1", SPOT, unschedulable=True)],
        "interruptions": [notice("s1", deadline_at=220.0, noticed_at=100.0)],
    }
    rows = group("spot", ready=1200, node="s1")
    story.look(100.0, rows, **told)
    first = set(story.commands)
    story.look(105.0, rows, **told)
    second = set(story.commands)
    assert (len(first), len(second)) == (1000, 200)
    assert not first & second
