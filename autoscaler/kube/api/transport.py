"""How kubernetes_asyncio sends: the session below it, with what the library leaves open settled."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

_READ_BUFFER_BYTES = 2**21
"""The library's own: an event of a watch may have more than aiohttp's default."""


class _Session:
    """The part of aiohttp's session that the library uses; it follows no redirect.

    Whoever answers in the API server's place may name any address; what is sent there is ours: the
    token, or a write. The library has no option for it.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._transports: set[asyncio.Transport] = set()

    async def request(self, **arguments: Any) -> aiohttp.ClientResponse:
        """Send one request."""
        response = await self._session.request(**arguments, allow_redirects=False)
        self._transports = {each for each in self._transports if _open(each)}
        # Without a connection the answer was read whole, and the session has the connection back.
        if response.connection is not None and response.connection.transport is not None:
            self._transports.add(response.connection.transport)
        return response

    async def close(self) -> None:
        """Close the connections; no socket of theirs is open after it."""
        await self._session.close()
        # Those of watches that were cut are the session's no longer: TLS says farewell on them, up to
        # half a minute, and a loop that ends before leaves them open.
        for transport in self._transports:
            transport.abort()
        self._transports.clear()
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn


def _open(transport: asyncio.Transport) -> bool:
    socket = transport.get_extra_info("socket")  # one of TLS forgets it when it is lost
    return socket is not None and socket.fileno() >= 0


def fit_transport(rest_client: Any, *, loopback: bool) -> None:
    """Replace the session of a REST client of the library by one that follows no redirect.

    Args:
        rest_client: Fresh: nothing was sent through it.
        loopback: The server is on this machine. Corporate proxies are named in the environment; a proxy
            cannot reach this machine's loopback, and Go's clients (kubectl) never ask it to.
    """
    session = rest_client.pool_manager
    if loopback:
        old, session = (
            session,
            aiohttp.ClientSession(
                connector=session.connector, trust_env=False, read_bufsize=_READ_BUFFER_BYTES
            ),
        )
        old.detach()
    rest_client.pool_manager = _Session(session)
