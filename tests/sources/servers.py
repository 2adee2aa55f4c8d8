"""Real servers on loopback addresses, which stand for pods: one port, many addresses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from autoscaler.kube.targets import ExporterTarget, ScrapeTarget
from autoscaler.sources.collector.feeds import Feed, ReadResult
from autoscaler.sources.pages.connector import open_session
from autoscaler.sources.pages.reader import BodyReader

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def target(
    name: str,
    *,
    ip: str = "127.0.0.1",
    uid: str = "1",
    model: str = "serving/llama",
    ready: bool = True,
    leaving: bool = False,
) -> ScrapeTarget:
    """A replica to read; its name is `namespace/name`, or one in the namespace `serving`."""
    namespace, _, pod = name.rpartition("/")
    key = (namespace or "serving", pod)
    return ScrapeTarget(key=key, uid=uid, ip=ip, model=model, ready=ready, leaving=leaving)


def exporter(name: str, *, ip: str = "127.0.0.1", node: str = "node-1") -> ExporterTarget:
    """A dcgm-exporter; its name is `namespace/name`."""
    namespace, _, pod = name.rpartition("/")
    return ExporterTarget(key=(namespace, pod), uid="1", ip=ip, node=node)


def free_port() -> int:
    """Return a port that was free on every loopback address a moment ago."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        return int(taken.getsockname()[1])


@contextlib.asynccontextmanager
async def serving(answers: dict[str, Answer], *, path: str = "/metrics") -> AsyncIterator[int]:
    """Serve each address by its own function; yields the port they share."""
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        for address, answer in answers.items():
            app = web.Application()
            app.router.add_route("*", path, answer)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, address, port).start()
        yield port


def body_of(body: bytes, *, status: int = 200, content_type: str = "text/plain") -> Answer:
    """Answer always the same."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type=content_type)

    return answer


async def never(_request: web.Request) -> web.StreamResponse:
    """Accept and say nothing."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


@contextlib.asynccontextmanager
async def raw(address: str, port: int, reply: bytes) -> AsyncIterator[None]:
    """Send exactly these bytes to whoever asks, then close."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, address, port)
    async with server:
        yield


async def read_all(feed: Feed, reader: BodyReader) -> list[ReadResult]:
    """Read everything of a feed once, one after the other."""
    return [ended for read in feed.reads().values() for ended in await read.ask(reader)]


@contextlib.asynccontextmanager
async def reading() -> AsyncIterator[BodyReader]:
    """Read as a collector does, with a session of its own kind."""
    async with open_session(None) as session:
        yield BodyReader(session=session)
