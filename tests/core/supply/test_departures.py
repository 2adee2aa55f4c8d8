"""Replicas that go: why, what they had, and what became of it; unknown is never zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.contract.decision import Departure
from tests.builders import UNKNOWN, PoolNow, Row, group, lost, model, notice
from tests.expect import Scenario

AT = 100_000.0
GRACE_S = 60.0


def pod(name: str, running: float = 3.0, *, finished: float = 100.0, **more: object) -> Row:
    row = group(running=running, ready=1, node=f"node-{name}", grace_s=GRACE_S)[0]
    return replace(row, name=name, finished=finished, **{"aborted": 0.0, **more})


def leaving(name: str, running: float, *, for_s: float, **more: object) -> Row:
    """One whose deletion began so many seconds ago."""
    return pod(name, running, deleting=True, deleting_age_s=for_s, **more)


STAYS = pod("stays")


def look(
    story: Scenario, at: float, *rows: Row, current: int = 1, **more: object
) -> tuple[Departure, ...]:
    decision = story.look(AT + at, rows, wants=current, current={"on-demand": current}, **more)
    return decision.departed


def begun(current: int = 1) -> Scenario:
    """Two replicas; the Deployment is then asked for `current`, and one is being deleted."""
    story = Scenario(model(maximum=10))
    look(story, 0.0, STAYS, pod("goes", 5.0), current=2)
    look(story, 5.0, STAYS, leaving("goes", 5.0, for_s=2.0), current=current)
    return story


def test_one_that_finishes_all_it_had():
    story = begun()
    assert look(story, 10.0, STAYS, leaving("goes", 2.0, for_s=7.0, finished=103.0)) == ()
    assert look(story, 15.0, STAYS, leaving("goes", 0.0, for_s=12.0, finished=105.0)) == ()
    assert look(story, 20.0, STAYS) == (
        Departure(
            pod="goes", pool="on-demand", cause="ScaleDown", drained="Idle", leaving_s=17.0,
            in_flight_requests=5.0, finished_requests=5.0, aborted_requests=0.0,
            lost_requests=0.0, unknown_requests=0.0,
        ),
    )  # fmt: skip
    assert look(story, 25.0, STAYS) == (), "it is told once"


def test_one_that_is_killed_with_streams_in_flight():
    story = begun()
    last = leaving("goes", 2.0, for_s=57.0, finished=104.0, aborted=1.0)
    look(story, 60.0, STAYS, last)
    (gone,) = look(story, 65.0, STAYS)
    assert (gone.drained, gone.lost_requests, gone.unknown_requests) == ("Cut", 2.0, 0.0)
    assert (gone.finished_requests, gone.aborted_requests) == (3.0, 1.0)


def test_one_that_ends_by_itself_after_a_page_with_streams_is_unknown_and_not_lost():
    story = begun()
    look(story, 10.0, STAYS, leaving("goes", 2.0, for_s=7.0, finished=103.0))
    (gone,) = look(story, 15.0, STAYS)
    assert (gone.drained, gone.lost_requests, gone.unknown_requests) == ("Unknown", None, 2.0)
    assert gone.finished_requests == 3.0


def test_one_that_was_not_read_while_it_went_tells_nothing_of_its_end():
    story = Scenario(model(maximum=10))
    look(story, 0.0, STAYS, pod("goes", 0.0), current=2)
    old = leaving("goes", 0.0, for_s=2.0, sample_age_s=4.0)
    look(story, 5.0, STAYS, old)
    (gone,) = look(story, 10.0, STAYS)
    assert gone.drained == "Unknown"
    assert gone.in_flight_requests == 0.0
    assert (gone.lost_requests, gone.unknown_requests, gone.finished_requests) == (None,) * 3


@pytest.mark.parametrize("what", [{"running": UNKNOWN}, {"sample_age_s": UNKNOWN}])
def test_one_that_never_said_what_it_had(what: dict[str, float]):
    story = Scenario(model(maximum=10))
    silent = replace(pod("goes", UNKNOWN, finished=UNKNOWN), aborted=UNKNOWN, **what)
    look(story, 0.0, STAYS, silent, current=2)
    look(story, 5.0, STAYS, replace(silent, deleting=True, deleting_age_s=1.0))
    (gone,) = look(story, 70.0, STAYS)
    assert gone.drained == "Unknown"
    numbers = gone[gone._fields.index("in_flight_requests") :]
    assert numbers == (None,) * 5


def test_one_that_never_served_had_nothing():
    story = Scenario(model(maximum=10))
    starts = group(starting=[20.0], node="n")[0]
    look(story, 0.0, STAYS, starts, current=2)
    look(story, 5.0, STAYS, replace(starts, deleting=True, deleting_age_s=1.0))
    (gone,) = look(story, 10.0, STAYS)
    assert (gone.drained, gone.in_flight_requests, gone.lost_requests) == ("Idle", 0.0, 0.0)


def test_a_list_that_is_empty_beside_everything_else_tells_of_no_departure():
    """The Deployments are not listed either: whoever answers so has lost its objects, not the replicas."""
    story = begun()
    gone = story.look(AT + 10.0, (), wants=None, current={"on-demand": None}).departed
    assert [each.pod for each in gone] == ["goes"], "its deletion was seen"
    assert look(story, 15.0, STAYS) == ()
    (gone,) = look(story, 20.0)
    assert gone.pod == "stays", "listed again, and then gone: the Deployment is there"


def test_one_whose_deletion_was_never_seen():
    story = Scenario(model(maximum=10))
    look(story, 0.0, STAYS, pod("goes", 5.0), current=2)
    (gone,) = look(story, 5.0, STAYS)
    assert (gone.cause, gone.drained, gone.leaving_s) == ("ScaleDown", "Unknown", None)
    assert (gone.in_flight_requests, gone.lost_requests, gone.unknown_requests) == (5.0, None, 5.0)


def test_a_counter_that_began_anew_tells_no_completions():
    story = begun()
    look(story, 10.0, STAYS, leaving("goes", 0.0, for_s=7.0, finished=1.0))
    (gone,) = look(story, 15.0, STAYS)
    assert gone.finished_requests is None
    assert gone.lost_requests == 0.0


# -- why


def test_a_deletion_with_the_same_scale_is_somebody_elses():
    story = begun(current=2)
    (gone,) = look(story, 20.0, STAYS, current=2)
    assert gone.cause == "Elsewhere"


def test_a_rollout():
    story = Scenario(model(maximum=10))
    pools = {"on-demand": PoolNow(rolling_out=True)}
    look(story, 0.0, STAYS, pod("goes", 5.0), current=2, pools=pools)
    look(story, 5.0, STAYS, leaving("goes", 5.0, for_s=2.0), current=2, pools=pools)
    (gone,) = look(story, 20.0, STAYS, current=2)
    assert gone.cause == "Rollout", "as it was when its deletion began"


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "between two looks"])
def test_a_notice(*, seen: bool):
    story = Scenario(model(maximum=10))
    doom = [notice("node-goes", deadline_at=AT + 60, noticed_at=AT)]
    look(story, 0.0, STAYS, pod("goes", 5.0), current=2, interruptions=doom)
    if seen:
        going = leaving("goes", 0.0, for_s=2.0)
        look(story, 5.0, STAYS, going, current=2, interruptions=doom)
    (gone,) = look(story, 20.0, STAYS, current=2)
    assert gone.cause == "Notice"


def test_a_lost_node_takes_what_was_in_flight():
    story = Scenario(model(maximum=10))
    gone_node = [lost("node-goes", noticed_at=AT)]
    look(story, 0.0, STAYS, pod("goes", 5.0), current=2)
    look(story, 5.0, STAYS, pod("goes", 5.0, sample_age_s=10.0), current=2, interruptions=gone_node)
    (gone,) = look(story, 20.0, STAYS, current=2)
    assert (gone.cause, gone.drained, gone.lost_requests) == ("NodeLost", "Cut", 5.0)
    assert gone.unknown_requests is None


def test_a_scale_down_long_ago_is_no_reason():
    story = Scenario(model(maximum=10))
    look(story, 0.0, STAYS, pod("goes", 5.0), pod("first"), current=3)
    look(story, 5.0, STAYS, pod("goes", 5.0), current=2)
    look(story, 100.0, STAYS, pod("goes", 5.0), current=2)
    (gone,) = look(story, 105.0, STAYS, current=2)
    assert gone.cause == "Elsewhere"


def test_what_is_leaving_survives_a_restart_from_a_checkpoint():
    story = begun()
    story.restart(remembered=True)
    look(story, 10.0, STAYS, leaving("goes", 0.0, for_s=7.0, finished=105.0))
    (gone,) = look(story, 15.0, STAYS)
    assert (gone.in_flight_requests, gone.finished_requests) == (5.0, 5.0)
