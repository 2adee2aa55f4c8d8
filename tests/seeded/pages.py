"""Pages of pods on the network in memory: true ones, and all that a pod may answer instead.

An answer is bytes on a connection, so that the real client reads them.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Callable
from typing import TypeAlias

Answer: TypeAlias = tuple[bytes, str]
"""Bytes to be sent, and what follows: `keep` the connection, `close` or `reset` it, or nothing (`hang`)."""


def http(
    body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None
) -> bytes:
    """One whole answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n{headers}"
    size = len(body) if length is None else length
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + body


def good(text: str) -> Answer:
    """The page."""
    return http(text.encode()), "keep"


def _with(text: str, value: str) -> str:
    """The page with another number of running requests."""
    lines = text.split("\n")
    return "\n".join(
        f"{line.rpartition(' ')[0]} {value}" if line.startswith("vllm:num_requests_r") else line
        for line in lines
    )


def _twice_huge(text: str) -> Answer:
    return good(
        text + 'vllm:num_requests_running{engine="1",model_name="x"} 1e308\n'
        'vllm:num_requests_running{engine="2",model_name="x"} 1e308\n'
    )


HOSTILE: dict[str, Callable[[str, random.Random], Answer]] = {
    "login page": lambda _t, _r: (
        http(b"<html><title>login</title></html>\n", headers="X-A: b\r\n"),
        "keep",
    ),
    "titles without end": lambda _t, _r: (http(b"<html>" + b"<title>" * 400), "keep"),
    "status 500": lambda _t, _r: (http(b"oops", status="500 Internal Server Error"), "keep"),
    "redirect": lambda _t, _r: (
        http(b"", status="302 Found", headers="Location: http://elsewhere/\r\n"),
        "keep",
    ),
    "cut short": lambda t, r: (http(t.encode()[: r.randrange(20, 300)], length=9_000), "close"),
    "cut without a length": lambda t, r: (
        b"HTTP/1.1 200 OK\r\n\r\n" + t.encode()[: r.randrange(20, 300)],
        "close",
    ),
    "reset": lambda _t, _r: (b"", "reset"),
    "closed at once": lambda _t, _r: (b"", "close"),
    "never an answer": lambda _t, _r: (b"", "hang"),
    "half a head": lambda _t, _r: (b"HTTP/1.1 200 OK\r\nContent-", "hang"),
    "half a body": lambda t, _r: (http(t.encode()[:99], length=len(t)), "hang"),
    "no HTTP": lambda _t, r: (bytes(r.randrange(256) for _ in range(200)), "close"),
    "junk": lambda _t, r: (http(bytes(r.randrange(256) for _ in range(400))), "keep"),
    "no UTF-8": lambda t, _r: (http(t.encode().replace(b"model_name", b"model\xff\xfe")), "keep"),
    "nothing": lambda _t, _r: (http(b""), "keep"),
    "no number": lambda t, _r: good(_with(t, "many")),
    "NaN": lambda t, _r: good(_with(t, "NaN")),
    "infinite": lambda t, _r: good(_with(t, "+Inf")),
    "negative": lambda t, _r: good(_with(t, "-5")),
    "1e308": lambda t, _r: good(_with(t, "1e308")),
    "1e308 twice": lambda t, _r: _twice_huge(t),
    "a thousand digits": lambda t, _r: good(_with(t, "9" * 1000)),
    "a long label": lambda t, r: good(t + f'vllm:x{{a="{"b" * r.randrange(1, 60_000)}"}} 1\n'),
    "many rows": lambda t, _r: good(t + 'vllm:foreign{a="b"} 1\n' * 3_000),
    "many wanted rows": lambda t, _r: good(
        t + "".join(f'vllm:num_requests_waiting{{engine="{n}"}} 0\n' for n in range(500))
    ),
    "a broken line": lambda t, _r: good(t + 'vllm:num_requests_running{engine="0 3\n'),
    "gzip that is none": lambda t, _r: (
        http(t.encode(), headers="Content-Encoding: gzip\r\n"),
        "keep",
    ),
    "gzip": lambda t, _r: (
        http(gzip.compress(t.encode(), mtime=0), headers="Content-Encoding: gzip\r\n"),
        "keep",
    ),
    "zeros, zipped": lambda _t, _r: (
        http(gzip.compress(b"\0" * 500_000, mtime=0), headers="Content-Encoding: gzip\r\n"),
        "keep",
    ),
    "broken chunks": lambda _t, _r: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
        "close",
    ),
    "a head without end": lambda _t, _r: (
        b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"b" * 70_000 + b"\r\n\r\n",
        "close",
    ),
    "two answers": lambda t, _r: (http(t.encode()) + http(b"more"), "keep"),
}
"""By name: what a pod answers in place of its page."""
TRUE_AFTER_ALL = frozenset({"a long label", "many rows", "many wanted rows", "two answers"})
"""Of these: they hold the whole page, and it is read; who answers so is not silent."""


class PageServer(asyncio.Protocol):
    """The pod's end of a connection."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        self._answer = answer
        self._transport: asyncio.Transport | None = None
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if b"\r\n\r\n" not in self._asked or self._transport is None:
            return
        self._asked = b""
        body, then = self._answer()
        self._transport.write(body)
        if then == "close":
            self._transport.close()
        elif then == "reset":
            self._transport.abort()
