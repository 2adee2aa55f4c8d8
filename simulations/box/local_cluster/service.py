"""A Service: one loopback address for clients, routed to the ready pods behind it.

Connections are balanced, not requests, as kube-proxy does it. A pod that is not ready, or is being
deleted, gets no new connections after a delay, as endpoints take their time to reach every node;
open connections stay where they are. A connection to a machine without power fails.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from simulations.box.local_cluster.objects import Object, condition_is_true
from simulations.box.local_cluster.probes import container_port
from simulations.box.local_cluster.selectors import from_spec, matches_labels
from simulations.box.local_cluster.store import Store

_BYTES_AT_A_TIME = 1 << 16


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
        self._open: set[asyncio.WriteTransport] = set()
        """Both ends of every connection."""

    @property
    def url(self) -> str:
        """For clients."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the door and cut what is open."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for transport in tuple(self._open):
            transport.abort()
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, from its beginning to its end."""
        endpoint = self.choose()
        if endpoint is None:
            self._refuse(writer)
            return
        endpoint.connections += 1
        self._open.add(writer.transport)
        try:
            try:
                pod = await asyncio.open_connection(endpoint.host, endpoint.port)
            except OSError:
                self._refuse(writer)
                return
            self._open.add(pod[1].transport)
            try:
                await _join((reader, writer), pod)
            finally:
                self._open.discard(pod[1].transport)
        finally:
            self._open.discard(writer.transport)
            endpoint.connections -= 1

    def _refuse(self, writer: asyncio.StreamWriter) -> None:
        self.routes.refused += 1
        writer.transport.abort()


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _join(client: _Stream, pod: _Stream) -> None:
    """Carry bytes both ways until neither side sends any more, or one is cut: then both are."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(client[0], pod[1]))
            group.create_task(_carry(pod[0], client[1]))
    except* OSError:
        client[1].transport.abort()
        pod[1].transport.abort()
    finally:
        client[1].close()
        pod[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_BYTES_AT_A_TIME):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
