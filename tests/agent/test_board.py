from __future__ import annotations

import pytest

from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.notice import NodeNotice, NoticeKind, Told

SOURCE = "aws-imds"
RISK = Told(kind=NoticeKind.RISK)


def dated(at: float) -> Told:
    return Told(kind=NoticeKind.TERMINATION, deadline_at=at)


def undated(at: float) -> Told:
    return Told(kind=NoticeKind.TERMINATION, deadline_at=at, dated=False)


def marked(at: float | None, *, noticed: float, kind: str = "Termination") -> NodeNotice:
    return NodeNotice(kind=NoticeKind(kind), source=SOURCE, noticed_at=noticed, deadline_at=at)


class Story:
    """A board and its clock."""

    def __init__(self, *feeds: str) -> None:
        self.at = 1000.0
        self.board = NoticeBoard(SOURCE, feeds or ("a", "b"), now=lambda: self.at)

    def hear(
        self, at: float, feed: str, told: Told | None, *, denials: int = 3
    ) -> NodeNotice | None:
        self.at = at
        self.board.answered(feed, told, denials_needed=denials)
        return self.board.notice()


def test_of_two_feeds_the_worse_is_shown():
    story = Story()
    assert story.hear(1000.0, "a", RISK) == marked(None, noticed=1000.0, kind="Risk")
    assert story.hear(1002.5, "b", dated(1120.0)) == marked(1120.0, noticed=1002.0)
    assert story.hear(1004.0, "a", RISK) == marked(1120.0, noticed=1002.0)


def test_it_was_noticed_when_it_was_first_said():
    story = Story()
    for second in range(5):
        heard = story.hear(1000.0 + second, "a", dated(1120.0))
        assert heard == marked(1120.0, noticed=1000.0)


def test_a_date_of_the_cloud_s_own_is_taken():
    story = Story()
    told = Told(kind=NoticeKind.RISK, noticed_at=900.0)
    assert story.hear(1000.0, "a", told) == marked(None, noticed=900.0, kind="Risk")


@pytest.mark.parametrize("moved", [1110.0, 1130.0])
def test_a_deadline_that_the_cloud_moves_is_followed(moved):
    story = Story()
    story.hear(1000.0, "a", dated(1120.0))
    assert story.hear(1002.0, "a", dated(moved)) == marked(moved, noticed=1000.0)


def test_an_undated_deadline_does_not_move_with_every_answer():
    story = Story()
    story.hear(1000.0, "a", undated(1030.0))
    assert story.hear(1005.0, "a", undated(1035.0)) == marked(1030.0, noticed=1000.0)


def test_what_had_a_date_and_has_begun_ends_now():
    story = Story()
    story.hear(1000.0, "a", dated(1600.0))
    assert story.hear(1100.0, "a", undated(1100.0)) == marked(1100.0, noticed=1000.0)
    assert story.hear(1101.0, "a", undated(1101.0)) == marked(1100.0, noticed=1000.0)


def test_a_worse_kind_of_the_same_feed_is_a_new_notice():
    story = Story()
    story.hear(1000.0, "a", RISK)
    assert story.hear(1050.0, "a", dated(1170.0)) == marked(1170.0, noticed=1050.0)


def test_a_notice_is_taken_back_by_answers_in_a_row():
    story = Story()
    told = story.hear(1000.0, "a", dated(1120.0))
    assert story.hear(1002.0, "a", None) == told
    assert story.hear(1004.0, "a", None) == told
    assert story.hear(1006.0, "a", dated(1120.0)) == told  # it was a hiccup
    assert story.hear(1008.0, "a", None) == told
    assert story.hear(1010.0, "a", None) == told
    assert story.hear(1012.0, "a", None) is None


def test_another_feed_s_denials_take_nothing_back():
    story = Story()
    told = story.hear(1000.0, "a", dated(1120.0))
    for _ in range(5):
        assert story.hear(1002.0, "b", None) == told


# -- what the Node carries from before


def test_it_holds_until_all_have_answered():
    story = Story()
    carried = marked(1120.0, noticed=990.0)
    story.board.take_over(carried)
    assert story.board.notice() == carried
    assert story.hear(1001.0, "a", None) == carried
    assert story.hear(1002.0, "b", None) is None


@pytest.mark.parametrize(("ago", "holds"), [(0.0, True), (600.0, True), (601.0, False)])
def test_a_machine_that_outlived_its_deadline_is_not_marked_by_a_feed_that_never_answers(
    ago, holds
):
    story = Story()
    carried = marked(1000.0, noticed=880.0)
    story.board.take_over(carried)
    assert story.hear(1000.0 + ago, "a", None) == (carried if holds else None)


@pytest.mark.parametrize("first", ["look", "answer"])
@pytest.mark.parametrize("told", [dated(1120.0), undated(1150.0)])
def test_a_restart_puts_no_deadline_off(first, told):
    story = Story()
    carried = marked(1120.0, noticed=990.0)
    if first == "look":
        story.board.take_over(carried)
    story.hear(1000.0, "a", told)
    if first == "answer":
        story.board.take_over(carried)
    assert story.hear(1001.0, "b", None) == carried
    assert story.hear(1002.0, "a", told) == carried


def test_another_deadline_of_the_cloud_is_another_notice():
    story = Story()
    story.board.take_over(marked(1120.0, noticed=990.0))
    story.hear(1000.0, "b", None)
    assert story.hear(1000.0, "a", dated(1500.0)) == marked(1500.0, noticed=1000.0)


def test_an_undated_notice_of_a_machine_that_came_back_is_new():
    story = Story()
    story.board.take_over(marked(900.0, noticed=870.0))
    story.hear(1000.0, "b", None)
    assert story.hear(1000.0, "a", undated(1030.0)) == marked(1030.0, noticed=1000.0)


def test_what_another_cloud_s_agent_wrote_is_not_kept():
    story = Story()
    story.board.take_over(
        NodeNotice(kind=NoticeKind.RISK, source="gce-metadata", noticed_at=1.0, deadline_at=None)
    )
    assert story.board.notice() is None


def test_it_says_when_something_changed():
    story = Story()
    changed = story.board.changed
    assert not changed.is_set()
    story.hear(1000.0, "a", None)
    assert changed.is_set()  # the first answer of a feed
    changed.clear()
    story.hear(1001.0, "a", None)
    assert not changed.is_set()
    story.hear(1002.0, "a", dated(1120.0))
    assert changed.is_set()
    changed.clear()
    story.hear(1003.0, "a", dated(1120.0))
    assert not changed.is_set()
