"""A Service: one loopback address for clients, routed to the ready pods behind it.

Connections are balanced, not requests, as kube-proxy does it. A pod that is not ready, or is being
deleted, gets no new connections after a delay, as endpoints take their time to reach every node;
open connections stay where they are. A connection to a machine without power fails.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from simulations.box.local_cluster.machines.probes import container_port
from simulations.box.local_cluster.objects import condition_is_true
from simulations.box.local_cluster.selectors import from_spec, matches_labels
from simulations.box.local_cluster.store import Store

_BYTES_AT_A_TIME = 1 << 16


@dataclass(slots=True)
class Endpoint:
    """One pod that connections may go to."""

    host: str
    port: int
    connections: int = 0


class Service:
    """Listens on a port of its own; `run` keeps its endpoints."""

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
        self.endpoints: dict[str, Endpoint] = {}
        """Where it sends its connections, by the pod's uid."""
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

    def stop(self) -> None:
        """Close the door and cut what is open."""
        if self._server is not None:
            self._server.close()
        for transport in tuple(self._open):
            transport.abort()

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
        self.endpoints = {uid: self.endpoints.get(uid, new) for uid, new in endpoints.items()}
        self._store.wake()  # who waits for endpoints looks again

    def _eligible(self) -> dict[str, Endpoint]:
        return {
            pod["metadata"]["uid"]: Endpoint(
                pod["status"]["podIP"],
                container_port(pod["spec"]["containers"][0], self._target_port),
            )
            for pod in self._store.all("pods", self._namespace)
            if matches_labels(self._selector, pod)
            and condition_is_true(pod, "Ready")
            and "deletionTimestamp" not in pod["metadata"]
            and pod["status"].get("podIP")
        }

    def choose(self) -> Endpoint | None:
        """The endpoint with the fewest open connections, by lot among equals; None: nowhere."""
        if not self.endpoints:
            return None
        fewest = min(endpoint.connections for endpoint in self.endpoints.values())
        return self._rng.choice([e for e in self.endpoints.values() if e.connections == fewest])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, from its beginning to its end."""
        endpoint = self.choose()
        if endpoint is None:
            writer.transport.abort()
            return
        endpoint.connections += 1
        ends = [writer]
        self._open.add(writer.transport)
        try:
            pod_reader, pod_writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            ends.append(pod_writer)
            self._open.add(pod_writer.transport)
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, pod_writer))
                group.create_task(_carry(pod_reader, writer))
        except* OSError:  # no answer, or one end was cut: then both are
            for end in ends:
                end.transport.abort()
        finally:
            for end in ends:
                self._open.discard(end.transport)
                end.close()
            endpoint.connections -= 1


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until no more are sent."""
    while data := await reader.read(_BYTES_AT_A_TIME):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
