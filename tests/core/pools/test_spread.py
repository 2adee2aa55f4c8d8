"""Several spot pools: which zone is asked, who replaces what is taken, and who stands in."""

from __future__ import annotations

import pytest

from tests.builders import (
    ON_DEMAND,
    SPOT,
    PoolNow,
    group,
    model,
    node,
    notice,
    on_demand,
    promised,
    spot,
)
from tests.core.interrupted import annotation
from tests.expect import Scenario, expect

ZONES = ("a", "b", "c")
NODES = [node(f"{zone}{number}", SPOT, zone=zone) for zone in ZONES for number in range(1, 5)]


def zoned(**what):
    """A warm replica on demand, the rest on spot in three zones."""
    prices = what.pop("prices", (None, None, None))
    pools = [spot(zone, price=price) for zone, price in zip(ZONES, prices, strict=True)]
    return model(
        pools=[*pools, on_demand(price=what.pop("on_demand_price", None))],
        warm=1,
        warm_on=ON_DEMAND,
        cold_start_s=60.0,
        **what,
    )


def at(zone: str, number: int, **what):
    """Replicas of a zone on one of its nodes."""
    return group(zone, node=f"{zone}{number}", name=f"n{number}", **what)


WARM = group(ready=1)


def test_new_replicas_go_to_the_zone_that_has_the_fewest_and_nobody_is_moved():
    story = Scenario(zoned())
    rows = [WARM, at("a", 1, ready=4), at("b", 1, ready=2)]
    story.look(0.0, *rows, wants=7, nodes=NODES)
    expect(story, pools={"a": 4, "b": 2, "c": 0, "on-demand": 1}, commands=[])
    story.look(5.0, *rows, wants=10, nodes=NODES)
    expect(story, pools={"a": 4, "b": 3, "c": 2, "on-demand": 1}, steps=[])


def test_fewer_are_taken_from_where_one_starts_then_from_the_largest_zone():
    story = Scenario(zoned())
    rows = [WARM, at("a", 1, ready=4), at("b", 1, ready=2), at("c", 1, ready=1, starting=[5.0])]
    story.look(0.0, *rows, wants=8, nodes=NODES)
    expect(story, pools={"a": 4, "b": 2, "c": 1})
    story.look(200.0, *rows, wants=6, nodes=NODES)
    expect(story, pools={"a": 2, "b": 2, "c": 1})


def test_where_zones_are_not_known_the_first_pool_has_it_all_as_before():
    story = Scenario(zoned())
    unnamed = [node(f"{zone}1", SPOT) for zone in ZONES]
    story.look(0.0, WARM, at("a", 1, ready=4), wants=9, nodes=unnamed)
    expect(story, pools={"a": 8, "b": 0, "c": 0, "on-demand": 1})


def test_what_is_taken_in_one_zone_is_replaced_in_the_others_and_not_on_demand():
    story = Scenario(zoned())
    doomed = [notice("a2", deadline_at=220.0, noticed_at=100.0)]
    rows = [WARM, at("a", 1, ready=1), at("b", 1, ready=2), at("c", 1, ready=2)]
    story.look(100.0, *rows, at("a", 2, ready=2), wants=8, nodes=NODES, interruptions=doomed)
    # a's ReplicaSet might keep just its doomed ones: it is not cut before they are gone
    expect(
        story,
        desired=10,
        pools={"a": 3, "b": 3, "c": 3, "on-demand": 1},
        commands=["SetReplicas b 3", "SetReplicas c 3", "CordonNode a2"],
    )
    story.finish_all(101.0)
    # They are evicted: the ReplicaSet makes two more in zone a, which are given up.
    gone = [
        node(each.name, SPOT, zone=each.zone, unschedulable=each.name == "a2") for each in NODES
    ]
    story.look(
        110.0, *rows, at("a", 2, deleting=2), group("a", starting=[1.0, 1.0], node="", name="new"),
        at("b", 2, starting=[5.0]), at("c", 2, starting=[5.0]),
        wants=8, nodes=gone, interruptions=doomed,
    )  # fmt: skip
    expect(
        story,
        desired=8,
        pools={"a": 1, "b": 3, "c": 3, "on-demand": 1},
        commands=["SetReplicas a 1"],
    )


def test_where_others_wait_for_a_node_already_on_demand_is_raised():
    story = Scenario(zoned())
    doomed = [notice("a1", deadline_at=220.0, noticed_at=100.0)]
    story.look(
        100.0, WARM, at("a", 1, ready=2), at("b", 1, ready=2), group("b", unschedulable=[5.0], name="w"),
        at("c", 1, ready=2), group("c", unschedulable=[5.0], name="w"),
        wants=7, nodes=NODES, interruptions=doomed,
    )  # fmt: skip
    expect(story, pools={"on-demand": 3})


