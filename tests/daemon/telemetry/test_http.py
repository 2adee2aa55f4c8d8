from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from autoscaler.app import DaemonOptions
from autoscaler.daemon.telemetry.door import Door
from autoscaler.daemon.telemetry.http import DebugServer, HttpServer, parse_listen
from autoscaler.errors import SettingsError


class FakeStatus:
    def __init__(self) -> None:
        self.sick = ""
        self.reasons: tuple[str, ...] = ()
        self.standby = ""

    def unhealthy(self) -> str:
        return self.sick

    def standing_by(self) -> str:
        return self.standby

    def unready(self) -> tuple[str, ...]:
        return self.reasons

    def page_in_steps(self):
        yield
        return {"models": [{"model": "serving/llama"}]}


def a_page(encode):
    yield
    return encode(CollectorRegistry())


@pytest.fixture
async def pages_at():
    status = FakeStatus()
    server = HttpServer(status, a_page, host="127.0.0.1", port=0)
    address = await server.start()
    async with aiohttp.ClientSession(address) as session:
        yield status, session
    await server.close()


async def get(session, path: str, **options) -> tuple[int, str]:
    async with session.get(path, **options) as answer:
        return answer.status, await answer.text()


async def test_health_and_readiness_say_why(pages_at):
    status, session = pages_at
    assert await get(session, "/healthz") == (200, "ok\n")
    assert await get(session, "/readyz") == (200, "ok\n")
    status.standby = "stands by: the lease a/b is held by c"
    said = "ok: stands by: the lease a/b is held by c\n"
    assert await get(session, "/readyz") == (200, said), "others may count on it"
    assert await get(session, "/healthz") == (200, "ok\n")
    status.sick = "the loop has not come round for 40 s"
    status.reasons = ("no list yet", "no decision yet")
    assert await get(session, "/healthz") == (503, "the loop has not come round for 40 s\n")
    assert await get(session, "/readyz") == (503, "no list yet\nno decision yet\n")


async def test_decisions_are_json_at_an_address_of_their_own(pages_at):
    _, session = pages_at
    assert (await get(session, "/debug/models"))[0] == 404, "not where anybody may read"
    server = DebugServer(FakeStatus(), host="127.0.0.1", port=0)
    async with aiohttp.ClientSession(await server.start()) as debug:
        async with debug.get("/debug/models") as answer:
            assert answer.content_type == "application/json"
            assert await answer.json() == {"models": [{"model": "serving/llama"}]}
        assert (await get(debug, "/metrics"))[0] == 404
    await server.close()


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1:8081", True),
        ("127.0.0.1", True),
        ("127.8.9.1:8081", True),
        ("localhost:9000", True),
        ("LOCALHOST", True),
        ("localhost.:8081", True),
        ("[::1]:8081", True),
        ("[::1]", True),
        ("rebound.example:8081", False),
        ("rebound.example", False),
        ("localhost.rebound.example", False),
        ("127.0.0.1.rebound.example:8081", False),
        ("127.0.0.1@rebound.example", False),
        ("10.0.0.7:8081", False),
        ("localhost:x", False),
        ("::1", False),
        ("::1:8081", False),
        ("", False),
    ],
)
async def test_debug_is_answered_to_who_asks_by_a_loopback_name(host: str, *, answered: bool):
    server = DebugServer(FakeStatus(), host="127.0.0.1", port=0)
    address = await server.start()
    async with aiohttp.ClientSession(address) as session:
        status, text = await get(session, "/debug/models", headers={"Host": host})
        assert status == (200 if answered else 421)
        assert ("llama" in text) is answered
    await server.close()


async def test_debug_that_its_operator_shows_to_others_is_asked_by_their_name():
    server = DebugServer(FakeStatus(), host="0.0.0.0", port=0)
    port = (await server.start()).rpartition(":")[2]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        status, _ = await get(session, "/debug/models", headers={"Host": "autoscaler.serving"})
        assert status == 200
    await server.close()


