"""Machines: how they come, are marked and go.

A machine's life is played on the Node object with the delays of a real cluster, which a demo
shortens. The marks are those that providers and their agents set, as `interruptions` reads them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from typing import Any

from simulations.box.local_cluster.objects import Object, set_condition
from simulations.box.local_cluster.store import Store

CAPACITY_TYPE_LABEL = "karpenter.sh/capacity-type"


class ReclaimDialect(StrEnum):
    """Who says that a node will be taken away."""

    REHEARSAL = "rehearsal"
    """Our own annotation with the deadline."""
    AWS = "aws-node-termination-handler"
    """Its spot-itn taint; the deadline is two minutes after, by custom."""
    GKE = "gke"
    """The taint of an impending termination."""
    AKS = "aks"
    """The PreemptionScheduled condition, with its deadline in the message."""
    KUBELET = "kubelet"
    """The condition of a graceful node shutdown."""


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


class Nodes:
    """The machines of a cluster. `kill` ends every process on one, at once."""

    def __init__(
        self,
        store: Store,
        *,
        delays: ClusterDelays,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        kill: Callable[[str], None],
    ) -> None:
        self.powered: set[str] = set()
        """Names of the machines that run."""
        self._store = store
        self._delays = delays
        self._spawn = spawn
        self._kill = kill

    def add(self, machine: Machine) -> Object:
        """A machine joins, ready."""
        node = self._store.create("nodes", machine.node(self._store.clock()))
        self.powered.add(machine.name)
        self._store.wake()
        return node

    def remove(self, name: str) -> None:
        """The machine is gone and so is its Node; the pods' objects follow later."""
        self.powered.discard(name)
        self._kill(name)
        if self._store.find("nodes", "", name) is not None:
            self._store.remove("nodes", "", name)
        self._spawn(self._forget_orphans(name))

    def reclaim(
        self, name: str, *, lead_s: float, dialect: ReclaimDialect = ReclaimDialect.REHEARSAL
    ) -> float:
        """The provider takes a spot machine back; returns the deadline, seconds since the epoch."""
        deadline_at = self._store.clock() + lead_s
        self._store.modify("nodes", "", name, lambda node: mark(node, dialect, deadline_at))
        self._spawn(self._take_away(name, lead_s))
        return deadline_at

    async def _take_away(self, name: str, lead_s: float) -> None:
        await asyncio.sleep(lead_s)
        self.remove(name)

    async def _forget_orphans(self, name: str) -> None:
        await asyncio.sleep(self._delays.orphans_gone_after_s)
        orphans = [p for p in self._store.all("pods") if p["spec"].get("nodeName") == name]
        for pod in orphans:
            self._store.remove("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])


def mark(node: Object, dialect: ReclaimDialect, deadline_at: float) -> None:
    """Write what this dialect writes about a node that will be gone at `deadline_at`."""
    moment = datetime.fromtimestamp(math.ceil(deadline_at), UTC)
    match dialect:
        case ReclaimDialect.REHEARSAL:
            annotations = node["metadata"].setdefault("annotations", {})
            annotations["inference-autoscaler.dev/interruption"] = moment.isoformat()
        case ReclaimDialect.AWS:
            key = "aws-node-termination-handler/spot-itn"
            _taint(node, key, value="spot-itn-0123456789abcdef", effect="NoSchedule")
        case ReclaimDialect.GKE:
            _taint(node, "cloud.google.com/impending-node-termination", effect="NoSchedule")
        case ReclaimDialect.AKS:
            set_condition(
                node,
                "PreemptionScheduled",
                status="True",
                at=deadline_at,
                reason="SpotEvictionIncoming",
                message=f"Preempt Scheduled: {format_datetime(moment, usegmt=True)}. "
                "DurationInSeconds: -1. EventId: 602d9444-d2cd-49c7-8624-8643e7171297",
            )
        case ReclaimDialect.KUBELET:
            set_condition(
                node,
                "Ready",
                status="False",
                at=deadline_at,
                reason="KubeletNotReady",
                message="node is shutting down",
            )


def _taint(node: Object, key: str, *, effect: str, value: str = "") -> None:
    taints = node["spec"].setdefault("taints", [])
    if not any(taint["key"] == key and taint["effect"] == effect for taint in taints):
        taints.append({"key": key, "effect": effect, **({"value": value} if value else {})})
