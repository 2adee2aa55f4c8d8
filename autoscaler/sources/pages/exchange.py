"""One question and its answer on a connection of aiohttp's, without a session's work around it.

Of a thousand pods each is asked the same each period. What a session does anew for each request (its URL, its
headers, cookies, redirects, traces, a response's object) is as much work as all the rest of reading a page. So the
question is written once, connections are taken from the session's connector, which pools them, and answers are
parsed by its protocol.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

_NO_TIMEOUT = aiohttp.ClientTimeout()
"""Who asks has a deadline."""
_QUESTIONS_KEPT_MAX = 16_384
"""Some 3 kB each."""
_INTERIM = range(100, 200)
_SWITCHING = 101
"""Ends an exchange, though it looks like an interim answer."""


class Exchange(NamedTuple):
    """What was answered, up to its body."""

    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    content: aiohttp.StreamReader
    """The body, as it comes."""


class _Question(NamedTuple):
    """A GET as it is sent."""

    request: aiohttp.ClientRequest
    """By which a connector tells whom to connect to."""
    text: bytes


class Get:
    """A GET of HTTP/1.1, on a connection that is kept if the body is read to its end; a context that yields the Exchange.

    A server may close a connection that was idle just as it is asked: it is asked once more then.

    Entering it raises aiohttp.ClientError where the server cannot be reached, does not answer, or what it answers
    is no HTTP; and ValueError where the question cannot be asked as one.
    """

    def __init__(
        self,
        connector: aiohttp.BaseConnector,
        url: URL,
        *,
        headers: tuple[tuple[str, str], ...],
        tls: ssl.SSLContext | None,
        server_name: str | None,
    ) -> None:
        """Say what to ask.

        Args:
            connector: Of connections.
            url: Whom, and for what.
            headers: Beside `Host`.
            tls: Whom to trust; None: the system's authorities.
            server_name: That a certificate must be of; None: the host of the URL.
        """
        self._connector = connector
        self._asked_for = url, headers, tls, server_name

    async def __aenter__(self) -> Exchange:
        """Ask, and wait until the answer begins."""
        question = _question(*self._asked_for)
        try:
            exchange = await self._ask(question)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            exchange = await self._ask(question)
        self._content = exchange.content
        return exchange

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the connection back, or end it with what still comes on it."""
        if kind is None and self._content.is_eof():
            self._connection.release()
        else:
            self._connection.close()

    async def _ask(self, question: _Question) -> Exchange:
        """Ask on one connection; interim answers are passed over."""
        self._connection = connection = await self._connector.connect(
            question.request, [], _NO_TIMEOUT
        )
        try:
            protocol, transport = connection.protocol, connection.transport
            assert protocol is not None, "it is ours until it is closed or released"
            assert transport is not None, "a connector gives none that has ended"
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            transport.write(question.text)
            while True:
                message, content = await protocol.read()
                if message.code not in _INTERIM or message.code == _SWITCHING:
                    return Exchange(message.code, message.reason, message.headers, content)
        except BaseException:
            connection.close()
            raise


@lru_cache(maxsize=_QUESTIONS_KEPT_MAX)
def _question(
    url: URL,
    headers: tuple[tuple[str, str], ...],
    tls: ssl.SSLContext | None,
    server_name: str | None,
) -> _Question:
    """Write a question down. Raises ValueError: it has more lines than it should."""
    request = aiohttp.ClientRequest(
        "GET",
        url,
        headers=headers,
        loop=asyncio.get_running_loop(),
        ssl=tls if tls is not None else True,
        server_hostname=server_name,
    )
    lines = [f"GET {url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        message = "a header or the path of a request has a line break in it"
        raise ValueError(message)
    return _Question(request, "\r\n".join([*lines, "", ""]).encode())
