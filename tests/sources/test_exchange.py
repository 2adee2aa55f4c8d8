"""A page is asked for as a session would ask, on connections that are kept, and each ends with its read."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.sources.pages.connector import open_connector
from autoscaler.sources.pages.exchange import Get
from autoscaler.sources.pages.fetch import ReadRequest, fetched
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from tests.sources.servers import reading

BODY = b"up 1\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class Pod:
    """Answers every request the same, and remembers what was asked on which connection."""

    def __init__(self, answer: bytes = OK, *, closes: bool = False) -> None:
        self.asked: list[tuple[int, bytes]] = []
        self.connections = 0
        self.open = 0
        self._answer = answer
        self._closes = closes

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.asked.append((number, await reader.readuntil(b"\r\n\r\n")))
                writer.write(self._answer)
                if self._closes:
                    break
        self.open -= 1
        writer.close()


@contextlib.asynccontextmanager
async def serving(pod: Pod):
    server = await asyncio.start_server(pod.talk, "127.0.0.1", 0)
    async with server:
        yield URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics?a=b%20c")


def request_of(url: URL, **changes: object) -> ReadRequest:
    given: dict[str, object] = {"url": url, "bytes_max": 1000, "deadline_s": 5.0, "owner": "m"}
    return ReadRequest(**{**given, **changes})  # type: ignore[arg-type]


async def body_of(reader: BodyReader, request: ReadRequest) -> bytes:
    async with fetched(
        reader.session, request, budget=reader.budget, lateness=reader.lateness
    ) as body:
        return body


async def test_it_asks_what_a_session_asks():
    pod = Pod()
    headers = {"Authorization": "Bearer x"}
    accept = {"Accept": "text/plain", "Accept-Encoding": "identity"}
    async with serving(pod) as url, reading() as reader:
        request = request_of(url, headers=headers, accept="text/plain")
        assert await body_of(reader, request) == BODY
        async with reader.session.get(url, headers=headers | accept) as response:
            assert await response.read() == BODY
    (_, ours), (_, theirs) = pod.asked
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
    assert ours.splitlines()[0] == b"GET /metrics?a=b%20c HTTP/1.1"


async def test_a_connection_is_kept_once_a_body_was_read_to_its_end():
    pod = Pod()
    async with serving(pod) as url, reading() as reader:
        for _ in range(3):
            assert await body_of(reader, request_of(url)) == BODY
        assert (pod.connections, pod.open) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"HTTP/1.1 500 no\r\nContent-Length: 5000\r\n\r\n" + b"x" * 4999, ReadOutcome.STATUS),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", ReadOutcome.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 49, ReadOutcome.TIMED_OUT),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ReadOutcome.REFUSED),
        (b"", ReadOutcome.TIMED_OUT),
    ],
)
async def test_a_connection_ends_with_a_read_that_ends_otherwise(
    answer: bytes, outcome: ReadOutcome
):
    pod = Pod(answer)
    async with serving(pod) as url, reading() as reader:
        with pytest.raises(SourceError) as raised:
            await body_of(reader, request_of(url, deadline_s=0.2))
        assert raised.value.outcome == outcome
        async with asyncio.timeout(5):
            while pod.open:
                await asyncio.sleep(0.001)
        assert not reader.session.connector._acquired


async def test_a_connection_ends_with_a_reader_that_is_cancelled():
    pod = Pod(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
    async with serving(pod) as url, reading() as reader:
        read = asyncio.create_task(body_of(reader, request_of(url)))
        while not pod.asked:
            await asyncio.sleep(0.001)
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
        async with asyncio.timeout(5):
            while pod.open:
                await asyncio.sleep(0.001)


async def test_one_that_closes_without_a_word_is_asked_twice_and_not_for_ever():
    pod = Pod(b"", closes=True)
    async with serving(pod) as url, reading() as reader:
        with pytest.raises(SourceError) as raised:
            await body_of(reader, request_of(url))
    assert raised.value.outcome == ReadOutcome.REFUSED
    assert pod.connections == 2


async def test_a_closed_port_is_asked_once():
    asked = 0

    class Counting(aiohttp.TCPConnector):
        async def connect(self, *args, **parameters):
            nonlocal asked
            asked += 1
            return await super().connect(*args, **parameters)

    async with serving(Pod()) as url:
        pass
    connector = Counting()
    get = Get(connector, url, headers=(), tls=None, server_name=None)
    with pytest.raises(aiohttp.ClientConnectorError):
        await get.__aenter__()
    await connector.close()
    assert asked == 1


async def test_a_header_cannot_bring_in_another():
    pod = Pod()
    async with serving(pod) as url, reading() as reader:
        with pytest.raises(SourceError) as raised:
            await body_of(reader, request_of(url, headers={"X": "a\r\nAuthorization: b"}))
    assert raised.value.outcome == ReadOutcome.REFUSED
    assert not pod.asked


async def test_what_stands_in_a_body_of_known_length_costs_nothing():
    body = b"# a comment\n" * 200 + b"\r\n" * 5_000 + b"up 1\n"
    pod = Pod(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    async with serving(pod) as url, reading() as reader:
        assert await body_of(reader, request_of(url, bytes_max=20_000)) == body


async def test_an_answer_without_a_body_that_names_a_length_hides_no_more_answers():
    """What is body by its length is parsed in one go: answers behind an answer that has none must not be."""
    connector = open_connector()
    handler = connector._factory()
    handler.set_response_params(read_until_eof=True)
    answer = b"HTTP/1.1 204 no\r\nContent-Length: 100000\r\nX: %b\r\n\r\n"
    handler.data_received(answer % (b"x" * 2_000) + (answer % b"x") * 1_500)
    assert 0 < handler._answers < 100
    await connector.close()
