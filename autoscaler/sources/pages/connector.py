"""Connections on which a foreign byte has a small price.

aiohttp bounds the length of lines and the number of headers, but not of answers and pieces: ten thousand
interim answers (`100 Continue`), or chunks of one byte, in one packet's worth of 256 KiB hold the event
loop for half a second. So an answer comes in small packets, is counted in its pieces, and is cut off
where they are more than any server sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from autoscaler.sources.pages.limits import ANSWER_BYTES_MAX

_PACKET_BYTES = 64 * 2**10
"""Received at one time, a vLLM page with room to spare; the kernel's buffer, so that a sender is held back by it
too."""
_HEAD_SLICE_BYTES = 2 * 2**10
"""Parsed at one time until the answer that counts has begun."""
_BODY_SLICE_BYTES = 16 * 2**10
"""Parsed at one time from then on: a body costs next to nothing, and what follows it may be more answers."""
_FINAL_STATUS_MIN = 200
"""Below it an answer is interim (`100 Continue`)."""
_ANSWERS_MAX = 8
"""Until the one that counts: servers send one or two interim ones."""
_PIECES_MIN = 256
_BYTES_PER_PIECE = 64
"""A piece ends in CR LF: a header, a chunk's size, a chunk. Servers send chunks of 1 kB and more."""
_ANSWER_BYTES_MAX = 2 * ANSWER_BYTES_MAX
"""Of one answer as it comes, with all around its body (the extensions of chunks have no other limit)."""


def open_connector() -> aiohttp.TCPConnector:
    """Make a connector for a collector's session."""
    # No limit: IN_FLIGHT_MAX bounds each feed, and a limit here would let one starve the others.
    connector = aiohttp.TCPConnector(limit=0, socket_factory=_small_socket)
    # aiohttp offers no other way to it; tests/sources/test_hostile_servers.py fails if this does nothing.
    handler = partial(_CountingHandler, loop=asyncio.get_running_loop())
    connector._factory = handler  # type: ignore[assignment]  # noqa: SLF001
    return connector


@contextlib.asynccontextmanager
async def open_session(given: aiohttp.ClientSession | None) -> AsyncIterator[aiohttp.ClientSession]:
    """Open one session for many reads, unless the caller has one, who closes it."""
    if given is not None:
        yield given
        return
    # Pods are addressed directly: a proxy of the environment is not for them.
    async with aiohttp.ClientSession(
        connector=open_connector(),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(),  # each read has a deadline of its own
    ) as session:
        yield session


def _small_socket(address: tuple[Any, ...]) -> socket.socket:
    """Make the socket for an address as the resolver gives it."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    # The kernel doubles what it is asked for, and keeps as much for what is around the bytes.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PACKET_BYTES)
    return made


class _CountingHandler(ResponseHandler):
    """Counts what comes between a request and the end of its answer."""

    _answers = 0
    _begun = False
    """Whether the answer that counts has begun."""
    _pieces = 0
    _received_bytes = _parsed_bytes = 0
    _body: aiohttp.StreamReader | None = None
    """Of the answer that counts."""
    _body_bytes = 0
    """How long it is; 0: it has not said so, or has none."""

    def set_response_params(self, *args: Any, **parameters: Any) -> None:
        """Begin anew with each request of a connection."""
        self._answers = self._pieces = self._body_bytes = 0
        self._received_bytes = self._parsed_bytes = 0
        self._begun = False
        self._body = None
        super().set_response_params(*args, **parameters)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Count an answer's head, interim or not."""
        message, body = data
        self._answers += 1
        if not self._begun and message.code >= _FINAL_STATUS_MIN:
            self._begun = True
            length = message.headers.get("Content-Length", "")
            # An answer without a body may say so too (204), and more answers may follow it.
            if length.isdecimal() and not message.chunked and not body.is_eof():
                self._body_bytes = int(length)
            self._body = body
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it comes in too many pieces."""
        if not data:
            super().data_received(data)  # aiohttp's way to have its parser go on after a pause
            return
        self._received_bytes += len(data)
        if self._received_bytes > _ANSWER_BYTES_MAX:
            self._refuse(f"its answer has more than {_ANSWER_BYTES_MAX} bytes")
            return
        begin = 0
        while begin < len(data):
            left_bytes = 0 if self._body is None else self._body_bytes - self._body.total_bytes
            if left_bytes > 0:
                end = begin + left_bytes  # body and no answer, whatever stands there
            else:
                end = begin + (_BODY_SLICE_BYTES if self._begun else _HEAD_SLICE_BYTES)
                self._pieces += data.count(b"\r\n", begin, end)
            self._parsed_bytes += min(end, len(data)) - begin
            if self._pieces > _PIECES_MIN + self._parsed_bytes // _BYTES_PER_PIECE:
                self._refuse("its answer comes in too many pieces")
                return
            super().data_received(data[begin:end])
            begin = end
            if self._answers > _ANSWERS_MAX:
                self._refuse("it sends more answers than were asked for")
                return

    def _refuse(self, why: str) -> None:
        """End the connection; who waits for the answer is told why."""
        error = aiohttp.ServerDisconnectedError(why)
        if self._body is not None:
            # Whole, it is refused with the rest, if nobody has taken it yet.
            whole = self._body.is_eof()
            self._body.set_exception(error if whole else aiohttp.ClientPayloadError(why))
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()
