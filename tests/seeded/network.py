"""A network in memory: connections between aiohttp's real client and what answers at an address.

Bytes take a latency and keep their order. A connection can be refused, hang while it is opened, be reset, or
lose everything that is sent (a silent one). Everything of one client can be severed at once: its process
died.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp

Address: TypeAlias = tuple[str, int]
Accept: TypeAlias = Callable[[], asyncio.Protocol]
"""Makes the server's end of a new connection."""

LATENCY_S = 0.001


class End(asyncio.Transport):
    """One end of a connection: what is written here arrives at the other one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("10.0.0.1", 1), "sockname": ("10.0.0.2", 2)})
        self.peer: End = self
        self.protocol: asyncio.Protocol = protocol
        self.silent = False
        """What is written is lost."""
        self._loop = loop
        self._closing = False
        self._lost = False
        self._paused = False
        self._wire: deque[tuple[Callable[[Any], None], Any]] = deque()
        """What is on its way to the other end."""
        self._held: list[Callable[[], None]] = []
        """What arrived while reading was paused."""

    # -- as asyncio has it

    def is_closing(self) -> bool:
        return self._closing

    def get_protocol(self) -> asyncio.Protocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        self._carry(self.peer._receive, bytes(data))

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._carry(self.peer._end, None)
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """A reset: the other end is told so."""
        if not self._lost:
            self._closing = True
            self._carry(self.peer._end, ConnectionResetError("Connection reset by peer"))
            self._loop.call_soon(self._lose, None)

    def pause_reading(self) -> None:
        self._paused = True

    def is_reading(self) -> bool:
        return not self._paused

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._let_in)

    # -- the wire

    def vanish(self) -> None:
        """Its process is dead: it hears nothing more, and the other end is told of a reset."""
        if not self._lost:
            self._lost = self._closing = True
            self._carry(self.peer._end, ConnectionResetError("Connection reset by peer"))
            # Who still waits on it, in a task that is being cancelled, is told.
            self._loop.call_soon(self.protocol.connection_lost, ConnectionResetError("dead"))

    def _carry(self, deliver: Callable[[Any], None], what: Any) -> None:
        if not (self.silent or self.peer.silent):
            # Timers of one moment go off in no particular order; bytes keep theirs.
            self._wire.append((deliver, what))
            self._loop.call_later(LATENCY_S, self._arrive)

    def _arrive(self) -> None:
        deliver, what = self._wire.popleft()
        deliver(what)

    def _receive(self, data: bytes) -> None:
        if self._paused:
            self._held.append(lambda: self._receive(data))
        elif not self._lost:
            self.protocol.data_received(data)

    def _end(self, error: Exception | None) -> None:
        if self._paused and error is None:
            self._held.append(lambda: self._end(error))
            return
        if self._lost:
            return
        self._closing = True
        if error is None:
            self.protocol.eof_received()
        self._lose(error)

    def _let_in(self) -> None:
        while self._held and not self._paused:
            self._held.pop(0)()

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self.protocol.connection_lost(error)


@dataclass(eq=False)
class Host:
    """Who is asked at one address."""

    accept: Accept
    refuses: bool = False
    """Nobody listens."""
    mute: bool = False
    """A connection is never opened, as if the packets were dropped."""
    ends: list[End] = field(default_factory=list)
    """The server's, of the connections that are open."""


class Network:
    """All addresses."""

    def __init__(self) -> None:
        self._hosts: dict[Address, Host] = {}

    def listen(self, address: Address, accept: Accept) -> Host:
        """Answer here from now on."""
        host = self._hosts[address] = Host(accept)
        return host

    def forget(self, address: Address) -> None:
        """The machine of this address is gone: connections are silent, new ones hang."""
        host = self._hosts.get(address)
        if host is not None:
            host.mute = True
            for end in host.ends:
                end.silent = True

    def host(self, address: Address) -> Host | None:
        """Who answers there."""
        return self._hosts.get(address)


class Connector(aiohttp.BaseConnector):
    """One process's way into the network."""

    def __init__(self, network: Network) -> None:
        super().__init__(limit=0)
        self._network = network
        self._ends: list[End] = []
        self.dead = False

    async def _create_connection(
        self, req: aiohttp.ClientRequest, _traces: Any, timeout: aiohttp.ClientTimeout
    ) -> Any:
        address = (req.url.raw_host or "", req.url.port or 80)
        host = self._network.host(address)
        try:
            async with asyncio.timeout(timeout.sock_connect):
                await asyncio.sleep(LATENCY_S)
                while self.dead or host is None or (host.mute and not host.refuses):
                    await asyncio.sleep(3600.0)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {req.url}") from error
        if host.refuses:
            raise aiohttp.ClientConnectorError(
                req.connection_key, ConnectionRefusedError(111, "Connect call failed")
            )
        loop = self._loop
        ours, theirs = End(loop, self._factory()), End(loop, host.accept())
        ours.peer, theirs.peer = theirs, ours
        host.ends = [end for end in host.ends if not end._lost]
        self._ends = [end for end in self._ends if not end._lost]
        host.ends.append(theirs)
        self._ends.append(ours)
        theirs.protocol.connection_made(theirs)
        ours.protocol.connection_made(ours)
        return ours.protocol

    def sever(self) -> None:
        """The process died: nothing of it is sent any more, and nothing reaches it."""
        self.dead = True
        for end in self._ends:
            end.vanish()
