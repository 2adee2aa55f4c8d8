from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.agent.exchange import HEAD_BYTES_MAX, Address, ExchangeError, HttpAnswer, exchange
from tests.agent.metadata_server import MetadataServer, drip, raw, silence, status

PATH = "/x"


def ask(server: MetadataServer, *, timeout_s: float = 5.0, bytes_max: int = 100) -> HttpAnswer:
    return exchange(
        server.metadata, "GET", PATH, headers={}, timeout_s=timeout_s, bytes_max=bytes_max
    )


def test_a_whole_answer(server):
    server.always[PATH] = status(418, b" short and stout\n")
    answer = ask(server)
    assert (answer.status, answer.text) == (418, "short and stout")
    assert answer.headers["content-type"] == "text/html"


def test_a_redirect_is_an_answer_and_not_followed(server):
    server.always[PATH] = raw(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n")
    assert ask(server).status == 302
    assert server.requests == [("GET", PATH)]


@pytest.mark.parametrize(
    ("body", "whole"), [(b"x" * 100, True), (b"x" * 101, False), (b"x" * 1_000_000, False)]
)
def test_a_body_has_its_ceiling(server, body, whole):
    server.always[PATH] = status(200, body)
    if whole:
        assert ask(server).body == body
    else:
        with pytest.raises(ExchangeError, match="more than 100 bytes"):
            ask(server)


def test_headers_have_theirs(server):
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(50))
    assert len(lines) > 2 * HEAD_BYTES_MAX
    server.always[PATH] = raw(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    with pytest.raises(ExchangeError, match="too large"):
        ask(server)


def test_a_body_without_length_or_end_is_cut_at_the_ceiling(server):
    server.always[PATH] = raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000)
    with pytest.raises(ExchangeError, match=r"more than 100 bytes|too large"):
        ask(server)


def test_silence_ends(server):
    server.always[PATH] = silence(server.released)
    with pytest.raises(ExchangeError, match=r"[Tt]ime"):
        ask(server, timeout_s=0.05)


@pytest.mark.parametrize("part", ["head", "body"])
def test_one_deadline_for_all_of_a_slow_answer(server, part):
    # Each single byte comes in time: a time-out of each read would never end.
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n"
    server.always[PATH] = drip(head if part == "head" else head + b"\r\n" + b"x", server.released)
    with pytest.raises(ExchangeError, match="TimeoutError"):
        ask(server, timeout_s=0.3)


def test_nobody_listens():
    with pytest.raises(ExchangeError, match="refused"):
        exchange(Address("127.0.0.1", 1), "GET", "/", headers={}, timeout_s=1.0, bytes_max=10)


@pytest.mark.parametrize(("path", "headers"), [("/a b", {}), ("/", {"X": "a\nb"}), ("/ü", {})])
def test_a_request_that_cannot_be_written_is_an_error_too(server, path, headers):
    with pytest.raises(ExchangeError):
        exchange(server.metadata, "GET", path, headers=headers, timeout_s=1.0, bytes_max=10)


@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
def test_a_document_is_json_or_an_error(body):
    answer = HttpAnswer(200, {}, body)
    try:
        document = answer.document()
    except ExchangeError:
        return
    assert json.loads(body) == document or document != document  # noqa: PLR0124  NaN
