from __future__ import annotations

from typing import Any

import pytest

from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.dialects.azure import AzureMetadata
from autoscaler.agent.marking import LOOK_EVERY_S, RETRY_NOTICE_S, Marking
from autoscaler.agent.notice import (
    ALIVE_ANNOTATION,
    NOTICE_ANNOTATION,
    NoticeKind,
    Told,
    read_notice,
)
from autoscaler.core.contract import commands
from autoscaler.kube.api import timestamps
from tests.agent.conftest import NOW
from tests.agent.dialects.test_azure import event
from tests.agent.metadata_server import EVENTS_PATH, status

TERMINATION = Told(kind=NoticeKind.TERMINATION, deadline_at=NOW + 120.0)
RISK = Told(kind=NoticeKind.RISK)
HELLO = {"metadata": {"annotations": {NOTICE_ANNOTATION: None, ALIVE_ANNOTATION: "azure-imds"}}}
"""The first write, where there is nothing to say."""


class Story:
    """A board that is filled by hand, and a Node on a real server."""

    def __init__(self, node: Any, service: Any, **more: Any) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.board = NoticeBoard("azure-imds", ["a", "b"], now=lambda: NOW)
        self.marking = Marking(
            node,
            self.board,
            service,
            log=lambda event, **details: self.lines.append((event, details)),
            **more,
        )

    def hear(self, **told: Told | None) -> float:
        for feed, each in told.items():
            self.board.answered(feed, each)
        return self.marking.step()

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


@pytest.fixture
def story(node, terms) -> Story:
    return Story(node, AzureMetadata(terms))


def test_each_change_is_written_once(api, story):
    story.hear()
    story.hear(a=None, b=None)
    assert api.patches == [{}, HELLO]
    pause = story.hear(a=RISK)
    assert pause == pytest.approx(LOOK_EVERY_S, rel=0.11)
    for _ in range(3):
        story.hear(a=RISK)
    story.hear(b=TERMINATION)
    story.hear(b=None)
    story.hear(a=None)
    written = [each["metadata"]["annotations"][NOTICE_ANNOTATION] for each in api.patches[2:]]
    kinds = [None if text is None else str(read_notice(text).kind) for text in written]
    assert kinds == ["Risk", "Termination", "Risk", None]
    assert story.events == ["notice.marked"] * 3 + ["notice.cleared"]


@pytest.mark.parametrize(
    "stale",
    [
        '{"kind":"Termination","source":"azure-imds","deadline":"2027-01-15T08:01:00Z","noticed":"2027-01-15T07:59:00Z"}',
        "what?",
        '{"kind":"Risk","source":"gce-metadata","noticed":"2026-04-24T17:09:44Z"}',
    ],
)
def test_what_an_earlier_life_left_goes_when_all_feeds_deny_it(api, story, stale):
    api.annotations[NOTICE_ANNOTATION] = stale
    story.hear(a=None)
    if "azure-imds" in stale:
        assert api.mark == stale  # half is unknown yet
    story.hear(b=None)
    assert api.mark is None
    assert story.events[-1] == "notice.cleared"


def test_the_mark_of_an_earlier_life_is_kept_to_the_letter_where_it_still_holds(api, story):
    first = '{"kind":"Termination","source":"azure-imds","deadline":"2027-01-15T08:02:00Z","noticed":"2027-01-15T07:50:00Z"}'
    api.annotations[NOTICE_ANNOTATION] = first
    assert read_notice(first).deadline_at == TERMINATION.deadline_at
    story.hear(a=TERMINATION, b=None)
    assert api.mark == first
    assert story.events == []


def test_a_mark_that_somebody_took_away_comes_back(api, story):
    story.hear(a=TERMINATION, b=None)
    mark = api.mark
    api.annotations.clear()
    story.hear()
    assert not api.annotations  # it is not due yet
    story.marking._look_at = 0.0
    story.hear()
    assert api.mark == mark
    assert story.events == ["notice.marked"]


@pytest.mark.parametrize("code", [401, 403, 404, 409, 429, 500, 503])
def test_a_write_that_is_refused_is_tried_again_soon_and_said_once(api, story, code):
    story.hear(a=None, b=None)
    api.faults += [status(code)] * 8
    pauses = [story.hear(a=TERMINATION) for _ in range(8)]
    assert all(0.0 < pause <= RETRY_NOTICE_S for pause in pauses)
    assert pauses[0] <= 0.5
    story.hear()
    assert api.mark is not None
    assert story.events == ["node.failed", "notice.marked", "node.recovered"]


def test_without_a_notice_there_is_no_hurry(api, story):
    api.always = status(500)
    pauses = [story.hear(a=None, b=None) for _ in range(12)]
    assert max(pauses) > RETRY_NOTICE_S
    assert story.events == ["node.failed"]


def test_what_comes_while_the_api_server_is_away_is_written_as_it_is_then(api, story):
    api.faults += [status(503)] * 2
    story.hear(a=RISK)
    story.hear(b=TERMINATION)
    story.hear(a=None)
    assert read_notice(api.mark).kind is NoticeKind.TERMINATION
    assert len(api.patches) == 2  # a look, a write


def test_while_it_runs_the_node_says_so(api, story):
    story.hear(a=TERMINATION, b=None)
    mark = api.mark
    assert api.annotations[ALIVE_ANNOTATION] == "azure-imds"
    story.marking.leave()
    assert api.annotations == {NOTICE_ANNOTATION: mark}
    api.faults.append(status(500))
    story.marking.leave()
    assert story.events == ["notice.marked", "node.failed"]


def test_an_agent_that_was_there_before_writes_nothing_anew(api, story):
    api.annotations[ALIVE_ANNOTATION] = "azure-imds"
    story.hear(a=None, b=None)
    assert api.patches == [{}]


# -- acknowledgement


def acknowledging(node, terms, server) -> Story:
    service = AzureMetadata(terms)
    server.events = [event(EventId="ours")]
    service.feeds[0].read()
    return Story(node, service, acknowledges=True)


def look_again(story: Story) -> float:
    story.marking._look_at = 0.0
    return story.hear()


def test_azure_may_begin_when_the_node_is_drained_and_not_before(api, node, terms, server):
    story = acknowledging(node, terms, server)
    assert story.hear(a=TERMINATION, b=None) < LOOK_EVERY_S / 2
    for early in ("2027-01-15T07:59:59Z", "soon", ""):  # noticed at 08:00:00
        api.annotations["inference-autoscaler.dev/drained"] = early
        look_again(story)
        assert server.started == []
    api.annotations["inference-autoscaler.dev/drained"] = "2027-01-15T08:00:20Z"
    server.faults[EVENTS_PATH].append(status(500))
    look_again(story)
    assert server.started == []
    assert look_again(story) > LOOK_EVERY_S / 2
    assert server.started == ["ours"]
    assert story.events == ["notice.marked", "metadata.failed", "event.acknowledged"]
    look_again(story)
    assert server.started == ["ours"]


def test_what_the_daemon_writes_is_what_is_waited_for(api, node, terms, server):
    story = acknowledging(node, terms, server)
    api.annotations[commands.DRAINED_ANNOTATION] = timestamps.rfc3339(NOW + 20.4)
    story.hear(a=TERMINATION, b=None)
    assert server.started == ["ours"]


def test_it_never_does_where_that_was_not_asked_for(api, node, terms, server):
    story = acknowledging(node, terms, server)
    story.marking._acknowledges = False
    api.annotations["inference-autoscaler.dev/drained"] = "2027-01-15T08:00:20Z"
    story.hear(a=TERMINATION, b=None)
    look_again(story)
    assert server.started == []
