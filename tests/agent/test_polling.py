from __future__ import annotations

import threading
from collections import deque
from typing import Any

import pytest

from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.dialects.contract import MetadataError, MetadataFeed
from autoscaler.agent.notice import NoticeKind, Told
from autoscaler.agent.polling import BACK_OFF_MAX, Polling

TOLD = Told(kind=NoticeKind.RISK)


class Story:
    """A feed whose answers are written down before."""

    def __init__(self, *answers: Any) -> None:
        self.answers = deque(answers)
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.board = NoticeBoard("aws-imds", ["f"], now=lambda: 1000.0)
        feed = MetadataFeed(name="f", read=self.read, every_s=2.0)
        self.stopping = threading.Event()
        self.polling = Polling(
            feed,
            self.board,
            stopping=self.stopping,
            log=lambda event, **details: self.lines.append((event, details)),
        )

    def read(self) -> Told | None:
        answer = self.answers.popleft()
        if not self.answers:
            self.stopping.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


def test_it_asks_every_two_seconds_or_so():
    story = Story(None, TOLD)
    assert story.polling.step() == pytest.approx(2.0, rel=0.1)
    assert story.board.notice() is None
    story.polling.step()
    assert story.board.notice() is not None
    assert story.lines == []


def test_a_failure_is_said_once_waited_out_and_keeps_what_was_said():
    story = Story(TOLD, *[MetadataError("no")] * 5, TOLD)
    story.polling.step()
    pauses = [story.polling.step() for _ in range(5)]
    assert story.board.notice() is not None
    assert story.lines == [("metadata.failed", {"feed": "f", "found": "no"})]
    assert pauses[0] == pytest.approx(4.0, rel=0.1)
    assert pauses[-1] == pytest.approx(2.0 * BACK_OFF_MAX, rel=0.1)
    assert story.polling.step() == pytest.approx(2.0, rel=0.1)
    assert story.lines[1:] == [("metadata.recovered", {"feed": "f", "failures": 5})]


def test_a_bug_is_said_with_its_trace_and_ends_nothing():
    story = Story(ZeroDivisionError("ours"), TOLD)
    story.polling.step()
    story.polling.step()
    assert story.events == ["metadata.broke", "metadata.recovered"]
    assert "ZeroDivisionError: ours" in story.lines[0][1]["found"]
    assert story.board.notice() is not None


def test_the_thread_ends_when_it_is_told_to():
    story = Story(None)
    story.polling.start()
    story.polling.join(5)
    assert not story.polling.is_alive()
