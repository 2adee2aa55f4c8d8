"""A node that we emptied is marked as drained, for whoever may then let the machine go early."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autoscaler.core.contract.spec import Mode, ModelSpec, Pause
from autoscaler.core.engine import EngineSettings, build_engine
from tests.builders import (
    SPOT,
    UNKNOWN,
    PoolNow,
    disruption,
    group,
    lost,
    model,
    node,
    notice,
    observed,
    promised,
    risk,
    seen,
    specified,
    spot,
)
from tests.core.interrupted import annotation, fleet
from tests.expect import Scenario, expect, in_words
from tests.rows import NodeRow, Row

DOOMED = [notice("s1", deadline_at=220.0, noticed_at=100.0)]
CORDONED = node("s1", SPOT, unschedulable=True, cordoned_by_us=True)
MARKED = node("s1", SPOT, unschedulable=True, cordoned_by_us=True, marked_drained=True)
RAISED = {"on-demand": PoolNow(promises=(promised("s1", 2, since=100.0),))}
KEPT = [group(ready=3), group("spot", ready=1)]
"""On-demand, what was raised for s1 among it, and one on another spot node."""
REPLACED = group("spot", starting=[20.0, 20.0], node="s2", name="new")
MARK = ["MarkNodeDrained s1"]


def marks(story: Scenario) -> list[str]:
    """Nodes that were marked, or made schedulable."""
    return [words for words in story.commands if words.startswith(("MarkNode", "UncordonNode"))]


def test_the_mark_is_the_last_step_and_comes_when_the_last_pod_is_gone():
    story = Scenario(fleet())
    before = [group(ready=1), group("spot", ready=1)]
    leaving = group("spot", ready=2, node="s1", name="x")
    told = {"wants": 4, "interruptions": DOOMED}
    story.look(100.0, *before, leaving, **told)
    expect(story, commands=[annotation(("s1", 2)), "SetReplicas on-demand 3", "CordonNode s1"])
    story.finish_all(101.0)
    told |= {"pools": RAISED, "nodes": [CORDONED]}
    story.look(105.0, *KEPT, leaving, **told)
    expect(story, commands=["EvictPod spot-x-r0000 30", "EvictPod spot-x-r0001 30"])
    story.finish_all(106.0)
    # A pod that is being deleted still streams.
    for count in (2, 1):
        story.look(115.0, *KEPT, REPLACED, group("spot", deleting=count, node="s1"), **told)
        expect(story, commands=[])
    story.look(130.0, *KEPT, REPLACED, **told)
    expect(story, commands=MARK)
    story.finish_all(130.5)
    # Accepted and not seen yet, then seen: it is written once.
    story.look(131.0, *KEPT, REPLACED, **told)
    expect(story, commands=[])
    for at in (132.0, 150.0, 219.0):
        story.look(at, *KEPT, REPLACED, **{**told, "nodes": [MARKED]})
        expect(story, commands=[])


@pytest.mark.parametrize(
    ("nodes", "interruptions", "rows"),
    [
        pytest.param([CORDONED], DOOMED, group("spot", ready=1, node="s1"), id="serves"),
        pytest.param([CORDONED], DOOMED, group("spot", deleting=1, node="s1"), id="drains"),
        pytest.param([CORDONED], DOOMED, group("spot", starting=[9.0], node="s1"), id="loads"),
        pytest.param(
            [CORDONED], DOOMED, group("spot", ready=1, node="s1", sample_age_s=UNKNOWN), id="mute"
        ),
        pytest.param([node("s1", SPOT, unschedulable=True)], DOOMED, [], id="his cordon"),
        pytest.param([node("s1", SPOT)], DOOMED, [], id="never touched"),
        pytest.param([node("s1", SPOT, cordoned_by_us=True)], DOOMED, [], id="schedulable again"),
        pytest.param([MARKED], DOOMED, [], id="marked"),
        pytest.param(
            [CORDONED],
            [notice("s1", deadline_at=220.0, noticed_at=100.0, drained_elsewhere=True)],
            [],
            id="somebody else drains",
        ),
        pytest.param([CORDONED], [disruption("s1")], [], id="no machine ends"),
        pytest.param(
            [CORDONED], [disruption("s1", drained_elsewhere=False)], [], id="no machine ends, ours"
        ),
        pytest.param([CORDONED], [lost("s1")], [], id="lost"),
        pytest.param(
            [node("s1", SPOT, unschedulable=True, cordoned_by_us=True, exists=False)],
            DOOMED, [], id="gone",
        ),
    ],
)  # fmt: skip
def test_nothing_else_is_marked(
    nodes: list[NodeRow], interruptions: list[object], rows: Sequence[Row]
):
    story = Scenario(fleet())
    story.look(
        130.0, *KEPT, REPLACED, rows,
        wants=4, pools=RAISED, nodes=nodes, interruptions=interruptions,
    )  # fmt: skip
    assert marks(story) == []


def test_a_node_at_risk_is_given_back_and_not_marked():
    """What was a termination, and is only a risk now, is no doomed node any more."""
    story = Scenario(fleet())
    story.look(130.0, *KEPT, REPLACED, wants=4, nodes=[MARKED], interruptions=[risk("s1")])
    assert marks(story) == ["UncordonNode s1"]


def test_blind_nothing_is_marked():
    """What is not there may have been there for the last half minute."""
    story = Scenario(fleet())
    told = {"wants": 4, "pools": RAISED, "nodes": [CORDONED], "interruptions": DOOMED}
    story.look(130.0, *KEPT, REPLACED, cluster_age_s=31.0, **told)
    assert marks(story) == []
    story.look(131.0, *KEPT, REPLACED, **told)
    assert marks(story) == MARK


def test_where_a_model_is_not_known_nothing_is_marked():
    """Its document was refused as the daemon began: what it has on the node is in no observation."""
    story = Scenario(fleet())
    told = {"wants": 4, "pools": RAISED, "nodes": [CORDONED], "interruptions": DOOMED}
    story.engine.handle(specified(story.spec, complete=False))
    story.look(130.0, *KEPT, REPLACED, **told)
    assert marks(story) == []
    story.engine.handle(specified(story.spec))
    story.look(131.0, *KEPT, REPLACED, **told)
    assert marks(story) == MARK


def test_each_node_is_marked_alone():
    story = Scenario(fleet())
    two = [node("s0", SPOT, unschedulable=True, cordoned_by_us=True), CORDONED]
    story.look(
        130.0, *KEPT, REPLACED, group("spot", deleting=1, node="s0", name="y"),
        wants=4, pools=RAISED, nodes=two,
        interruptions=[notice("s0", deadline_at=220.0, noticed_at=100.0), *DOOMED],
    )  # fmt: skip
    assert marks(story) == MARK


@pytest.mark.parametrize("remembered", [True, False])
def test_killed_after_the_last_pod_was_gone_it_is_marked_by_the_next(remembered):
    story = Scenario(fleet())
    told = {"wants": 4, "pools": RAISED, "nodes": [CORDONED], "interruptions": DOOMED}
    story.look(130.0, *KEPT, REPLACED, **told)
    assert marks(story) == MARK
    # It dies with the write on its way. One that remembers gives it its time.
    story.restart(remembered=remembered)
    story.look(131.0, *KEPT, REPLACED, **told)
    assert marks(story) == ([] if remembered else MARK)
    story.look(141.0, *KEPT, REPLACED, **told)
    assert marks(story) == MARK


def test_a_refused_mark_is_tried_again():
    story = Scenario(fleet())
    told = {"wants": 4, "pools": RAISED, "nodes": [CORDONED], "interruptions": DOOMED}
    for at in (130.0, 131.0, 132.0):
        story.look(at, *KEPT, REPLACED, **told)
        assert marks(story) == MARK
        story.finish_all(at + 0.5, reason="Conflict")


def test_it_goes_with_our_cordon_when_the_notice_is_withdrawn():
    story = Scenario(fleet())
    story.look(130.0, *KEPT, wants=4, nodes=[MARKED], cluster_age_s=31.0)
    assert marks(story) == []
    story.look(131.0, *KEPT, wants=4, nodes=[MARKED])
    assert marks(story) == ["UncordonNode s1"]
    story.finish_all(131.5)
    story.look(142.0, *KEPT, wants=4, nodes=[node("s1", SPOT)])
    assert marks(story) == []


def test_one_that_somebody_made_schedulable_keeps_no_mark():
    """Else it would say of the next notice's pods that they are gone."""
    by_hand = node("s1", SPOT, cordoned_by_us=True, marked_drained=True)
    story = Scenario(fleet())
    story.look(130.0, *KEPT, wants=4, nodes=[by_hand])
    assert marks(story) == ["UncordonNode s1"]
    # A mark beside no cordon of ours is not ours.
    story.look(145.0, *KEPT, wants=4, nodes=[node("s1", SPOT, marked_drained=True)])
    assert marks(story) == []
    # Under the notice still, with replicas there again: it is cordoned, which takes the mark away.
    story.look(
        160.0, *KEPT, group("spot", ready=2, node="s1", name="x"),
        wants=4, pools=RAISED, nodes=[by_hand], interruptions=DOOMED,
    )  # fmt: skip
    expect(story, commands=["CordonNode s1"])


