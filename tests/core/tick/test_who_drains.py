"""Who empties a node: we, somebody else, or nobody; and what is made up for it meanwhile."""

from __future__ import annotations

import pytest

from tests.builders import (
    SPOT,
    UNKNOWN,
    PoolNow,
    disruption,
    group,
    model,
    node,
    notice,
    on_demand,
    promised,
    risk,
)
from tests.core.interrupted import annotation, fleet
from tests.expect import Scenario, expect

ROWS = [group(ready=1), group("spot", ready=1), group("spot", ready=2, node="s1", name="x")]
RAISED = {"on-demand": PoolNow(promises=(promised("s1", 2, since=100.0),))}


def removals(story: Scenario) -> list[str]:
    """What was done to pods and nodes."""
    return [words for words in story.commands if not words.startswith(("Annotate", "SetReplicas"))]


# -- a deadline, and somebody else who drains


@pytest.mark.parametrize("cordon", [{}, {"unschedulable": True}])
def test_what_somebody_else_drains_is_raised_and_left_to_him(cordon: dict[str, bool]):
    """Karpenter taints without a cordon; others cordon. Either way its pods are his."""
    story = Scenario(fleet())
    told = {
        "wants": 4,
        "nodes": [node("s1", SPOT, **cordon)],
        "interruptions": [
            notice("s1", deadline_at=220.0, noticed_at=100.0, drained_elsewhere=True)
        ],
    }
    story.look(100.0, *ROWS, **told)
    expect(story, commands=[annotation(("s1", 2)), "SetReplicas on-demand 3"])
    story.finish_all(101.0)
    for at in (105.0, 150.0, 179.0):
        story.look(at, *ROWS[1:], group(ready=3), pools=RAISED, **told)
        assert removals(story) == [], at


def test_a_pod_that_he_has_not_begun_by_the_last_moment_is_ours():
    """Karpenter never evicts what says do-not-disrupt: it would die with the machine."""
    story = Scenario(fleet())
    told = {
        "wants": 4,
        "interruptions": [
            notice("s1", deadline_at=220.0, noticed_at=100.0, drained_elsewhere=True)
        ],
    }
    # One of the two is being deleted by him already: that one is left alone.
    rows = [
        group(ready=3), group("spot", ready=1),
        group("spot", ready=1, node="s1", name="x"), group("spot", deleting=1, node="s1", name="y"),
    ]  # fmt: skip
    story.look(179.0, *rows, pools=RAISED, **told)
    assert removals(story) == []
    # 220 - 10 of margin - 30 of its own: from 180 on a whole drain does not fit any more.
    story.look(180.0, *rows, pools=RAISED, **told)
    assert removals(story) == ["EvictPod spot-x-r0000 30"]
    story.finish_all(181.0, reason="DisruptionBudget")
    story.look(182.0, *rows, pools=RAISED, **told)
    assert removals(story) == ["DeletePod spot-x-r0000 28"]


def test_the_last_moment_is_each_pods_own():
    story = Scenario(fleet())
    story.look(
        150.0, group(ready=3), group("spot", ready=1),
        group("spot", ready=1, node="s1", name="quick", grace_s=5.0),
        group("spot", ready=1, node="s1", name="slow", grace_s=60.0),
        group("spot", ready=1, node="s1", name="unsaid", grace_s=UNKNOWN),
        wants=4, pools=RAISED,
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0, drained_elsewhere=True)],
    )  # fmt: skip
    assert removals(story) == ["EvictPod spot-slow-r0000 60"]


# -- no deadline


