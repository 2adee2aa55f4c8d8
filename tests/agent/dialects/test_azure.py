from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.agent.dialects.azure import AzureMetadata, gmt_seconds
from autoscaler.agent.dialects.contract import MetadataError, Terms
from autoscaler.agent.notice import NoticeKind, Told, moment_of
from tests.agent.conftest import NOW
from tests.agent.metadata_server import EVENTS_PATH, NAME_PATH, status

AT = moment_of("2026-09-19T18:29:47Z")
OURS = "gpu-vmss_7"


def event(kind: str = "Preempt", **more: Any) -> dict[str, Any]:
    return {
        "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": [OURS],
        "EventStatus": "Scheduled",
        "NotBefore": "Sat, 19 Sep 2026 18:29:47 GMT",
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
    } | more


def ends(at: float | None = AT, *, dated: bool = True) -> Told:
    return Told(kind=NoticeKind.TERMINATION, deadline_at=at, dated=dated)


@pytest.fixture
def service(terms: Terms) -> AzureMetadata:
    return AzureMetadata(terms)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([event()], ends(), id="a preemption"),
        *(
            pytest.param([event(kind)], ends(), id=kind)
            for kind in ("Terminate", "Redeploy", "Reboot")
        ),
        pytest.param([event("Freeze")], Told(kind=NoticeKind.RISK), id="a pause of unknown length"),
        pytest.param([event("Freeze", DurationInSeconds=9)], None, id="a short pause"),
        pytest.param(
            [event("Freeze", DurationInSeconds=600)], Told(kind=NoticeKind.RISK), id="a long pause"
        ),
        pytest.param([event("Rotate")], None, id="a type that is not known"),
        pytest.param([event(7)], None, id="a type that is none"),  # type: ignore[arg-type]
        pytest.param([event(Resources=["other_1"])], None, id="of another machine"),
        pytest.param([event(Resources=[])], None, id="of no machine"),
        pytest.param([event(Resources=["a", "GPU-VMSS_7 "])], ends(), id="of two, in capitals"),
        pytest.param(
            [event(EventStatus="Started", NotBefore="")], ends(NOW, dated=False), id="it has begun"
        ),
        pytest.param([event(NotBefore="")], ends(NOW + 30.0, dated=False), id="no time"),
        pytest.param([event(NotBefore=None)], ends(NOW + 30.0, dated=False), id="null"),
        pytest.param([event(NotBefore="soon")], ends(NOW + 30.0, dated=False), id="soon"),
        pytest.param(
            [
                event("Freeze"),
                event("Reboot"),
                event(NotBefore="Sat, 19 Sep 2026 18:20:00 GMT"),
            ],
            ends(AT - 587.0),
            id="of several the worst and soonest",
        ),
        pytest.param(["what?", event()], ends(), id="one without form beside one with"),
    ],
)
def test_events(server, service, read, events, told):
    server.events = events
    assert read(service) == {"scheduledevents": told}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"Events": {}}',
        b'{"Events": null}',
        b'{"Events": ["what?"]}',
        b"\xff",
    ],
)
def test_a_document_without_form_is_unknown(server, service, body):
    server.faults[EVENTS_PATH].append(status(200, body))
    with pytest.raises(MetadataError, match="scheduledevents"):
        service.feeds[0].read()
    assert service.feeds[0].read() is None


@pytest.mark.parametrize("code", [400, 404, 410, 429, 500])
def test_a_refusal_is_unknown(server, service, code):
    server.faults[EVENTS_PATH].append(status(code))
    with pytest.raises(MetadataError, match=str(code)):
        service.feeds[0].read()


@pytest.mark.parametrize(
    "answer", [status(404), status(500), status(200, b""), status(200, b"a\0b")]
)
def test_without_its_own_name_nothing_is_known(server, service, answer):
    server.events = [event()]
    server.faults[NAME_PATH].append(answer)
    with pytest.raises(MetadataError):
        service.feeds[0].read()
    assert service.feeds[0].read() == ends()


def test_the_name_is_asked_for_once(server, service, read):
    for _ in range(3):
        read(service)
    assert server.asked(NAME_PATH) == 1


def test_only_what_ends_this_machine_alone_is_acknowledged(server, service, read):
    server.events = [
        event(EventId="ours"),
        event(EventId="shared", Resources=[OURS, "other_1"]),
        event(EventId="other", Resources=["other_1"]),
        event("Freeze", EventId="pause"),
        event(EventId="begun", EventStatus="Started"),
    ]
    assert service.acknowledge() is False
    read(service)
    assert service.acknowledge() is True
    assert server.started == ["ours"]
    assert service.acknowledge() is False


def test_an_acknowledgement_that_is_refused_is_tried_again(server, service, read):
    server.events = [event(EventId="ours")]
    read(service)
    server.faults[EVENTS_PATH].append(status(500))
    with pytest.raises(MetadataError, match="500"):
        service.acknowledge()
    assert service.acknowledge() is True


def test_it_is_recognized_by_the_name_of_the_machine(server, service):
    assert service.recognized()
    server.cloud = "aws"
    with pytest.raises(MetadataError, match="404"):
        service.recognized()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["EventType", "Resources", "EventStatus", "NotBefore", "DurationInSeconds", "EventId"]
)


@pytest.mark.slow
@given(st.lists(st.dictionaries(FIELDS, JSON).map(lambda odd: event() | odd) | JSON, max_size=3))
def test_whatever_the_events_are_it_is_a_notice_or_unknown(events):
    service = AzureMetadata(Terms(now=lambda: NOW))
    service._name = OURS
    try:
        told = service._read_events(events)
    except MetadataError:
        return
    assert told is None or (told.kind is NoticeKind.TERMINATION) == (told.deadline_at is not None)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Mon, 19 Sep 2016 18:29:47 GMT", 1474309787.0),
        ("Mon, 19 Sep 2016 18:29:47 UTC", 1474309787.0),
        ("Mon, 19 Sep 2016 18:29:47 -0000", 1474309787.0),
        ("Mon, 19 Sep 2016 20:29:47 +0200", 1474309787.0),
        ("Mon, 19 Sep 1916 18:29:47 GMT", None),
        ("Mon, 39 Sep 2016 18:29:47 GMT", None),
        ("2016-09-19T18:29:47Z", None),
        ("", None),
        (5, None),
    ],
)
def test_dates(text, at):
    assert gmt_seconds(text) == at


@given(st.text() | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,5} \d+:\d+:\d+ [A-Z+\-\d]{0,6}"))
def test_whatever_the_date_is_it_is_one_or_none(text):
    at = gmt_seconds(text)
    assert at is None or at >= 0.0
