from __future__ import annotations

import json

import pytest

from autoscaler.agent.dialects.aws import AwsMetadata
from autoscaler.agent.dialects.contract import MetadataError, Terms
from autoscaler.agent.notice import NoticeKind, Told, moment_of
from tests.agent.conftest import NOW
from tests.agent.metadata_server import AWS, TOKEN_PATH, MetadataServer, drip, raw, silence, status

ACTION = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"
GROUP = "autoscaling/target-lifecycle-state"
AT = moment_of("2026-04-24T17:11:44Z")


@pytest.fixture
def service(terms: Terms) -> AwsMetadata:
    return AwsMetadata(terms)


def test_nothing_is_said_where_nothing_is_there(service, read):
    assert read(service) == {
        "spot/instance-action": None,
        "events/rebalance": None,
        "autoscaling/target": None,
    }


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_each_action_is_a_termination_at_its_time(server, service, read, action):
    server.documents[ACTION] = json.dumps(
        {"action": action, "time": "2026-04-24T17:11:44Z"}
    ).encode()
    told = Told(kind=NoticeKind.TERMINATION, deadline_at=AT)
    assert read(service)["spot/instance-action"] == told


@pytest.mark.parametrize(
    "document",
    [
        {"action": "applaud", "time": "2026-04-24T17:11:44Z"},
        {"time": "2026-04-24T17:11:44Z"},
        {"action": ["terminate"], "time": "2026-04-24T17:11:44Z"},
        {},
    ],
)
def test_an_action_that_is_not_known_is_no_notice(server, service, read, document):
    server.documents[ACTION] = json.dumps(document).encode()
    assert read(service)["spot/instance-action"] is None


@pytest.mark.parametrize(
    "when", [None, "", "soon", 17, "2026-04-24T17:11:44", "2026-13-24T17:11:44Z"]
)
def test_a_termination_without_a_time_that_can_be_read_is_two_minutes_away(
    server, service, read, when
):
    server.documents[ACTION] = json.dumps({"action": "terminate", "time": when}).encode()
    told = Told(kind=NoticeKind.TERMINATION, deadline_at=NOW + 120.0, dated=False)
    assert read(service)["spot/instance-action"] == told


def test_a_rebalance_is_a_risk_of_the_cloud_s_own_date(server, service, read):
    server.documents[REBALANCE] = b'{"noticeTime": "2026-04-24T17:11:44Z"}'
    assert read(service)["events/rebalance"] == Told(kind=NoticeKind.RISK, noticed_at=AT)
    server.documents[REBALANCE] = b'{"noticeTime": 5}'
    assert read(service)["events/rebalance"] == Told(kind=NoticeKind.RISK)


@pytest.mark.parametrize(
    "state", ["InService", "Standby", "Detached", "Warmed:Terminated", "", "\0"]
)
def test_another_will_of_the_group_is_none(server, service, read, state):
    server.documents[GROUP] = state.encode()
    assert read(service)["autoscaling/target"] is None


def test_the_group_s_end_comes_after_the_lead_of_the_options(server, read):
    terms = Terms(address=server.metadata, lead_s=1800.0, now=lambda: NOW)
    server.documents[GROUP] = b"Terminated\n"
    told = Told(kind=NoticeKind.TERMINATION, deadline_at=NOW + 1800.0, dated=False)
    assert read(AwsMetadata(terms))["autoscaling/target"] == told


# -- tokens


def test_one_token_serves_all_feeds_again_and_again(server, service, read):
    for _ in range(3):
        read(service)
    assert server.asked(TOKEN_PATH) == 1


@pytest.mark.parametrize(("ttl_s", "tokens"), [(15, 2), (14, 2), (1, 2), (600, 1)])
def test_a_token_with_fifteen_seconds_left_is_renewed_first(server, service, ttl_s, tokens):
    server.ttl_s = ttl_s
    for _ in range(2):
        service.feeds[0].read()
    assert server.asked(TOKEN_PATH) == tokens


def test_a_token_that_is_refused_is_renewed_at_once_and_the_notice_read(server, service, read):
    read(service)
    server.documents[ACTION] = b'{"action": "stop", "time": "2026-04-24T17:11:44Z"}'
    server.expire_tokens()
    told = read(service)["spot/instance-action"]
    assert told == Told(kind=NoticeKind.TERMINATION, deadline_at=AT)
    assert server.asked(TOKEN_PATH) == 2


def test_tokens_that_are_always_refused_are_an_error_and_no_loop(server, service):
    server.always[AWS + ACTION] = status(401)
    with pytest.raises(MetadataError, match="401"):
        service.feeds[0].read()
    assert server.asked(TOKEN_PATH) == 2


@pytest.mark.parametrize("answer", [status(403), status(404), status(500), status(200, b"")])
def test_where_no_token_is_given_nothing_is_known(server, service, answer):
    server.always[TOKEN_PATH] = answer
    with pytest.raises(MetadataError, match="token"):
        service.feeds[0].read()


def test_a_token_that_does_not_come_names_the_hop_limit(server):
    server.always[TOKEN_PATH] = silence(server.released)
    service = AwsMetadata(Terms(address=server.metadata, timeout_s=0.05))
    with pytest.raises(MetadataError, match="hop limit"):
        service.feeds[0].read()


def test_a_document_that_drips_is_unknown_when_its_time_is_over(server):
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    server.always[AWS + ACTION] = drip(whole, server.released)
    service = AwsMetadata(Terms(address=server.metadata, timeout_s=0.1))
    with pytest.raises(MetadataError, match="TimeoutError"):
        service.feeds[0].read()


# -- answers that say nothing


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(status(500), id="500"),
        pytest.param(status(503), id="503"),
        pytest.param(status(302), id="a redirect"),
        pytest.param(status(200, b"{"), id="half a document"),
        pytest.param(status(200, b""), id="no document"),
        pytest.param(status(200, b"[]"), id="another document"),
        pytest.param(status(200, b"[" * 60_000), id="a deep document"),
        pytest.param(status(200, b'{"action": "\xff"}'), id="no text"),
        pytest.param(status(200, b"x" * 70_000), id="a huge document"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}"), id="cut off"),
        pytest.param(raw(b"SSH-2.0-OpenSSH\r\n"), id="no HTTP"),
        pytest.param(raw(b""), id="hung up"),
        pytest.param(
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"), id="bad chunks"
        ),
    ],
)
def test_an_answer_that_cannot_be_read_is_unknown_and_not_nothing(server, service, answer):
    server.faults[AWS + ACTION].append(answer)
    with pytest.raises(MetadataError):
        service.feeds[0].read()
    assert service.feeds[0].read() is None  # the next one is


def test_a_feed_that_fails_stops_no_other(server, service):
    server.always[AWS + ACTION] = status(500)
    server.documents[REBALANCE] = b'{"noticeTime": "2026-04-24T17:11:44Z"}'
    action, rebalance, group = service.feeds
    with pytest.raises(MetadataError):
        action.read()
    assert rebalance.read() is not None
    assert group.read() is None


def test_it_is_recognized_by_its_token(server: MetadataServer, service):
    assert service.recognized()
    server.cloud = "gce"
    assert not service.recognized()
    assert service.acknowledge() is False
