"""Servers for tests: in this process on a free port, or a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from simulations.box.vllm_server.application import Application
from simulations.box.vllm_server.live_engine import LiveEngine
from simulations.box.vllm_server.options import parse
from simulations.box.vllm_server.page import MetricsPage

DEADLINE_S = 60.0
"""For anything that another process does; the machine may be busy."""


@dataclass
class Served:
    """A server in this process."""

    url: str
    application: Application
    site: web.TCPSite
    http: aiohttp.ClientSession


@asynccontextmanager
async def served(*arguments: str) -> AsyncIterator[Served]:
    """A server in this process, in real time divided by its speed."""
    options = parse(["--served-model-name", "m", "--speed", "50", "--seed", "1", *arguments])
    page = MetricsPage(options)
    engine = LiveEngine(
        options.profile,
        speed=options.speed,
        flush_interval_s=options.flush_interval_s,
        page=page,
    )
    application = Application(options, engine, page)
    runner = web.AppRunner(application.build(), handler_cancellation=True, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", free_port())
    await site.start()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as http:
        yield Served(site.name, application, site, http)
    await runner.cleanup()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stream:
    """What a streaming client got."""

    status: int = 0
    texts: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    each_usage: list[int] = field(default_factory=list)
    usage: dict[str, int] | None = None
    error: dict[str, Any] | None = None
    done: bool = False


def ask(tokens: int, **more: Any) -> dict[str, Any]:
    """A request's body."""
    return {"model": "m", "prompt": [7] * 40, "max_tokens": tokens, "ignore_eos": True, **more}


async def stream(
    http: aiohttp.ClientSession, url: str, tokens: int, got: Stream | None = None, **more: Any
) -> Stream:
    """Stream one completion; `got` can be looked at while it goes on."""
    got = Stream() if got is None else got
    body = ask(tokens, stream=True, **more)
    async with http.post(f"{url}/v1/completions", json=body) as answer:
        got.status = answer.status
        if answer.status != 200:
            got.error = (await answer.json())["error"]
            return got
        async for line in answer.content:
            if line.startswith(b"data: "):
                _take(got, line[6:].strip())
    return got


def _take(got: Stream, payload: bytes) -> None:
    if payload == b"[DONE]":
        got.done = True
        return
    chunk = json.loads(payload)
    if "error" in chunk:
        got.error = chunk["error"]
        return
    for choice in chunk["choices"]:
        got.texts.append(choice["text"])
        got.finish_reason = choice["finish_reason"] or got.finish_reason
    if chunk["usage"] is not None and chunk["choices"]:
        got.each_usage.append(chunk["usage"]["completion_tokens"])
    elif chunk["usage"] is not None:
        got.usage = chunk["usage"]


@dataclass
class Process:
    """A server in a process of its own."""

    url: str
    child: asyncio.subprocess.Process

    async def ready(self, http: aiohttp.ClientSession) -> None:
        """Wait until /health says 200."""
        async with asyncio.timeout(DEADLINE_S):
            while await self.health(http) != 200:
                assert self.child.returncode is None
                await asyncio.sleep(0.02)

    async def health(self, http: aiohttp.ClientSession) -> int | None:
        """The status of /health; None: refused."""
        try:
            async with http.get(f"{self.url}/health") as answer:
                return answer.status
        except aiohttp.ClientError:
            return None

    async def closed(self, http: aiohttp.ClientSession) -> None:
        """Wait until the port is closed."""
        async with asyncio.timeout(DEADLINE_S):
            while await self.health(http) is not None:
                await asyncio.sleep(0.02)

    async def exit_code(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            return await self.child.wait()


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[Process]:
    """`python -m simulations.box.vllm_server` with these arguments, killed in the end."""
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "simulations.box.vllm_server", "--port", str(port), "--served-model-name", "m"),
        *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield Process(f"http://127.0.0.1:{port}", child)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