# -- several models


def look_at(*specs: ModelSpec, there: Sequence[ModelSpec], seen_too: bool = True) -> list[str]:
    """What is done with a node on which the replicas of `there` are, of the fleet `specs`."""
    engine = build_engine(EngineSettings())
    engine.handle(specified(*specs))
    shown = [
        seen(
            spec,
            group(spec.pools[0].name, ready=1),
            group(spec.pools[0].name, deleting=1, node="s1", name="x") if spec in there else [],
        )
        for spec in (specs if seen_too else specs[:1])
    ]
    outcome = engine.handle(observed(*shown, at=130.0, nodes=[CORDONED], interruptions=DOOMED))
    return [words for words in map(in_words, outcome.commands) if words.endswith(" s1")]


def served(name: str, **what: object) -> ModelSpec:
    return model(name, pools=[spot(f"p{name}")], **what)


A, B = served("a"), served("b")


def test_the_replicas_of_every_model_count():
    assert look_at(A, B, there=[]) == MARK
    assert look_at(A, B, there=[B]) == []


@pytest.mark.parametrize("what", [{"mode": Mode.OBSERVE}, {"pause": Pause.ALL}])
def test_those_of_a_model_that_is_not_ours_to_drain_count_too(what: dict[str, object]):
    left_alone = served("b", **what)
    assert look_at(A, left_alone, there=[left_alone]) == []
    assert look_at(A, left_alone, there=[]) == MARK


@pytest.mark.parametrize("what", [{"mode": Mode.OBSERVE}, {"pause": Pause.ALL}])
def test_nobody_acts_nothing_is_marked(what: dict[str, object]):
    assert look_at(served("a", **what), served("b", **what), there=[]) == []


def test_while_one_model_cannot_be_seen_nothing_is_marked():
    """Its namespace may not be read, or what is seen of it contradicts itself: its replicas may be there."""
    assert look_at(A, B, there=[], seen_too=False) == []


def test_a_model_whose_pools_have_just_changed_is_not_seen():
    """The observation is of the pools before: replicas of the new one are not in it."""
    engine = build_engine(EngineSettings())
    engine.handle(specified(model("a", pools=[spot("pa"), spot("new")])))
    event = observed(
        seen(A, group("pa", ready=1)), at=130.0, nodes=[CORDONED], interruptions=DOOMED
    )
    assert [in_words(command) for command in engine.handle(event).commands] == []
