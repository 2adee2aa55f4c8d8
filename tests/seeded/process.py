"""The daemon as a process: its real objects on the network in memory, killed without a last word.

A kill severs its connections first, so that nothing that its tasks do while they are cancelled gets out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration

from autoscaler.app import Daemon, DaemonOptions, first_config
from autoscaler.core.tick.parts import Parts
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.loop import Listener
from autoscaler.kube.api.access import Access
from autoscaler.kube.api.client import Client
from tests.seeded.network import Connector, Network
from tests.seeded.world import EPOCH

UNWINDS_S = 60.0
"""A task that is cancelled and is still there after so long holds on to something."""


class StuckError(Exception):
    """A cancelled task does not end."""


class Process:
    """One life of the daemon."""

    def __init__(
        self,
        network: Network,
        config: Path,
        *,
        rng: random.Random,
        gpu_budget: int | None,
        listener: Listener,
        parts: Parts | None,
        break_it: Callable[[Daemon], None] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.began_at = loop.time()
        self.ended_at: float | None = None
        self.wall_skew_s = 0.0
        """Of this machine's wall clock."""
        self.daemon: Daemon | None = None
        """None: it has not come so far."""
        self.task: asyncio.Task[None] | None = None
        self._network = network
        self._config = config
        self._rng = rng
        self._gpu_budget = gpu_budget
        self._listener = listener
        self._parts = parts
        self._break_it = break_it
        self._connectors = [Connector(network), Connector(network)]
        self._stop = asyncio.Event()

    @property
    def alive(self) -> bool:
        """It runs."""
        return self.ended_at is None

    def start(self) -> None:
        """Begin."""
        self.task = asyncio.get_running_loop().create_task(self._run(), name="daemon")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        configuration = Configuration(host="http://api")
        api = ApiClient(configuration)
        await api.rest_client.pool_manager.close()
        api.rest_client.pool_manager = aiohttp.ClientSession(
            connector=self._connectors[0], read_bufsize=2**21
        )
        access = Access(configuration=configuration, origin="the scenario")
        async with (
            Client(api, access) as client,
            aiohttp.ClientSession(
                connector=self._connectors[1], cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
        ):
            options = DaemonOptions(
                config=self._config, gpu_budget=self._gpu_budget, leader_elect=False
            )
            self.daemon = Daemon(
                options,
                config=first_config(options),
                client=client,
                clock=Clock(
                    wall=lambda: EPOCH + loop.time() + self.wall_skew_s, monotonic=loop.time
                ),
                session=session,
                rng=self._rng,
                listeners=[self._listener],
                parts=self._parts,
            )
            if self._break_it is not None:
                self._break_it(self.daemon)
            await self.daemon.run(self._stop)

    def sever(self) -> None:
        """SIGKILL: from this instant on nothing of it gets out. `reap` must follow."""
        if self.ended_at is None:
            self.ended_at = asyncio.get_running_loop().time()
            for connector in self._connectors:
                connector.sever()
            if self.task is not None:
                self.task.cancel()

    async def reap(self) -> None:
        """Wait until its tasks are gone."""
        assert self.task is not None
        _, left = await asyncio.wait({self.task}, timeout=UNWINDS_S)
        if left:
            raise StuckError(f"{UNWINDS_S:g} s after it was cancelled the daemon is still there")
        if not self.task.cancelled():
            self.task.exception()  # a process that is killed leaves no traceback

    async def shut_down(self) -> None:
        """SIGTERM."""
        self._stop.set()
        await self.reap()
        self.ended_at = asyncio.get_running_loop().time()


def caches_of(daemon: Daemon) -> Sequence[Any]:
    """Its watch caches."""
    return daemon.cluster._caches.all()
