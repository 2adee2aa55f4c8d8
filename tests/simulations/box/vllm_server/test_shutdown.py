"""Cold start and SIGTERM, on real processes: the table of what vLLM 0.32 was seen to do."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.simulations.box.vllm_server.servers import (
    DEADLINE_S,
    Process,
    Stream,
    ask,
    process,
    stream,
)
from tests.simulations.box.vllm_server.test_page import value

pytestmark = pytest.mark.slow
TIMEOUT = aiohttp.ClientTimeout(total=DEADLINE_S)


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as http:
        yield http


async def begun(
    http: aiohttp.ClientSession, server: Process, tokens: int
) -> tuple[Stream, asyncio.Task[Stream]]:
    """A stream that has its first tokens."""
    got = Stream()
    task = asyncio.create_task(stream(http, server.url, tokens, got))
    async with asyncio.timeout(DEADLINE_S):
        while not got.texts:
            await asyncio.sleep(0.01)
    return got, task


async def test_the_port_is_closed_during_the_cold_start() -> None:
    started = time.monotonic()
    async with process("--cold-start", "1.5") as server, client() as http:
        assert await server.health(http) is None
        await server.ready(http)
        assert time.monotonic() - started >= 1.4


async def test_sigterm_during_the_cold_start_ends_it() -> None:
    async with process("--cold-start", "300") as server:
        # its handler is there once it says so; until then the default action ends it as well
        server.child.send_signal(signal.SIGTERM)
        assert await server.exit_code() in (-signal.SIGTERM, 128 + signal.SIGTERM)


async def test_an_idle_server_is_gone_at_once() -> None:
    async with process() as server, client() as http:
        await server.ready(http)
        server.child.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 0
        assert await server.health(http) is None


async def test_abort_cuts_streams_with_an_error_event_and_plain_requests_with_500() -> None:
    async with process("--shutdown-timeout", "0") as server, client() as http:
        await server.ready(http)
        got, task = await begun(http, server, 5000)
        plain = asyncio.create_task(http.post(f"{server.url}/v1/completions", json=ask(5000)))
        async with asyncio.timeout(DEADLINE_S):
            while (await page_value(http, server, "vllm:num_requests_running")) != 2:
                await asyncio.sleep(0.01)
        server.child.send_signal(signal.SIGTERM)
        await task
        assert got.status == 200
        assert got.error is not None
        assert got.error["code"] == 500
        assert "EngineCore encountered an issue" in got.error["message"]
        assert got.done
        assert got.finish_reason is None
        assert (await plain).status == 500
        await server.closed(http)
        assert await server.exit_code() == 0


async def test_abort_may_leave_clients_hanging_until_they_leave() -> None:
    async with process("--abort-hangs") as server, client() as http:
        await server.ready(http)
        got, task = await begun(http, server, 5000)
        server.child.send_signal(signal.SIGTERM)
        await server.closed(http)
        had = len(got.texts)
        done, _ = await asyncio.wait({task}, timeout=2.0)
        assert not done
        assert len(got.texts) == had
        assert got.error is None
        assert server.child.returncode is None
        task.cancel()
        assert await server.exit_code() == 0


async def test_a_drain_finishes_what_it_has_and_lies_to_what_comes() -> None:
    """A full batch and a queue behind it: all of it completes, new streams get 200 and nothing."""
    flags = ("--shutdown-timeout", "50", "--max-num-seqs", "2", "--teardown", "1")
    async with process(*flags) as server, client() as http:
        await server.ready(http)
        pairs = [await begun(http, server, 120)]
        tasks = [asyncio.create_task(stream(http, server.url, 60)) for _ in range(3)]
        async with asyncio.timeout(DEADLINE_S):
            while (await page_value(http, server, "vllm:num_requests_waiting")) != 2:
                await asyncio.sleep(0.01)
        server.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            while (empty := await stream(http, server.url, 3)).texts:
                pass
        assert empty.status == 200
        assert empty.finish_reason is None
        assert empty.error is None
        counted = await stream(http, server.url, 3, stream_options={"include_usage": True})
        assert counted.usage is not None
        assert counted.usage["completion_tokens"] == 0
        async with http.post(f"{server.url}/v1/completions", json=ask(3)) as refused:
            assert refused.status == 500
            answer = await refused.json()
            assert "cannot schedule new futures after shutdown" in answer["error"]["message"]
        assert await server.health(http) == 200
        server.child.send_signal(signal.SIGTERM)  # a second one changes nothing
        for got in [await pairs[0][1], *await asyncio.gather(*tasks)]:
            assert got.finish_reason == "length"
            assert len(got.texts) in (120, 60)
        assert await server.health(http) == 200
        aborted = await page_value(
            http, server, "vllm:request_success_total", finished_reason="abort"
        )
        assert aborted >= 3
        assert await page_value(http, server, "vllm:num_requests_running") == 0
        await server.closed(http)
        assert await server.exit_code() == 0


async def test_a_drain_that_overruns_hangs_until_its_clients_leave() -> None:
    async with process("--shutdown-timeout", "0.5") as server, client() as http:
        await server.ready(http)
        got, task = await begun(http, server, 5000)
        server.child.send_signal(signal.SIGTERM)
        await server.closed(http)
        done, _ = await asyncio.wait({task}, timeout=2.0)
        assert not done
        assert got.error is None
        assert server.child.returncode is None
        task.cancel()
        assert await server.exit_code() == 0


async def test_a_taken_port_is_a_message_and_a_code() -> None:
    async with process() as server, client() as http:
        await server.ready(http)
        port = server.url.rpartition(":")[2]
        async with process("--port", port) as second:
            assert await second.exit_code() == 1


async def page_value(
    http: aiohttp.ClientSession, server: Process, name: str, **labels: str
) -> float:
    async with http.get(f"{server.url}/metrics") as answer:
        return value(await answer.read(), name, **labels)
