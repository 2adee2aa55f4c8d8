"""The spot machine that is taken back in the middle, and the one that comes instead."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from simulations.box.demo.exporters import export_gpus, is_exporter
from simulations.box.demo.scenario import MACHINES, Scenario
from simulations.box.local_cluster import LocalCluster, Machine
from simulations.box.local_cluster.objects import condition_is_true


@dataclass(slots=True)
class Reclaim:
    """One interruption, from its notice to the machine's end."""

    cluster: LocalCluster
    scenario: Scenario
    node: str = ""
    """Empty: none was reclaimed (yet)."""
    doomed: frozenset[str] = frozenset()
    """The node, from the notice to its end."""
    drained: int = 0
    """Replicas that were on it at the notice and had left before its end."""
    cut_off: int = 0
    """Replicas that were still on it at its end."""
    _there: set[str] = field(default_factory=set)

    async def run(self, tell: Callable[[str], None]) -> None:
        """Wait for the moment, take the spot machine with the most replicas, send another one."""
        await asyncio.sleep(self.scenario.reclaim_at_s)
        await self.cluster.until(lambda: bool(self._crowd()), timeout_s=None)
        self.node = max(self._crowd().items(), key=lambda item: (item[1], item[0]))[0]
        self._there = self._pods_on_it()
        self.doomed = frozenset({self.node})
        lead_s = self.scenario.notice_s
        tell(f"NOTICE: {self.node} with {len(self._there)} replicas will be gone in {lead_s:.0f} s")
        self.cluster.nodes.reclaim(self.node, lead_s=lead_s)
        before_end = self.cluster.store.find("nodes", "", self.node)
        while before_end is not None:
            left_on_it = self._pods_on_it()
            await self.cluster.store.changed(self.cluster.store.version)
            before_end = self.cluster.store.find("nodes", "", self.node)
        self.doomed = frozenset()
        self.cut_off = len(left_on_it)
        self.drained = len(self._there - left_on_it)
        tell(
            f"{self.node} is gone: {self.drained} replicas had left it, {self.cut_off} were cut off"
        )
        await asyncio.sleep(self.scenario.returns_after_s)
        gpus = next(machine.gpus for machine in MACHINES if machine.name == self.node)
        self.cluster.nodes.add(Machine(name=f"{self.node}-again", spot=True, gpus=gpus))
        export_gpus(self.cluster, f"{self.node}-again")
        tell(f"another spot machine has come: {self.node}-again")

    def account(self) -> str:
        """One sentence for the end."""
        if not self.node:
            return "no spot machine was reclaimed: there was no replica on one"
        return (
            f"{self.node} was reclaimed with a notice of {self.scenario.notice_s:.0f} s: "
            f"{self.drained} replicas drained before its end, {self.cut_off} were cut off"
        )

    def _crowd(self) -> Counter[str]:
        """Ready replicas by spot machine."""
        spot = {machine.name for machine in MACHINES if machine.spot}
        return Counter(
            pod["spec"]["nodeName"]
            for pod in self.cluster.store.all("pods")
            if pod["spec"].get("nodeName") in spot
            and not is_exporter(pod)
            and condition_is_true(pod, "Ready")
            and "deletionTimestamp" not in pod["metadata"]
        )

    def _pods_on_it(self) -> set[str]:
        return {
            pod["metadata"]["name"]
            for pod in self.cluster.store.all("pods")
            if pod["spec"].get("nodeName") == self.node and not is_exporter(pod)
        }