def test_debug_is_at_the_loopback_address_unless_it_is_said_otherwise():
    assert parse_listen(DaemonOptions(config=Path()).debug_listen) == ("127.0.0.1", 8081)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text"),
        ("application/openmetrics-text; version=abc", "text/plain"),
        ("application/openmetrics-text; version=" + "9" * 5000, "application/openmetrics-text"),
        (";;;=,=;q=abc" * 100, "text/plain"),
    ],
)
async def test_metrics_come_in_the_format_that_is_asked_for(pages_at, accept, content_type):
    _, session = pages_at
    async with session.get("/metrics", headers={"Accept": accept}) as answer:
        assert answer.status == 200
        assert answer.content_type == content_type


async def test_nothing_can_be_written(pages_at):
    _, session = pages_at
    async with session.post("/metrics", json={}) as answer:
        assert answer.status == 405
    assert (await get(session, "/"))[0] == 404


async def test_an_address_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = HttpServer(FakeStatus(), a_page, host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(
            SettingsError, match=r"listening on 127\.0\.0\.1:.*give another --listen"
        ):
            await server.start()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (":8080", ("", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9090", ("::1", 9090)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses_to_listen_on(text, read):
    assert parse_listen(text) == read


@pytest.mark.parametrize(
    "text", ["8080", "", "host", "host:", "host:x", "host:70000", "a:-1", "a:²", "a:" + "9" * 5000]
)
def test_addresses_that_are_none(text):
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        parse_listen(text)


# -- strangers


async def half_sent(address: str, text: bytes = b"GET /metrics HTTP/1.1\r\n"):
    host, _, port = address.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(text)
    await writer.drain()
    return reader, writer


def door(**options) -> Door:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/", page)
    return Door(application, host="127.0.0.1", port=0, option="--listen", **options)


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"G", b"\x16\x03\x01"])
async def test_a_head_that_does_not_end_is_not_waited_for(text):
    made = door(head_s=0.05)
    reader, writer = await half_sent(await made.start(), text)
    with contextlib.suppress(ConnectionError):
        while await reader.read(1000):
            pass
    assert made.connections == 0
    writer.close()
    await made.close()


async def test_a_head_that_drips_is_not_waited_for_either():
    """A letter now and then, for ever: each of them is a sign of life to who counts from the last."""
    made = door(head_s=0.05)
    reader, writer = await half_sent(await made.start())
    while not made.connections:
        await asyncio.sleep(0)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while made.connections and sent < 400:
            writer.write(b"x")
            await writer.drain()
            sent += 1
            await asyncio.sleep(0.01)
    assert made.connections == 0
    assert sent < 400
    writer.close()
    del reader
    await made.close()


async def test_who_asks_and_does_not_read_is_not_waited_for():
    """Its answer, of megabytes, would be held for as long as it likes."""
    written = asyncio.Event()

    async def page(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 2**20)
        finally:
            written.set()

    application = web.Application()
    application.router.add_get("/", page)
    made = Door(application, host="127.0.0.1", port=0, option="--listen", unread_s=0.05)
    _, writer = await half_sent(await made.start(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.transport.pause_reading()
    async with asyncio.timeout(30):
        await written.wait()
    assert made.connections == 0
    writer.transport.abort()
    await made.close()


async def test_whoever_waits_longest_makes_room_and_a_probe_is_answered():
    made = door(connections_max=5)
    address = await made.start()
    half = [await half_sent(address) for _ in range(20)]
    async with aiohttp.ClientSession(address) as session:
        assert (await get(session, "/"))[0] == 200
        assert made.connections <= 5
        again = [await half_sent(address) for _ in range(20)]
        assert (await get(session, "/"))[0] == 200, "one that asks and is answered stays"
    for _, writer in half + again:
        writer.close()
    await made.close()


async def test_what_is_no_request_is_refused_without_a_line_in_the_log(caplog):
    made = door()
    address = await made.start()
    for text in (b"\x00\xff nonsense\r\n\r\n", b"GET / HTTP/9.9\r\nA\x00: b\r\n\r\n"):
        reader, writer = await half_sent(address, text)
        assert b" 400 " in await reader.read(1000)
        writer.close()
    await made.close()
    assert caplog.records == []
