"""What we have promised ourselves counts as seen until the watch shows it: the watch may be late."""

from __future__ import annotations

import pytest

from tests.builders import PoolNow, group, notice, promised
from tests.core.interrupted import annotation, fleet
from tests.expect import Scenario, expect

DOOMED = [notice("s1", deadline_at=220.0, noticed_at=100.0)]
TWO = {"on-demand": PoolNow(promises=(promised("s1", 2, since=100.0),))}
ONE = {"on-demand": PoolNow(promises=(promised("s1", 1, since=100.0),))}


def raised(*, reason: str = "Accepted") -> Scenario:
    """Two replicas are promised for s1; the API server has said so, and the watch has not."""
    story = Scenario(fleet())
    story.look(
        100.0, group(ready=1), group("spot", ready=1), group("spot", ready=2, node="s1", name="x"),
        wants=4, interruptions=DOOMED,
    )  # fmt: skip
    assert story.commands[0] == annotation(("s1", 2))
    if reason:
        story.finish(101.0, story.outcome.commands[0], reason=reason)
    return story


def look_again(story: Scenario, at: float, **what: object) -> None:
    """One more replica serves, of late, so that a promise made now would be for one."""
    story.look(
        at, group(ready=1), group("spot", ready=1), group("spot", ready=1, ready_age_s=5.0, name="new"),
        group("spot", ready=2, node="s1", name="x"), wants=4, interruptions=DOOMED, **what,
    )  # fmt: skip


def annotations(story: Scenario) -> list[str]:
    return [words for words in story.commands if words.startswith("Annotate")]


def test_an_accepted_promise_counts_before_it_is_seen():
    story = raised()
    look_again(story, 102.0)
    assert annotations(story) == []
    assert story.pool("on-demand").fallback_replicas == 2


def test_it_counts_on_while_it_is_not_seen():
    story = raised()
    for at in (102.0, 104.0, 106.0):
        look_again(story, at)
        assert annotations(story) == []


def test_once_it_was_seen_what_is_seen_counts():
    """Whoever takes it away after that is believed at once."""
    story = raised()
    look_again(story, 102.0, pools=TWO)
    look_again(story, 104.0)
    assert annotations(story) == [annotation(("s1", 1), since="1970-01-01T00:01:44Z")]


def test_what_is_not_seen_within_its_time_was_undone_by_somebody():
    story = raised()
    look_again(story, 110.0)
    assert annotations(story) == [annotation(("s1", 1), since="1970-01-01T00:01:50Z")]


def test_one_that_was_refused_does_not_count():
    story = raised(reason="Conflict")
    look_again(story, 102.0)
    assert annotations(story) == [annotation(("s1", 1), since="1970-01-01T00:01:42Z")]


def test_a_released_promise_that_still_is_seen_is_not_counted_on():
    """The need came back a moment later; what stands on the target is no promise any more."""
    story = Scenario(fleet())
    back = group("spot", ready=2, ready_age_s=310.0, name="b")
    story.look(460.0, group(ready=2), back, wants=3, pools=ONE)
    expect(story, commands=["Annotate on-demand None", "SetReplicas on-demand 1"])
    story.finish_all(461.0)
    story.look(462.0, group(ready=2), back, wants=4, pools=ONE)
    assert story.pool("on-demand").fallback_replicas == 0
    expect(story, pools={"on-demand": 2, "spot": 3})  # an ordinary stand-in


def test_a_promise_that_nobody_can_read_is_left_alone_also_after_our_own():
    story = raised()
    look_again(story, 102.0, pools={"on-demand": PoolNow(promises_readable=False)})
    assert annotations(story) == []


@pytest.mark.parametrize("remembered", [True, False])
def test_a_new_life_begins_with_what_is_seen(remembered):
    """A checkpoint holds what was accepted; a process that died has read everything anew."""
    story = raised()
    story.restart(remembered=remembered)
    look_again(story, 102.0, pools=TWO)
    assert annotations(story) == []