def test_a_disruption_is_raised_once_and_never_touched():
    """A consolidation: promised before the eviction, not again with it, released as spot is back."""
    story = Scenario(fleet())
    story.look(100.0, *ROWS, wants=4, interruptions=[disruption("s1", noticed_at=100.0)])
    expect(
        story,
        desired=6,
        commands=[annotation(("s1", 2)), "SetReplicas on-demand 3"],
        conditions={"CapacityInterrupted": "True/NodesDoomed"},
    )
    story.finish_all(101.0)
    kept = [group(ready=3), group("spot", ready=1)]
    # He takes his time: nothing is cordoned, evicted or promised again.
    for at in (105.0, 300.0, 3000.0):
        story.look(at, *kept, ROWS[2], wants=4, pools=RAISED, interruptions=[disruption("s1")])
        expect(story, desired=6, commands=[])
    # He evicts both. Their ReplicaSet makes others, which find no node yet, and then one that starts.
    for at, replacement in [
        (3010.0, group("spot", unschedulable=[5.0, 5.0], name="new")),
        (3200.0, group("spot", unschedulable=[195.0, 195.0], name="new")),
        (3230.0, group("spot", starting=[10.0, 10.0], node="s9", name="new")),
    ]:
        story.look(
            at, *kept, replacement, group("spot", deleting=2, node="s1", name="x"),
            wants=4, pools=RAISED, interruptions=[disruption("s1")],
        )  # fmt: skip
        expect(story, desired=6, pools={"on-demand": 3, "spot": 3}, commands=[])
    # The Node is gone: a loss of nothing.
    new = group("spot", ready=2, ready_age_s=100.0, node="s9", name="new")
    story.look(3300.0, *kept, new, wants=4, pools=RAISED, nodes=[node("s1", SPOT, exists=False)])
    expect(story, desired=6, commands=[])
    back = group("spot", ready=2, ready_age_s=310.0, node="s9", name="new")
    story.look(3510.0, *kept, back, wants=4, pools=RAISED)
    expect(story, pools={"on-demand": 1, "spot": 3})


def test_a_disruption_that_turns_into_a_notice_makes_no_second_promise():
    story = Scenario(fleet())
    story.look(
        150.0, group(ready=3), *ROWS[1:], wants=4, pools=RAISED,
        interruptions=[notice("s1", deadline_at=260.0, noticed_at=140.0, drained_elsewhere=True)],
    )  # fmt: skip
    expect(story, desired=6, commands=[])


def test_an_on_demand_node_that_somebody_empties_is_made_up_for_before_and_released_with_the_eviction():
    """Else the ReplicaSet's own replacement would be a second one."""
    story = Scenario(model(pools=[on_demand()], cold_start_s=60.0))
    rows = [group(ready=2), group(ready=1, node="n2", name="x")]
    story.look(100.0, *rows, wants=3, interruptions=[disruption("n2", noticed_at=100.0)])
    expect(story, desired=4, commands=[annotation(("n2", 1)), "SetReplicas on-demand 4"])
    story.finish_all(101.0)
    raised = {"on-demand": PoolNow(promises=(promised("n2", 1, since=100.0),))}
    story.look(
        200.0, group(ready=3), rows[1], wants=3, pools=raised, interruptions=[disruption("n2")]
    )
    expect(story, desired=4, commands=[])
    story.look(
        205.0, group(ready=3), group(deleting=1, node="n2", name="x"),
        group(unschedulable=[1.0], name="new"),
        wants=3, pools=raised, interruptions=[disruption("n2")],
    )  # fmt: skip
    expect(story, desired=3, commands=["Annotate on-demand None", "SetReplicas on-demand 3"])


def test_a_disruption_that_nobody_drains_is_drained_by_us_once_it_is_made_up_for():
    story = Scenario(fleet())
    ours = disruption("s1", noticed_at=100.0, drained_elsewhere=False)
    story.look(100.0, *ROWS, wants=4, interruptions=[ours])
    expect(
        story,
        commands=[annotation(("s1", 2)), "SetReplicas on-demand 3", "CordonNode s1"],
    )
    story.finish_all(101.0)
    cordoned = [node("s1", SPOT, unschedulable=True, cordoned_by_us=True)]
    told = {"wants": 4, "pools": RAISED, "nodes": cordoned, "interruptions": [ours]}
    story.look(110.0, group(ready=1, starting=[9.0, 9.0]), *ROWS[1:], **told)
    assert removals(story) == [], "make before break"
    story.look(180.0, group(ready=3), *ROWS[1:], **told)
    assert removals(story) == ["EvictPod spot-x-r0000 30", "EvictPod spot-x-r0001 30"]


@pytest.mark.parametrize("kind", [disruption, risk])
def test_a_node_that_is_not_ready_is_lost_whatever_its_mark(kind):
    """What serves nothing cannot be drained, and nobody need wait for it."""
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1), group("spot", ready=1),
        group("spot", ready=2, node="s1", name="x", sample_age_s=UNKNOWN),
        wants=4, nodes=[node("s1", SPOT, ready=False)], interruptions=[kind("s1")],
    )  # fmt: skip
    expect(story, commands=[annotation(("s1", 2)), "SetReplicas on-demand 3"])
    assert story.pool("spot").ready_replicas == 1


