from __future__ import annotations

import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from autoscaler.daemon.telemetry.http import HttpServer, parse_listen
from autoscaler.errors import SettingsError


class FakeStatus:
    def __init__(self) -> None:
        self.sick = ""
        self.reasons: tuple[str, ...] = ()

    def unhealthy(self) -> str:
        return self.sick

    def unready(self) -> tuple[str, ...]:
        return self.reasons

    def page(self):
        return {"models": [{"model": "serving/llama"}]}


@pytest.fixture
async def pages_at():
    status = FakeStatus()
    server = HttpServer(status, CollectorRegistry(), host="127.0.0.1", port=0)
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
    status.sick = "the loop has not come round for 40 s"
    status.reasons = ("no list yet", "no decision yet")
    assert await get(session, "/healthz") == (503, "the loop has not come round for 40 s\n")
    assert await get(session, "/readyz") == (503, "no list yet\nno decision yet\n")


async def test_decisions_are_json(pages_at):
    _, session = pages_at
    async with session.get("/debug/models") as answer:
        assert answer.content_type == "application/json"
        assert await answer.json() == {"models": [{"model": "serving/llama"}]}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain"),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text"),
    ],
)
async def test_metrics_come_in_the_format_that_is_asked_for(pages_at, accept, content_type):
    _, session = pages_at
    async with session.get("/metrics", headers={"Accept": accept}) as answer:
        assert answer.status == 200
        assert answer.content_type == content_type


async def test_nothing_can_be_written(pages_at):
    _, session = pages_at
    async with session.post("/debug/models", json={}) as answer:
        assert answer.status == 405
    assert (await get(session, "/"))[0] == 404


async def test_an_address_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = HttpServer(
            FakeStatus(), CollectorRegistry(), host="127.0.0.1", port=taken.getsockname()[1]
        )
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


@pytest.mark.parametrize("text", ["8080", "", "host", "host:", "host:x", "host:70000", "a:-1"])
def test_addresses_that_are_none(text):
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        parse_listen(text)
