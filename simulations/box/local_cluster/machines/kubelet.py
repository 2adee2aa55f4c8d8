"""Kubelets: every pod that is bound to a running machine is a process, from its start to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from simulations.box.local_cluster.machines.containers import Addresses
from simulations.box.local_cluster.machines.pod_runner import PodEnd, PodRunner
from simulations.box.local_cluster.objects import Object
from simulations.box.local_cluster.store import Store


class Kubelets:
    """The kubelets of all machines."""

    def __init__(self, store: Store, *, folder: Path, restart_after_s: float) -> None:
        self.endings: list[PodEnd] = []
        self.powered: set[str] = set()
        """Names of the machines that run."""
        self._store = store
        self._folder = folder
        self._restart_after_s = restart_after_s
        self._addresses = Addresses()
        self._runners: dict[str, PodRunner] = {}

    async def run(self) -> None:
        """Start what is bound, until cancelled; then nothing is left running."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
            asyncio.TaskGroup() as group,
        ):
            while True:
                version = self._store.version
                pods = self._store.all("pods")
                # a pod whose machine died stays known until its object is gone, or it would start
                # again when a machine of that name comes back
                for uid in self._runners.keys() - {pod["metadata"]["uid"] for pod in pods}:
                    if self._runners[uid].is_over:
                        del self._runners[uid]
                for pod in pods:
                    self._look_after(pod, group, http)
                await self._store.changed(version)

    def power_off(self, node: str) -> None:
        """The machine lost its power: no signal, no grace, no word to the API server."""
        self.powered.discard(node)
        for runner in self._runners.values():
            if runner.node == node:
                runner.kill()

    def _look_after(
        self, pod: Object, group: asyncio.TaskGroup, http: aiohttp.ClientSession
    ) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName", "")
        finished = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if uid in self._runners or finished or node not in self.powered:
            return
        runner = PodRunner(
            self._store,
            pod,
            address=self._addresses.take(_first_port(pod)),
            folder=self._folder,
            http=http,
            restart_after_s=self._restart_after_s,
            ended=self.endings.append,
        )
        self._runners[uid] = runner
        runner.task = group.create_task(runner.run())  # a task that is cancelled ends no group


def _first_port(pod: Object) -> int:
    ports = pod["spec"]["containers"][0].get("ports") or ()
    return int(ports[0]["containerPort"]) if ports else 8000
