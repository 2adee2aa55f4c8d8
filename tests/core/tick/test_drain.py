"""Doomed nodes: what is promised, raised, cordoned, evicted and released, tick by tick."""

from __future__ import annotations

from dataclasses import replace

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
    # Ten seconds before the machine goes, however long the write has to wait.
    assert [command.ends_at for command in story.outcome.commands] == [210.0, 210.0]
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


@pytest.mark.parametrize(
    ("refusal", "removal"),
    [
        pytest.param("DisruptionBudget", "DeletePod", id="a budget that lets none go"),
        pytest.param("Failed", "DeletePod", id="two budgets on one pod, an error of the server"),
        pytest.param("Forbidden", "EvictPod", id="a right that lacks, which no deletion mends"),
        pytest.param("Unavailable", "EvictPod", id="a server that does not answer"),
    ],
)
def test_an_eviction_that_is_refused_is_overruled_near_the_deadline(refusal, removal):
    story = Scenario(fleet(fallback=False))
    told = {
        "wants": 4,
        "nodes": [node("s1", SPOT, unschedulable=True)],
        "interruptions": [notice("s1", deadline_at=220.0, noticed_at=100.0)],
    }
    rows = [group(ready=1), group("spot", ready=2), group("spot", ready=1, node="s1", name="x")]
    story.look(100.0, *rows, **told)
    expect(story, commands=["EvictPod spot-x-r0000 30"])
    story.finish_all(101.0, reason=refusal)
    story.look(105.0, *rows, **told)
    expect(
        story,
        commands=["EvictPod spot-x-r0000 30"],
        conditions={"AbleToScale": f"False/{refusal}"},
    )
    story.finish_all(106.0, reason=refusal)
    # 40 s before the deadline: 10 s of margin and its own 30 s.
    story.look(180.0, *rows, **told)
    expect(story, commands=[f"{removal} spot-x-r0000 30"])
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


@pytest.mark.parametrize(
    ("nodes", "patient"),
    [
        pytest.param(
            [node("s1", SPOT, ready=False, unheard=False)], True, id="its kubelet says so"
        ),
        pytest.param(
            [node("s1", SPOT, ready=False, unheard=True)], False, id="it has fallen silent"
        ),
        pytest.param(
            [
                node("s1", SPOT, ready=False, unheard=True),
                node("spot-node", SPOT, ready=False, unheard=True),
                node("on-demand-node", ready=False, unheard=True),
            ],
            True,
            id="all have, at once",
        ),
    ],
)
def test_a_node_that_may_be_back_in_a_moment_is_not_made_up_for(nodes, patient):
    """A kubelet that is restarted, a network that is away for seconds: each bought on-demand for minutes."""
    story = Scenario(fleet())
    rows = [group(ready=1), group("spot", ready=1), group("spot", ready=2, node="s1", name="x")]
    marks = [lost(each.name, noticed_at=93.0) for each in nodes]
    for at, waits in [(98.0, True), (100.0, patient), (150.0, patient), (160.0, False)]:
        story.look(at, *rows, wants=4, nodes=nodes, interruptions=marks)
        assert (story.decision.reason != "FallbackRaised") == waits, at
        if not waits:
            return


def test_a_lost_node_does_not_come_back_because_the_others_follow_it():
    """Its replicas were promised, released and promised again within seconds."""
    story = Scenario(fleet())
    rows = [group(ready=1), group("spot", ready=3, node="s1", name="x")]
    first = node("s1", SPOT, ready=False, unheard=True)
    other = node("on-demand-node", ready=False, unheard=True)
    story.look(100.0, *rows, wants=4, nodes=[first], interruptions=[lost("s1", noticed_at=90.0)])
    assert story.decision.reason == "FallbackRaised"
    marks = [lost("s1", noticed_at=90.0), lost("on-demand-node", noticed_at=104.0)]
    story.look(112.0, *rows, wants=4, nodes=[first, other], interruptions=marks)
    assert {c.type: c.status for c in story.decision.conditions}["CapacityInterrupted"] == "True"


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


