"""A deadline counts what others take, not what we take; how late we are is counted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from yarl import URL

from autoscaler.sources.pages.fetch import ReadRequest
from autoscaler.sources.pages.lateness import BEAT_S, BOUNDS, Lateness
from autoscaler.sources.pages.turns import Steps
from tests.daemon.virtual_time import run_virtual
from tests.sources.servers import reading


async def looking(lateness: Lateness) -> asyncio.Task[None]:
    task = asyncio.create_task(lateness.run())
    await asyncio.sleep(0)
    return task


def stall(seconds: float) -> None:
    """As a long pass of the event loop: time goes on, and nothing is done."""
    asyncio.get_running_loop()._virtual.now += seconds


def test_it_counts_how_late_each_look_was():
    async def story() -> None:
        lateness = Lateness()
        task = await looking(lateness)
        await asyncio.sleep(10 * BEAT_S + BEAT_S / 2)
        assert (sum(lateness.counts), lateness.counts[0], lateness.sum_s) == (10, 10, 0.0)
        stall(0.28)
        at = asyncio.get_running_loop().time()
        assert lateness.total_s(at) == pytest.approx(0.28 - BEAT_S / 2), "before it was looked"
        await asyncio.sleep(BEAT_S / 2)
        assert lateness.sum_s == lateness.longest_s == pytest.approx(0.28 - BEAT_S / 2)
        assert sum(lateness.counts) == 11
        assert lateness.counts[BOUNDS.index(0.25)] == 1
        task.cancel()

    run_virtual(story())


def test_a_deadline_does_not_count_our_own_lateness():
    async def story() -> None:
        lateness, loop = Lateness(), asyncio.get_running_loop()
        task = await looking(lateness)
        begun_at = loop.time()
        loop.call_later(0.5, stall, 3.0)
        async with lateness.deadline(1.0):
            await asyncio.sleep(3.9)  # 0.9 s of it theirs
        loop.call_later(0.5, stall, 3.0)
        with pytest.raises(TimeoutError):
            async with lateness.deadline(1.0):
                await asyncio.sleep(60.0)
        # What is late within a beat is not seen: the deadline is a little early then, never late.
        assert loop.time() - begun_at == pytest.approx(3.9 + 4.0, abs=2 * BEAT_S)
        task.cancel()

    run_virtual(story())


def test_without_anybody_who_looks_it_is_a_plain_deadline():
    async def story() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with Lateness().deadline(1.0):
                await asyncio.sleep(60.0)
        assert loop.time() == pytest.approx(1.0)
        with pytest.raises(ZeroDivisionError):
            async with Lateness().deadline(1.0):
                raise ZeroDivisionError
        async with asyncio.timeout(5.0):
            await asyncio.sleep(2.0)  # the deadline that is over strikes nobody

    run_virtual(story())


@contextlib.contextmanager
def answering_after(seconds: float) -> Iterator[int]:
    """A server in a thread of its own, which our event loop cannot hold up; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            taken, _ = listening.accept()
            with taken:
                taken.recv(65536)
                time.sleep(seconds)
                taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n")
                taken.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            thread.join()


async def test_a_page_that_came_in_time_is_read_however_late_we_are():
    def steps(body: bytes) -> Steps[bytes]:
        yield
        return body

    with answering_after(0.2) as port:
        async with reading() as reader:
            task = await looking(reader.lateness)
            request = ReadRequest(
                url=URL(f"http://127.0.0.1:{port}/metrics"),
                bytes_max=100,
                deadline_s=0.5,
                owner="pods",
            )
            # Deaf from before the page comes until after the deadline.
            asyncio.get_running_loop().call_later(0.1, time.sleep, 1.0)
            assert await reader.read(request, steps) == b"a 1\n"
            task.cancel()
