"""One listening address, which strangers may reach and not hold: a time-out for heads, and a limit of connections.

File descriptors are shared with what the daemon lives on (watches, pages). A connection that has not sent
the head of its request in time is closed; where there are too many, the one that has waited longest goes,
so that a probe, which says at once what it wants, is always answered.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from autoscaler.errors import SettingsError

HEAD_S = 10.0
"""From a connection to the end of its first head; between two requests, as long."""
UNREAD_S = 30.0
"""Of an answer that is not taken."""
CONNECTIONS_MAX = 64
_END = b"\r\n\r\n"


class Door:
    """One application behind one address. `close` ends it."""

    def __init__(
        self,
        application: web.Application,
        *,
        host: str,
        port: int,
        option: str,
        head_s: float = HEAD_S,
        unread_s: float = UNREAD_S,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """Prepare; port 0 takes any that is free.

        Args:
            application: What is behind it.
            host: Empty: all addresses.
            port: 0 to 65535.
            option: That named the address, for messages.
            head_s: How long a head may take.
            unread_s: How long an answer may wait for who asked for it.
            connections_max: Open at once.
        """
        self._host, self._port, self._option = host, port, option
        self.head_s, self.unread_s = head_s, unread_s
        self._connections_max = connections_max
        self._connections: dict[_Connection, None] = {}
        """Open ones, the oldest first."""
        self._server: asyncio.Server | None = None
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=head_s,
            logger=_LOGGER,
            shutdown_timeout=1.0,  # a scrape that hangs must not hold up a shutdown
        )

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def start(self) -> str:
        """Listen; returns the address, for people.

        Raises:
            SettingsError: The address cannot be had.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: _Connection(self), self._host or None, self._port, reuse_address=True
            )
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            raise SettingsError(
                f"listening on {self._host or '*'}:{self._port}: {getattr(error, 'strerror', None) or error}; "
                f"give another {self._option}, or end what has it"
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        for connection in tuple(self._connections):
            connection.abort()

    def handler(self) -> asyncio.Protocol:
        """What aiohttp has for one connection."""
        server = self._runner.server
        assert server is not None, "it was started"
        return server()

    def enter(self, connection: _Connection) -> None:
        """Take one in; where there are too many, the oldest that still waits goes, or the oldest."""
        self._connections[connection] = None
        if len(self._connections) > self._connections_max:
            waiting = (each for each in self._connections if each.waits)
            next(waiting, next(iter(self._connections))).abort()

    def leave(self, connection: _Connection) -> None:
        """Forget one."""
        self._connections.pop(connection, None)


class _Connection(asyncio.Protocol):
    """Between a socket and aiohttp's handler of it: only watches the time."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._handler: Any = door.handler()
        self._transport: asyncio.Transport | None = None
        self._tail = b""
        self.waits = True
        """Whether its first head is not complete."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._abort_in(self._door.head_s)
        self._handler.connection_made(transport)
        self._door.enter(self)

    def data_received(self, data: bytes) -> None:
        if self.waits:
            seen = self._tail + data
            self._tail = seen[-len(_END) + 1 :]
            if _END in seen:
                self.waits = False
                self._keep()
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        ended: bool | None = self._handler.eof_received()
        return ended

    def pause_writing(self) -> None:
        self._abort_in(self._door.unread_s)
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._keep()
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep()
        self._door.leave(self)
        self._handler.connection_lost(exc)

    def abort(self) -> None:
        """Close it at once."""
        self._door.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def _abort_in(self, seconds: float) -> None:
        self._keep()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether aiohttp tells of a fault of ours: what strangers send is not worth a line."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError | TimeoutError)


_LOGGER = logging.getLogger("autoscaler.http")
_LOGGER.addFilter(_is_ours)
