from __future__ import annotations

import threading

import pytest

from autoscaler.agent.dialects.contract import MetadataError, Terms
from autoscaler.agent.dialects.gce import GceMetadata
from autoscaler.agent.notice import NoticeKind, Told
from tests.agent.conftest import NOW
from tests.agent.metadata_server import GCE, raw, status


@pytest.fixture
def service(terms: Terms) -> GceMetadata:
    return GceMetadata(terms)


def ends_in(seconds: float) -> Told:
    return Told(kind=NoticeKind.TERMINATION, deadline_at=NOW + seconds, dated=False)


def test_a_machine_that_nobody_wants(service, read):
    assert read(service) == {"preempted": None, "maintenance-event": None}


@pytest.mark.parametrize("lead_s", [30.0, 120.0])
def test_a_preemption_ends_it_after_the_lead_of_the_options(server, read, lead_s):
    server.words["preempted"] = "TRUE"
    terms = Terms(address=server.metadata, preemption_lead_s=lead_s, now=lambda: NOW)
    assert read(GceMetadata(terms))["preempted"] == ends_in(lead_s)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("TERMINATE_ON_HOST_MAINTENANCE", ends_in(3600.0)),
        ("MIGRATE_ON_HOST_MAINTENANCE", None),
        ("NONE", None),
        ("SOMETHING_NEW", None),
        ("", None),
    ],
)
def test_only_maintenance_that_stops_the_machine_is_a_notice(server, service, read, word, told):
    server.words["maintenance-event"] = word
    assert read(service)["maintenance-event"] == told


def test_the_second_question_hangs_until_the_word_turns(server, service):
    preempted, _ = service.feeds
    assert preempted.read() is None
    answers: list[Told | None] = []
    asking = threading.Thread(target=lambda: answers.append(preempted.read()))
    asking.start()
    while server.waits == 0:
        pass
    assert answers == []
    server.turn("preempted", "TRUE")
    asking.join(5)
    assert answers == [ends_in(30.0)]
    assert "wait_for_change=true" in server.requests[-1][1]
    assert "last_etag=1" in server.requests[-1][1]


def test_after_a_failure_it_is_asked_for_at_once(server, service):
    preempted, _ = service.feeds
    preempted.read()
    server.faults[GCE + "preempted"].append(status(503))
    with pytest.raises(MetadataError, match="503"):
        preempted.read()
    preempted.read()
    assert "wait_for_change" not in server.requests[-1][1]


def test_a_service_that_gives_no_etag_is_asked_again_and_again(server, service):
    preempted, _ = service.feeds
    plain = b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nContent-Length: 5\r\n\r\nFALSE"
    for _ in range(2):
        server.faults[GCE + "preempted"].append(raw(plain))
        assert preempted.read() is None
    assert "wait_for_change" not in server.requests[-1][1]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(status(404), id="404"),
        pytest.param(status(500), id="500"),
        pytest.param(status(301), id="a redirect"),
        pytest.param(status(200, b"TRUE"), id="not Google's"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n\r\nmaybe"), id="maybe"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n\r\n"), id="empty"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nTR"), id="cut off"),
    ],
)
def test_an_answer_that_cannot_be_read_is_unknown(server, service, answer):
    server.faults[GCE + "preempted"].append(answer)
    with pytest.raises(MetadataError):
        service.feeds[0].read()


def test_an_etag_of_odd_letters_is_quoted(server, service):
    odd = b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nETag: a b&c\r\nContent-Length: 5\r\n\r\nFALSE"
    server.faults[GCE + "preempted"].append(raw(odd))
    service.feeds[0].read()
    preempted = service.feeds[0]
    server.faults[GCE + "preempted"].append(raw(odd))
    preempted.read()
    assert preempted.read() is None  # the etag is not the server's: it answers at once
    assert "last_etag=a%20b%26c" in server.requests[-1][1]


def test_it_is_recognized_by_its_flavor(server, service):
    assert service.recognized()
    server.cloud = "aws"
    assert not service.recognized()
    assert service.acknowledge() is False
