"""A Service: one loopback address for clients, routed to the ready pods behind it.

Connections are balanced, not requests, as kube-proxy does it. A pod that is not ready, or is being
deleted, gets no new connections after a delay, as endpoints take their time to reach every node;
open connections stay where they are. A connection to a machine without power fails.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import cast

from simulations.box.local_cluster.objects import Object, condition_is_true
from simulations.box.local_cluster.probes import container_port
from simulations.box.local_cluster.selectors import from_spec, matches_labels
from simulations.box.local_cluster.store import Store


@dataclass(slots=True)
class Endpoint:
    """One pod that connections may go to."""

    host: str
    port: int
    connections: int = 0


@dataclass(slots=True)
class Routes:
    """Where a Service sends its connections, and how many it could send nowhere."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    """By the pod's uid."""
    refused: int = 0
    """Connections for which there was no endpoint, or none that answered."""


class Service:
    """Listens on a port of its own; `run` keeps its routes."""

    def __init__(
        self,
        store: Store,
        *,
        namespace: str,
        selector: dict[str, str],
        port: int | str,
        delay_s: float,
        rng: random.Random,
    ) -> None:
        self.routes = Routes()
        self.port = 0
        """Where it listens, on 127.0.0.1."""
        self._store = store
        self._namespace = namespace
        self._selector = from_spec({"matchLabels": selector})
        self._target_port = port
        self._delay_s = delay_s
        self._rng = rng
        self._server: asyncio.Server | None = None
        self.clients: set[_Client] = set()
        """Open connections."""

    @property
    def url(self) -> str:
        """For clients."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Client(self), "127.0.0.1", 0, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the door and cut what is open."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for client in tuple(self.clients):
            client.cut()
        await server.wait_closed()

    async def run(self) -> None:
        """Follow the pods, each change `delay_s` late, until cancelled."""
        loop = asyncio.get_running_loop()
        seen: dict[str, Endpoint] = {}
        while True:
            version = self._store.version
            now = self._eligible()
            if now.keys() != seen.keys():
                seen = now
                loop.call_later(self._delay_s, self._replace, now)
            await self._store.changed(version)

    def _replace(self, endpoints: dict[str, Endpoint]) -> None:
        kept = self.routes.endpoints
        self.routes.endpoints = {uid: kept.get(uid, new) for uid, new in endpoints.items()}
        self._store.wake()  # who waits for routes looks again

    def _eligible(self) -> dict[str, Endpoint]:
        return {
            pod["metadata"]["uid"]: Endpoint(
                pod["status"]["podIP"],
                container_port(pod["spec"]["containers"][0], self._target_port),
            )
            for pod in self._store.all("pods", self._namespace)
            if self._routable(pod)
        }

    def _routable(self, pod: Object) -> bool:
        return (
            matches_labels(self._selector, pod)
            and condition_is_true(pod, "Ready")
            and "deletionTimestamp" not in pod["metadata"]
            and bool(pod.get("status", {}).get("podIP"))
        )

    def choose(self) -> Endpoint | None:
        """The endpoint with the fewest open connections, by lot among equals; None: nowhere."""
        endpoints = list(self.routes.endpoints.values())
        if not endpoints:
            return None
        fewest = min(endpoint.connections for endpoint in endpoints)
        return self._rng.choice([e for e in endpoints if e.connections == fewest])


class _Side(asyncio.Protocol):
    """One end of a connection: what it reads, its peer writes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None
        self.has_ended = False
        """It sends nothing more; when neither side does, the connection is over."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        self.has_ended = True
        if self.peer is not None and self.peer.transport is not None:
            if self.peer.has_ended:
                self.peer.transport.close()
                return False  # closes this side too
            self.peer.transport.write_eof()
        return True  # the other direction stays open

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.peer is not None and self.peer.transport is not None:
            if error is None:
                self.peer.transport.close()
            else:
                self.peer.transport.abort()

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()


class _Client(_Side):
    """The client's end; finds the pod's end when it is made."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service
        self._endpoint: Endpoint | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        """What came before the pod's end was there: `pause_reading` in `connection_made` is not
        heeded by every Python (3.11.2 reads on)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._service.clients.add(self)
        self._endpoint = self._service.choose()
        if self._endpoint is None:
            self._refuse()
            return
        self._endpoint.connections += 1
        cast("asyncio.Transport", transport).pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect(self._endpoint))

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._service.clients.discard(self)
        if self._endpoint is not None:
            self._endpoint.connections -= 1
        if self._connecting is not None:
            self._connecting.cancel()

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._early.append(data)
        else:
            super().data_received(data)

    def cut(self) -> None:
        """End it now."""
        if self.transport is not None:
            self.transport.abort()

    async def _connect(self, endpoint: Endpoint) -> None:
        upstream = _Side()
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: upstream, endpoint.host, endpoint.port
            )
        except OSError:
            self._refuse()
            return
        upstream.peer, self.peer = self, upstream
        if self.transport is None:
            upstream.peer = None
            if upstream.transport is not None:
                upstream.transport.abort()
            return
        for data in self._early:
            super().data_received(data)
        if self.has_ended and upstream.transport is not None:
            upstream.transport.write_eof()
        self.transport.resume_reading()

    def _refuse(self) -> None:
        self._service.routes.refused += 1
        self.cut()