def test_of_a_short_notice_no_tick_is_given_away():
    """Thirty seconds: the evictions follow the cordon, and end a second before the machine does."""
    for lead_s, words in [
        (30.0, ["CordonNode s1", "EvictPod spot-x-r0000 29", "EvictPod spot-x-r0001 29"]),
        (90.0, ["CordonNode s1"]),
    ]:
        story = Scenario(fleet(fallback=False))
        story.look(
            100.0, group(ready=1), group("spot", ready=2, node="s1", name="x", grace_s=300.0),
            wants=3, interruptions=[notice("s1", deadline_at=100.0 + lead_s, noticed_at=100.0)],
        )  # fmt: skip
        expect(story, commands=words)
        cordon, *evictions = story.outcome.commands
        assert {command.after for command in evictions} <= {cordon.id}


def drained(story: Scenario, *, held: float, took_s: float, at: float) -> None:
    """A replica goes that held so many requests, in so many seconds."""
    others = [group(ready=1), group("spot", ready=4)]
    for age_s in (0.0, 0.5 * took_s):
        gone = [
            replace(row, deleting_age_s=age_s)
            for row in group("spot", deleting=1, name="gone", running=held)
        ]
        story.look(at + age_s, *others, gone, wants=5)
    story.look(at + took_s, *others, wants=5)


@pytest.mark.parametrize(
    ("running", "at", "evicted"),
    [
        pytest.param(5.0, 200.0, False, id="a few requests: it can still take more"),
        pytest.param(5.0, 289.0, False, id="until its drain has to begin"),
        pytest.param(5.0, 290.0, True, id="ten seconds of delay and ten of drain are left"),
        pytest.param(40.0, 259.0, False, id="many requests"),
        pytest.param(40.0, 260.0, True, id="take longer to drain, so it goes earlier"),
        pytest.param(UNKNOWN, 260.0, True, id="what it holds is unknown: the longest drain"),
    ],
)
def test_a_pod_that_is_missed_serves_until_its_drain_has_to_begin(running, at, evicted):
    """120 s and 10 of margin; drains of 10 s (5 requests) and 40 s (40 requests) were measured."""
    story = Scenario(model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND))
    drained(story, held=5.0, took_s=10.0, at=0.0)
    drained(story, held=40.0, took_s=40.0, at=50.0)
    story.look(
        at, group(ready=1, running=50.0), group("spot", ready=1, node="s1", name="x", running=running),
        wants=2, nodes=[node("s1", SPOT, unschedulable=True)],
        interruptions=[notice("s1", deadline_at=320.0, noticed_at=200.0)],
    )  # fmt: skip
    assert [words for words in story.commands if words.startswith("EvictPod")] == (
        [f"EvictPod spot-x-r0000 {min(30, int(310.0 - at))}"] if evicted else []
    )


@pytest.mark.parametrize(
    ("what", "running"),
    [
        pytest.param({"starting": [10.0]}, 50.0, id="it is not ready: it is of no use in time"),
        pytest.param({"ready": 1, "running": 5.0}, 20.0, id="what is left carries the demand"),
    ],
)
def test_a_pod_that_is_not_missed_goes_at_once(what, running):
    story = Scenario(model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND))
    drained(story, held=5.0, took_s=10.0, at=0.0)
    story.look(
        200.0, group(ready=1, running=running), group("spot", node="s1", name="x", **what),
        wants=2, nodes=[node("s1", SPOT, unschedulable=True)],
        interruptions=[notice("s1", deadline_at=320.0, noticed_at=200.0)],
    )  # fmt: skip
    assert any(words.startswith("EvictPod") for words in story.commands)


def test_who_has_just_begun_knows_no_drain_and_waits_for_none():
    story = Scenario(model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND))
    drained(story, held=5.0, took_s=10.0, at=0.0)
    story.restart(remembered=False)
    story.look(
        200.0, group(ready=1, running=50.0), group("spot", ready=1, node="s1", name="x", running=5.0),
        wants=2, nodes=[node("s1", SPOT, unschedulable=True)],
        interruptions=[notice("s1", deadline_at=320.0, noticed_at=200.0)],
    )  # fmt: skip
    assert any(words.startswith("EvictPod") for words in story.commands)


def test_the_figure_of_requests_at_risk_is_in_the_measures():
    story = Scenario(fleet())
    rows = [group(ready=1), group("spot", ready=1, node="s1", name="x", running=UNKNOWN)]
    assert story.look(95.0, *rows, wants=2).measures.requests_at_risk == 0.0
    doomed = [notice("s1", deadline_at=130.0, noticed_at=100.0)]
    told = story.look(100.0, *rows, wants=2, interruptions=doomed).measures
    assert told.requests_at_risk is None