def test_where_all_places_cool_on_demand_is_raised_and_the_one_that_cools_off_first_is_asked():
    story = Scenario(zoned())
    rows = [WARM, at("a", 1, ready=2), at("b", 1, ready=2), at("c", 1, ready=2)]
    doomed = [notice("a1", deadline_at=220.0, noticed_at=100.0)]
    story.look(100.0, *rows, wants=7, nodes=NODES, interruptions=doomed)
    expect(story, pools={"on-demand": 1, "b": 3, "c": 3})
    doomed += [notice(name, deadline_at=225.0, noticed_at=105.0) for name in ("b1", "c1")]
    story.look(105.0, *rows, wants=7, nodes=NODES, interruptions=doomed)
    # a was taken first: it may be asked first; its replacements wait there
    expect(story, pools={"on-demand": 7, "a": 6, "b": 2, "c": 2})
    assert story.commands[0] == annotation(
        ("a1", 2), ("b1", 2), ("c1", 2), since="1970-01-01T00:01:45Z"
    )


def test_a_zone_without_a_node_is_left_for_another_and_asked_again_when_it_has_cooled():
    story = Scenario(zoned())
    rows = [WARM, at("a", 1, ready=2), at("b", 1, ready=2), at("c", 1, ready=1)]
    waits = group("c", unschedulable=[59.0], name="w")
    story.look(0.0, *rows, waits, wants=7, nodes=NODES)
    expect(story, pools={"a": 2, "b": 2, "c": 2}, commands=[])
    waits = group("c", unschedulable=[64.0], name="w")
    story.look(5.0, *rows, waits, wants=7, nodes=NODES)
    # nobody stands in on demand: another zone is asked for it
    expect(story, pools={"a": 3, "b": 2, "c": 1, "on-demand": 1})
    more = at("a", 2, ready=1)
    story.look(184.0, *rows, more, wants=8, nodes=NODES)
    expect(story, pools={"a": 3, "b": 3, "c": 1})
    story.look(186.0, *rows, more, wants=8, nodes=NODES)
    expect(story, pools={"a": 3, "b": 2, "c": 2})


def test_a_replacement_may_exceed_the_maximum_by_what_is_about_to_be_gone():
    story = Scenario(zoned(maximum=7))
    doomed = [notice("a1", deadline_at=220.0, noticed_at=100.0)]
    rows = [WARM, at("a", 1, ready=2), at("b", 1, ready=2), at("c", 1, ready=2)]
    story.look(100.0, *rows, wants=7, nodes=NODES, interruptions=doomed)
    expect(story, desired=9, pools={"a": 2, "b": 3, "c": 3, "on-demand": 1})


def test_a_dearer_pool_is_asked_only_while_the_cheaper_ones_cool():
    story = Scenario(zoned(prices=(1.0, 1.0, 2.0), on_demand_price=4.0))
    rows = [WARM, at("a", 1, ready=2), at("b", 1, ready=2)]
    story.look(0.0, *rows, wants=7, nodes=NODES)
    expect(story, pools={"a": 3, "b": 3, "c": 0})
    doomed = [notice(name, deadline_at=220.0, noticed_at=100.0) for name in ("a1", "b1")]
    story.look(100.0, *rows, wants=5, nodes=NODES, interruptions=doomed)
    expect(story, pools={"a": 2, "b": 2, "c": 4, "on-demand": 1})


def test_spot_returns_from_on_demand_once_it_has_been_back():
    story = Scenario(zoned())
    raised = {"on-demand": PoolNow(promises=(promised("a1", 2, since=100.0),))}
    rows = [at("b", 1, ready=2), at("c", 1, ready=2)]
    for ready_age_s, on_demand_replicas in [(299.0, 3), (300.0, 1)]:
        story.look(
            500.0, group(ready=3), at("a", 2, ready=2, ready_age_s=ready_age_s), *rows,
            wants=7, nodes=NODES, pools=raised,
        )  # fmt: skip
        expect(story, pools={"on-demand": on_demand_replicas, "a": 2, "b": 2, "c": 2})


@pytest.mark.parametrize("remembered", [True, False])
def test_a_restart_forgets_what_cools_unless_a_checkpoint_says_it(remembered):
    story = Scenario(zoned())
    rows = [WARM, at("a", 1, ready=1), at("b", 1, ready=2), at("c", 1, ready=2)]
    doomed = [notice("a2", deadline_at=220.0, noticed_at=100.0)]
    story.look(100.0, *rows, at("a", 2, ready=1), wants=7, nodes=NODES, interruptions=doomed)
    story.restart(remembered=remembered)
    story.look(150.0, *rows, wants=7, nodes=NODES)
    zone = "b" if remembered else "a"
    expect(story, pools={zone: {"a": 2, "b": 3}[zone]})
