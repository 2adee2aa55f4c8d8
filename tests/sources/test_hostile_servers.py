"""Pods that speak HTTP badly, on purpose or not: each read ends with a word, and costs little."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Iterator

import pytest

from autoscaler.sources.collector.feeds import PodFeed
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.pages.limits import POD_PAGE_BYTES_MAX
from autoscaler.sources.pages.outcome import ReadOutcome
from tests.sources.bodies import page
from tests.sources.servers import free_port, read_all, reading, target
from tests.sources.test_collector import settings

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LOADED = page("vllm-0.32.0-loaded")
SENT_MAX = 24 * 2**20
"""By a sender that is cut off: what is in buffers when it is."""


def framed(body: bytes, *headers: bytes) -> bytes:
    lines = [b"Content-Length: %d" % len(body), *headers]
    return HEAD + b"\r\n".join(lines) + b"\r\n\r\n" + body


CASES: dict[str, tuple[bytes, bytes, ReadOutcome]] = {
    # what it does: (what it sends first, what it then sends for ever, how the read ends)
    "interim answers for ever": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", ReadOutcome.REFUSED),
    "answers nobody asked for": (framed(b"x"), framed(b""), ReadOutcome.REFUSED),
    "headers for ever": (HEAD, b"a: b\r\n", ReadOutcome.REFUSED),
    "one header for ever": (HEAD + b"a: ", b"x" * 100, ReadOutcome.REFUSED),
    "one status for ever": (HEAD[:-2], b"x" * 100, ReadOutcome.REFUSED),
    "a body for ever": (HEAD + b"\r\n", b"# comment\n", ReadOutcome.TOO_LARGE),
    "chunks of a byte for ever": (CHUNKED, b"1\r\na\r\n", ReadOutcome.REFUSED),
    "chunks for ever": (CHUNKED, b"1000\r\n" + b"#" * 4096 + b"\r\n", ReadOutcome.TOO_LARGE),
    "a chunk's extension for ever": (CHUNKED + b"1;", b"x" * 100, ReadOutcome.TRUNCATED),
    "trailers for ever": (CHUNKED + b"1\r\na\r\n0\r\n", b"a: b\r\n", ReadOutcome.REFUSED),
    "an error for ever": (b"HTTP/1.1 500 no\r\n\r\n", b"x" * 100, ReadOutcome.STATUS),
    "no HTTP for ever": (b"", b"\x00\xff", ReadOutcome.REFUSED),
    "HTTP/0.9": (LOADED, b"", ReadOutcome.REFUSED),
    "a length below zero": (HEAD + b"Content-Length: -5\r\n\r\nabc", b"", ReadOutcome.REFUSED),
    "a length beyond counting": (
        HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nabc",
        b"",
        ReadOutcome.REFUSED,
    ),
    "a length that is too much": (
        HEAD + b"Content-Length: 99999999\r\n\r\n",
        b"",
        ReadOutcome.TOO_LARGE,
    ),
    "two lengths": (framed(LOADED, b"Content-Length: 5"), b"", ReadOutcome.REFUSED),
    "a length and chunks": (
        framed(LOADED, b"Transfer-Encoding: chunked"),
        b"",
        ReadOutcome.REFUSED,
    ),
    "a shorter length than body": (
        HEAD + b"Content-Length: 5\r\n\r\nvllm:num_requests_running 3\n",
        b"",
        ReadOutcome.REFUSED,
    ),
    "a chunk below zero": (CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n", b"", ReadOutcome.REFUSED),
    "a chunk beyond counting": (CHUNKED + b"f" * 16 + b"\r\nabc", b"", ReadOutcome.TRUNCATED),
    "compressed, unasked": (
        framed(gzip.compress(LOADED), b"Content-Encoding: gzip"),
        b"",
        ReadOutcome.NOT_METRICS,
    ),
    "a compressed bomb": (
        framed(gzip.compress(b"x" * 2**24), b"Content-Encoding: gzip"),
        b"",
        ReadOutcome.NOT_METRICS,
    ),
    "compressed, and not said": (framed(gzip.compress(LOADED)), b"", ReadOutcome.NOT_METRICS),
    "an encoding that is none": (
        framed(LOADED, b"Content-Encoding: " + b"x" * 4000),
        b"",
        ReadOutcome.NOT_METRICS,
    ),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxxx",
        b"",
        ReadOutcome.STATUS,
    ),
    "a redirect to nowhere": (
        b"HTTP/1.1 302 Found\r\nLocation: //[\r\nContent-Length: 0\r\n\r\n",
        b"",
        ReadOutcome.STATUS,
    ),
    "a status that is none": (
        b"HTTP/1.1 999 \x1b[31m\r\nContent-Length: 0\r\n\r\n",
        b"",
        ReadOutcome.STATUS,
    ),
    "UTF-16": (framed(LOADED.decode().encode("utf-16")), b"", ReadOutcome.NOT_METRICS),
    "zero bytes in it": (
        framed(b"vllm:num_requests_running\x00 3\nvllm:num_requests_waiting 1\n"),
        b"",
        ReadOutcome.READ,  # of a name that ends in a zero byte there is no series: unknown, not 0
    ),
    "a byte order mark": (framed(b"\xef\xbb\xbf" + LOADED), b"", ReadOutcome.READ),
    "a charset that is none": (
        framed(LOADED, b"Content-Type: text/plain; charset=\xff\xfe"),
        b"",
        ReadOutcome.READ,
    ),
    "chunks with trailers": (
        CHUNKED + b"%x\r\n" % len(LOADED) + LOADED + b"\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"",
        ReadOutcome.READ,
    ),
    "one interim answer": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + framed(LOADED),
        b"",
        ReadOutcome.READ,
    ),
    "OpenMetrics, unasked": (
        framed(LOADED.replace(b"8.0\n", b"8.0\n") + b"# EOF\n"),
        b"",
        ReadOutcome.READ,
    ),
    "an exemplar": (
        framed(
            LOADED + b'vllm:prompt_tokens_total{engine="9"} 5 # {trace_id="x"} 1 1700000000.5\n'
        ),
        b"",
        ReadOutcome.READ,
    ),
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        yield


@pytest.mark.parametrize("case", CASES)
async def test_how_a_read_ends_and_how_much_it_takes(case: str):
    first, then, outcome = CASES[case]
    sent = 0
    ended_by_us = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with quiet():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            piece = then * (65536 // len(then)) if then else b""
            while piece and sent <= 2 * SENT_MAX:
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
            await writer.drain()
            if not piece:
                writer.write_eof()
        if piece:
            ended_by_us.set()
        writer.close()

    port = free_port()
    last_values = LastValues()
    last_values.set_targets([target("p1", ip="127.0.0.1")])
    feed = PodFeed(
        name="pods",
        settings=settings(port),
        deadline_s=20.0,
        last_values=last_values,
        now=lambda: 100.0,
    )
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server, reading() as reader:
        (ended,) = await read_all(feed, reader)
        if then:
            await ended_by_us.wait()
        assert reader.budget.held_bytes == 0
    assert ended.outcome == outcome, ended.message
    assert ended.message.isprintable()
    assert len(ended.message) < 600
    assert bool(last_values.samples()) == (outcome is ReadOutcome.READ)
    assert sent <= SENT_MAX


async def test_a_zero_byte_makes_unknown_and_not_zero():
    first, _, _ = CASES["zero bytes in it"]
    last_values = LastValues()
    last_values.set_targets([target("p1", ip="127.0.0.1")])
    port = free_port()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with quiet():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            await writer.drain()
        writer.close()

    feed = PodFeed(
        name="pods",
        settings=settings(port),
        deadline_s=9.0,
        last_values=last_values,
        now=lambda: 1.0,
    )
    async with await asyncio.start_server(answer, "127.0.0.1", port), reading() as reader:
        await read_all(feed, reader)
    sample = last_values.samples()["serving", "p1"]
    assert (sample.waiting_requests, sample.running_requests) == (1, None)


async def test_a_page_at_its_limit_is_read():
    body = LOADED + b"# more of the same\n" * ((POD_PAGE_BYTES_MAX - len(LOADED)) // 19)
    port = free_port()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(framed(body))
        await writer.drain()
        writer.close()

    last_values = LastValues()
    last_values.set_targets([target("p1", ip="127.0.0.1")])
    feed = PodFeed(
        name="pods",
        settings=settings(port),
        deadline_s=20.0,
        last_values=last_values,
        now=lambda: 1.0,
    )
    async with await asyncio.start_server(answer, "127.0.0.1", port), reading() as reader:
        (ended,) = await read_all(feed, reader)
    assert ended.outcome == ReadOutcome.READ
