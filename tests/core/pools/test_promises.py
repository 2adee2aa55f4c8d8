"""Promises: how many on-demand replicas are owed for doomed nodes, and when they are released."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
    promised,
    risk,
)
from tests.core.interrupted import annotation, fleet
from tests.expect import Scenario, expect
from tests.rows import Row


def test_spot_that_is_back_releases_exactly_annotation_first():
    story = Scenario(fleet())
    raised = {"on-demand": PoolNow(promises=(promised("s1", 2, since=100.0),))}
    for at, ages, on_demand_replicas, commands in [
        (200.0, (100.0, 50.0), 3, []),
        (
            400.0,
            (300.0, 250.0),
            2,
            [annotation(("s1", 1)), "SetReplicas on-demand 2"],
        ),
    ]:
        back = [group("spot", ready=1, ready_age_s=age, name=f"b{i}") for i, age in enumerate(ages)]
        story.look(at, group(ready=3), group("spot", ready=1), *back, wants=4, pools=raised)
        expect(story, pools={"on-demand": on_demand_replicas, "spot": 3}, commands=commands)
    annotate, scale = story.outcome.commands
    assert scale.after == annotate.id
    story.finish_all(401.0)
    halved = {"on-demand": PoolNow(promises=(promised("s1", 1, since=100.0),))}
    back = [group("spot", ready=2, ready_age_s=310.0, name="b")]
    story.look(460.0, group(ready=2), group("spot", ready=1), *back, wants=4, pools=halved)
    expect(
        story,
        pools={"on-demand": 1, "spot": 3},
        reason="FallbackReleased",
        commands=["Annotate on-demand None", "SetReplicas on-demand 1"],
        conditions={"FallbackActive": "False/NoFallback"},
    )


def test_a_promise_is_written_once_and_never_adds_to_itself():
    story = Scenario(fleet())
    doomed = [notice("s1", deadline_at=220.0, noticed_at=100.0)]
    raised = {"on-demand": PoolNow(promises=(promised("s1", 2, since=100.0),))}
    for at in (105.0, 110.0, 115.0):
        # However many are to serve: the node's replicas have their promise.
        story.look(
            at, group(ready=1, starting=[at - 100.0] * 2), group("spot", ready=1),
            group("spot", ready=2, node="s1", name="x"),
            wants=4 + int(at) % 7, interruptions=doomed, pools=raised,
        )  # fmt: skip
        assert not [words for words in story.commands if words.startswith("Annotate")]


@pytest.mark.parametrize(
    ("wants", "others", "doomed", "deadline_s", "promise"),
    [
        pytest.param(4, group("spot", ready=1), 2, 120.0, 2, id="all of it is missed"),
        pytest.param(3, group("spot", ready=1), 2, 120.0, 1, id="one was more than enough"),
        pytest.param(2, group("spot", ready=1), 2, 120.0, 0, id="the rest is enough"),
        pytest.param(9, group("spot", ready=1), 2, 120.0, 2, id="never more than is doomed"),
        pytest.param(4, group("spot", starting=[1.0]), 2, 120.0, 2, id="starting, ready by then"),
        pytest.param(3, group("spot", starting=[1.0]), 2, 30.0, 2, id="starting, but too late"),
        pytest.param(3, group("spot", starting=[1.0]), 2, 59.0, 1, id="starting, just in time"),
        pytest.param(3, group("spot", unschedulable=[5.0]), 2, 120.0, 2, id="no node for it"),
    ],
)
def test_shortfall(wants, others, doomed, deadline_s, promise):
    """clip(replicas that are to serve - those not doomed that are ready or expected so by the deadline, 0, doomed)."""
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1), others, group("spot", ready=doomed, node="s1", name="x"),
        wants=wants, interruptions=[notice("s1", deadline_at=100.0 + deadline_s, noticed_at=100.0)],
    )  # fmt: skip
    written = [words for words in story.commands if words.startswith("Annotate")]
    assert written == ([annotation(("s1", promise))] if promise else [])


def test_free_gpus_decide_whether_a_start_is_counted_on():
    """The same start, bound to no node: with no GPU free it will not be there by the deadline."""
    for free, promise in [(1.0, 1), (0.0, 2)]:
        story = Scenario(fleet())
        story.look(
            100.0, group(ready=1), group("spot", starting=[1.0], node=""),
            group("spot", ready=2, node="s1", name="x"),
            wants=3, interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
            nodes=[node("s1", SPOT), node("s2", SPOT, gpus_free=free)],
        )  # fmt: skip
        assert story.commands[0] == annotation(("s1", promise))


def test_several_nodes_at_once_share_one_shortfall():
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1),
        group("spot", ready=2, node="s1", name="x"), group("spot", ready=2, node="s2", name="y"),
        wants=4,
        interruptions=[
            notice("s1", deadline_at=220.0, noticed_at=100.0),
            notice("s2", deadline_at=190.0, noticed_at=100.0),
        ],
    )  # fmt: skip
    # Three are missed; the node that goes first is looked at first.
    expect(story, pools={"on-demand": 4, "spot": 4})
    assert story.commands[0] == annotation(("s1", 1), ("s2", 2))


def test_a_second_node_later_is_promised_on_top_and_the_first_is_not_counted_twice():
    story = Scenario(fleet())
    raised = {"on-demand": PoolNow(promises=(promised("s1", 2, since=90.0),))}
    story.look(
        100.0, group(ready=1, starting=[5.0, 5.0]), group("spot", starting=[3.0, 3.0]),
        group("spot", ready=1, node="s2", name="y"),
        wants=4, pools=raised, interruptions=[notice("s2", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    # Four are to serve: on-demand 1 and two promised, two spot replacements on their way: all covered by then.
    expect(story, pools={"on-demand": 3, "spot": 3})
    story.look(
        100.0, group(ready=1, starting=[5.0, 5.0]), group("spot", unschedulable=[3.0, 3.0]),
        group("spot", ready=1, node="s2", name="y"),
        wants=4, pools=raised, interruptions=[notice("s2", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    expect(story, pools={"on-demand": 4, "spot": 3})


def test_a_node_doomed_twice_gets_a_second_promise_for_its_new_replicas_only():
    story = Scenario(fleet())
    raised = {"on-demand": PoolNow(promises=(promised("s1", 1, since=100.0),))}
    doomed = [notice("s1", deadline_at=420.0, noticed_at=300.0)]
    old = group("spot", ready=1, node="s1", ready_age_s=400.0, name="old")
    new = [
        replace(row, age_s=150.0)  # created after the promise
        for row in group("spot", ready=1, node="s1", ready_age_s=50.0, name="new")
    ]
    story.look(300.0, group(ready=2), old, wants=2, pools=raised, interruptions=doomed)
    assert story.commands == ["CordonNode s1"]
    story = Scenario(fleet())
    story.look(300.0, group(ready=1), old, new, wants=3, pools=raised, interruptions=doomed)
    assert story.commands[0] == annotation(("s1", 2), since="1970-01-01T00:05:00Z")


def test_the_fallback_may_exceed_the_maximum_and_nothing_else():
    story = Scenario(fleet(maximum=4))
    story.look(
        100.0, group(ready=1), group("spot", ready=1), group("spot", ready=2, node="s1", name="x"),
        wants=9, interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
    )  # fmt: skip
    expect(story, desired=6, steps=["bounds", "interruption"])


def test_on_demand_replicas_on_a_lost_node_are_stood_in_for_while_their_pods_are_there():
    story = Scenario(model(cold_start_s=60.0, maximum=3))
    rows = [group(ready=2), group(ready=1, node="n2", name="x", sample_age_s=UNKNOWN)]
    story.look(100.0, *rows, wants=3, interruptions=[lost("n2")])
    expect(story, desired=4, commands=[annotation(("n2", 1)), "SetReplicas on-demand 4"])
    story.finish_all(101.0)
    raised = {"on-demand": PoolNow(promises=(promised("n2", 1, since=100.0),))}
    story.look(105.0, *rows, group(starting=[3.0]), wants=3, interruptions=[lost("n2")], pools=raised)  # fmt: skip
    expect(story, desired=4, commands=[])
    # The pod was deleted; its ReplicaSet replaces it.
    story.look(400.0, group(ready=3, starting=[2.0]), wants=3, pools=raised)
    expect(story, desired=3, commands=["Annotate on-demand None", "SetReplicas on-demand 3"])


def test_a_blind_tick_raises_and_releases_nothing():
    story = Scenario(fleet())
    raised = {"on-demand": PoolNow(promises=(promised("s1", 2, since=0.0),))}
    story.look(500.0, group(ready=3), group("spot", ready=3), wants=4, pools=raised, cluster_age_s=40.0)  # fmt: skip
    expect(story, pools={"on-demand": 3, "spot": 3}, commands=[])
    story.look(505.0, group(ready=1), group("spot", ready=1), group("spot", ready=2, node="s1", name="x"),
               wants=4, cluster_age_s=40.0,
               interruptions=[notice("s1", deadline_at=620.0, noticed_at=500.0)])  # fmt: skip
    expect(story, pools={"on-demand": 3, "spot": 3})


def test_promises_that_cannot_be_read_are_left_alone():
    story = Scenario(fleet())
    raised = {"on-demand": PoolNow(promises=(promised("s1", 2, since=50.0),))}
    rows = [group(ready=3), group("spot", ready=3, ready_age_s=10.0)]
    story.look(95.0, *rows, wants=4, pools=raised)
    broken = {"on-demand": PoolNow(promises_readable=False)}
    for at in (100.0, 500.0):
        # Also once spot is back for long: what was promised is not known any more.
        rows = [group(ready=3), group("spot", ready=3, ready_age_s=at - 85.0)]
        story.look(at, *rows, wants=4, pools=broken)
        expect(
            story,
            pools={"on-demand": 3, "spot": 3},
            conditions={"FallbackActive": "Unknown/PromisesUnreadable"},
            commands=[],
        )


def test_what_only_waits_out_a_dip_is_worth_no_start_on_demand():
    """Five are kept by the stabilization window; the forecast needs four, and four are left."""
    story = Scenario(fleet())
    rows = [group(ready=1), group("spot", ready=3), group("spot", ready=1, node="s1", name="x")]
    story.look(0.0, *rows, wants=5)
    doomed = [notice("s1", deadline_at=130.0, noticed_at=10.0)]
    story.look(10.0, *rows, wants=4, interruptions=doomed)
    expect(story, desired=5, pools={"on-demand": 1, "spot": 4}, commands=["CordonNode s1"])
    story.look(15.0, *rows, wants=5, interruptions=doomed)
    expect(story, pools={"on-demand": 2, "spot": 4})


def evicted(*, ago_s: float, node: str = "s1", count: int = 1) -> list[Row]:
    """Spot replicas that somebody told to go."""
    rows = group("spot", deleting=count, node=node, name=f"evicted-from-{node}")
    return [replace(row, deleting_age_s=ago_s) for row in rows]


@pytest.mark.parametrize(
    ("interruption", "evicted_ago_s", "others", "promise"),
    [
        pytest.param(
            disruption("s1", noticed_at=98.0), 2.0, group("spot", unschedulable=[1.0]), 1,
            id="a node termination handler that leaves no mark: its evictions are the notice",
        ),
        pytest.param(
            notice("s1", noticed_at=98.0, deadline_at=218.0, drained_elsewhere=True),
            1.0, group("spot", unschedulable=[1.0]), 1, id="Karpenter was quicker than we",
        ),
        pytest.param(
            notice("s1", noticed_at=98.0, deadline_at=218.0, drained_elsewhere=True),
            1.0, group("spot", starting=[1.0]), 0, id="its replacement has a node",
        ),
        pytest.param(
            notice("s1", noticed_at=98.0, deadline_at=218.0, drained_elsewhere=True),
            60.0, group("spot", unschedulable=[1.0]), 0, id="it went before, for another reason",
        ),
        pytest.param(
            lost("s1", noticed_at=98.0), 1.0, group("spot", unschedulable=[1.0]), 0,
            id="a lost node's pods are deleted in the end",
        ),
        pytest.param(
            risk("s1", noticed_at=98.0), 1.0, group("spot", unschedulable=[1.0]), 0,
            id="a risk takes nobody away",
        ),
    ],
)  # fmt: skip
def test_what_was_evicted_before_it_was_promised_for_is_owed_too(
    interruption, evicted_ago_s, others, promise
):
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1), group("spot", ready=1), evicted(ago_s=evicted_ago_s), others,
        wants=3, interruptions=[interruption],
    )  # fmt: skip
    expect(story, pools={"on-demand": 1 + promise, "spot": 2})
    promises = [annotation(("s1", promise))] if promise else []
    assert [words for words in story.commands if words.startswith("Annotate")] == promises


def test_what_was_promised_for_before_it_was_evicted_is_owed_once():
    story = Scenario(fleet())
    raised = {"on-demand": PoolNow(promises=(promised("s1", 1, since=99.0),))}
    for at in (100.0, 105.0):
        story.look(
            at, group(ready=1, starting=[1.0]), group("spot", ready=1),
            evicted(ago_s=at - 99.5), group("spot", unschedulable=[1.0]),
            wants=3, pools=raised, interruptions=[disruption("s1", noticed_at=98.0)],
        )  # fmt: skip
        expect(story, pools={"on-demand": 2, "spot": 2})
        assert not [words for words in story.commands if words.startswith("Annotate")]


def test_an_on_demand_replica_that_was_evicted_has_been_replaced_by_its_replica_set():
    story = Scenario(fleet())
    rows = group(deleting=1, node="o1", name="gone")
    story.look(
        100.0, [replace(row, deleting_age_s=1.0) for row in rows],
        group(unschedulable=[1.0]), group("spot", ready=2),
        wants=3, interruptions=[disruption("o1", noticed_at=98.0)],
    )  # fmt: skip
    assert not [words for words in story.commands if words.startswith("Annotate")]
