"""Machines: how they come, are taken back and go.

A machine's life is played on the Node object with the delays of a real cluster, which a demo
shortens.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from autoscaler.core.contract.commands import INTERRUPTION_ANNOTATION
from simulations.box.local_cluster.objects import Object, key_of, set_condition
from simulations.box.local_cluster.store import Store

CAPACITY_TYPE_LABEL = "karpenter.sh/capacity-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDelays:
    """How long things take that nobody does; the defaults are Kubernetes' own."""

    orphans_gone_after_s: float = 60.0
    """From a Node's removal to that of the pods that were bound to it."""
    endpoints_after_s: float = 0.5
    """From a change of a pod to its effect on the routes of a Service."""
    restart_after_s: float = 10.0
    """From a container's exit to its restart; doubles each time, up to five minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One node to be had."""

    name: str
    spot: bool = False
    gpus: int = 4
    labels: dict[str, str] = field(default_factory=dict)

    def node(self, at: float) -> Object:
        """Its Node object."""
        node: Object = {
            "metadata": {
                "name": self.name,
                "labels": {
                    "kubernetes.io/hostname": self.name,
                    CAPACITY_TYPE_LABEL: "spot" if self.spot else "on-demand",
                    **self.labels,
                },
                "annotations": {},
            },
            "spec": {},
            "status": {
                "capacity": {"nvidia.com/gpu": str(self.gpus)},
                "allocatable": {"nvidia.com/gpu": str(self.gpus)},
                "addresses": [{"type": "Hostname", "address": self.name}],
            },
        }
        set_condition(node, "Ready", status="True", at=at, reason="KubeletReady")
        return node


class Power(Protocol):
    """What runs the pods, and loses them with their machine: `Kubelets`, or one that simulates them."""

    powered: set[str]
    """Names of the machines that run."""

    def power_off(self, node: str) -> None:
        """The machine lost its power."""


class Nodes:
    """The machines of a cluster."""

    def __init__(
        self,
        store: Store,
        kubelets: Power,
        *,
        orphans_gone_after_s: float,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._store = store
        self._kubelets = kubelets
        self._orphans_gone_after_s = orphans_gone_after_s
        self._spawn = spawn

    def add(self, machine: Machine) -> None:
        """A machine joins, ready."""
        self._kubelets.powered.add(machine.name)
        self._store.create("nodes", machine.node(self._store.clock()))

    def remove(self, name: str) -> None:
        """The machine is gone and so is its Node; the pods' objects follow later."""
        self._kubelets.power_off(name)
        if self._store.find("nodes", "", name) is not None:
            self._store.remove("nodes", "", name)
        self._spawn(self._forget_orphans(name))

    def reclaim(self, name: str, *, lead_s: float) -> None:
        """The provider takes a spot machine back in so many seconds, announced by an annotation."""
        deadline_at = math.ceil(self._store.clock() + lead_s)
        deadline = datetime.fromtimestamp(deadline_at, UTC).isoformat()

        def announce(node: Object) -> None:
            node["metadata"].setdefault("annotations", {})[INTERRUPTION_ANNOTATION] = deadline

        self._store.modify("nodes", "", name, announce)
        self._spawn(self._take_away(name, lead_s))

    async def _take_away(self, name: str, lead_s: float) -> None:
        await asyncio.sleep(lead_s)
        self.remove(name)

    async def _forget_orphans(self, name: str) -> None:
        await asyncio.sleep(self._orphans_gone_after_s)
        orphans = [p for p in self._store.all("pods") if p["spec"].get("nodeName") == name]
        for pod in orphans:
            self._store.remove("pods", *key_of(pod))