# -- a risk


def test_a_risk_is_warmed_up_for_and_drains_nothing():
    story = Scenario(fleet())
    at_risk = [risk("s1", noticed_at=100.0)]
    story.look(100.0, *ROWS, wants=4, interruptions=at_risk)
    expect(
        story,
        desired=6,
        commands=[annotation(("s1", 2)), "SetReplicas on-demand 3"],
        reason="FallbackRaised",
        conditions={"CapacityInterrupted": "True/NodesAtRisk"},
    )
    # They serve as before, and are supply.
    assert story.pool("spot").ready_replicas == 3
    assert story.mouth.given.supply.ready == 4
    story.finish_all(101.0)
    for at in (105.0, 900.0):
        story.look(at, group(ready=3), *ROWS[1:], wants=4, pools=RAISED, interruptions=at_risk)
        expect(story, desired=6, commands=[])
    # It comes: nothing is promised again, and the node is drained as any other.
    story.look(
        905.0, group(ready=3), *ROWS[1:], wants=4, pools=RAISED,
        interruptions=[notice("s1", deadline_at=1025.0, noticed_at=905.0)],
    )  # fmt: skip
    expect(story, desired=6, commands=["CordonNode s1"])


def test_a_risk_that_has_gone_releases_what_was_warmed_up():
    story = Scenario(fleet())
    story.look(900.0, group(ready=3), *ROWS[1:], wants=4, pools=RAISED)
    expect(
        story,
        pools={"on-demand": 1, "spot": 3},
        commands=["Annotate on-demand None", "SetReplicas on-demand 1"],
        conditions={"CapacityInterrupted": "False/NoInterruption"},
    )


@pytest.mark.parametrize(
    ("wants", "promise"),
    [
        pytest.param(4, 2, id="all would be missed"),
        pytest.param(3, 1, id="one more than enough"),
        pytest.param(2, 0, id="the rest is enough"),
    ],
)
def test_a_risk_is_worth_what_would_be_missed(wants: int, promise: int):
    story = Scenario(fleet())
    story.look(100.0, *ROWS, wants=wants, interruptions=[risk("s1", noticed_at=100.0)])
    written = [words for words in story.commands if words.startswith("Annotate")]
    assert written == ([annotation(("s1", promise))] if promise else [])


def test_several_nodes_at_risk_and_one_doomed_share_one_shortfall():
    """What is doomed goes first; what is at risk may all go together."""
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1), group("spot", ready=1, node="s1", name="a"),
        group("spot", ready=1, node="s2", name="b"), group("spot", ready=1, node="s3", name="c"),
        wants=4,
        interruptions=[
            risk("s1", noticed_at=90.0), risk("s2", noticed_at=90.0),
            notice("s3", deadline_at=220.0, noticed_at=100.0),
        ],
    )  # fmt: skip
    assert story.commands[0] == annotation(("s1", 1), ("s2", 1), ("s3", 1))
    # With one fewer to serve, one of those at risk needs no stand-in.
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1), group("spot", ready=1, node="s1", name="a"),
        group("spot", ready=1, node="s2", name="b"), group("spot", ready=1, node="s3", name="c"),
        wants=3,
        interruptions=[
            risk("s1", noticed_at=90.0), risk("s2", noticed_at=90.0),
            notice("s3", deadline_at=220.0, noticed_at=100.0),
        ],
    )  # fmt: skip
    assert story.commands[0] == annotation(("s1", 1), ("s2", 1))


def test_an_on_demand_node_at_risk_is_no_matter_of_the_fallback():
    """A rebalance recommendation is spot's; an on-demand pod that goes is replaced by its ReplicaSet."""
    story = Scenario(model(pools=[on_demand()], cold_start_s=60.0))
    story.look(
        100.0, group(ready=2), group(ready=1, node="n2", name="x"), wants=3,
        interruptions=[risk("n2", noticed_at=100.0)],
    )  # fmt: skip
    expect(story, desired=3, commands=[])
