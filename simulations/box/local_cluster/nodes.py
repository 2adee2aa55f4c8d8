"""Machines: how they come, are marked, lose their power and go.

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

from simulations.box.local_cluster import pods as pod_api
from simulations.box.local_cluster.objects import Object, set_condition
from simulations.box.local_cluster.store import Store

CAPACITY_TYPE_LABEL = "karpenter.sh/capacity-type"


class Dialect(StrEnum):
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
class Delays:
    """How long things take that nobody does; the defaults are Kubernetes' own."""

    not_ready_after_s: float = 50.0
    """From a machine's silence to its Node being NotReady."""
    unreachable_evicted_after_s: float = 300.0
    """From NotReady to the deletion of its pods (their toleration of the taint)."""
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
        delays: Delays,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        kill: Callable[[str], None],
    ) -> None:
        self.powered: set[str] = set()
        """Names of the machines that run."""
        self._store = store
        self._delays = delays
        self._spawn = spawn
        self._kill = kill
        self._reclaims: dict[str, asyncio.Task[None]] = {}

    def add(self, machine: Machine) -> Object:
        """A machine joins, ready."""
        node = self._store.create("nodes", machine.node(self._store.clock()))
        self.powered.add(machine.name)
        self._store.wake()
        return node

    def power_off(self, name: str) -> None:
        """Everything on it stops at once; its Node is NotReady, and its pods go, later."""
        if name in self.powered:
            self.powered.discard(name)
            self._kill(name)
            self._spawn(self._fall_silent(name))

    def remove(self, name: str) -> None:
        """The machine is gone and so is its Node; the pods' objects follow later."""
        self.powered.discard(name)
        self._kill(name)
        if self._store.find("nodes", "", name) is not None:
            self._store.remove("nodes", "", name)
        self._spawn(self._forget_orphans(name))

    def reclaim(self, name: str, *, lead_s: float, dialect: Dialect = Dialect.REHEARSAL) -> float:
        """The provider takes a spot machine back; returns the deadline, seconds since the epoch."""
        deadline_at = self._store.clock() + lead_s
        self._store.modify("nodes", "", name, lambda node: mark(node, dialect, deadline_at))
        self._reclaims[name] = self._spawn(self._take_away(name, lead_s))
        return deadline_at

    def withdraw(self, name: str) -> None:
        """The provider leaves it after all: the marks go."""
        reclaim = self._reclaims.pop(name, None)
        if reclaim is not None:
            reclaim.cancel()
        self._store.modify("nodes", "", name, unmark)

    async def _take_away(self, name: str, lead_s: float) -> None:
        await asyncio.sleep(lead_s)
        self._reclaims.pop(name, None)
        self.remove(name)

    async def _fall_silent(self, name: str) -> None:
        await asyncio.sleep(self._delays.not_ready_after_s)
        if name in self.powered:
            return

        def unknown(node: Object) -> None:
            set_condition(
                node,
                "Ready",
                status="Unknown",
                at=self._store.clock(),
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
            )
            for effect in ("NoSchedule", "NoExecute"):
                _taint(node, "node.kubernetes.io/unreachable", effect=effect)

        if self._store.modify("nodes", "", name, unknown) is None:
            return
        for pod in self._pods_on(name):
            self._pod_not_ready(pod)
        await asyncio.sleep(self._delays.unreachable_evicted_after_s)
        for pod in self._pods_on(name) if name not in self.powered else ():
            pod_api.delete(self._store, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _pod_not_ready(self, pod: Object) -> None:
        def not_ready(obj: Object) -> None:
            set_condition(obj, "Ready", status="False", at=self._store.clock())

        self._store.modify("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], not_ready)

    async def _forget_orphans(self, name: str) -> None:
        await asyncio.sleep(self._delays.orphans_gone_after_s)
        for pod in self._pods_on(name):
            self._store.remove("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _pods_on(self, name: str) -> list[Object]:
        return [pod for pod in self._store.all("pods") if pod["spec"].get("nodeName") == name]


def mark(node: Object, dialect: Dialect, deadline_at: float) -> None:
    """Write what this dialect writes about a node that will be gone at `deadline_at`."""
    moment = datetime.fromtimestamp(math.ceil(deadline_at), UTC)
    match dialect:
        case Dialect.REHEARSAL:
            annotations = node["metadata"].setdefault("annotations", {})
            annotations["inference-autoscaler.dev/interruption"] = moment.isoformat()
        case Dialect.AWS:
            key = "aws-node-termination-handler/spot-itn"
            _taint(node, key, value="spot-itn-0123456789abcdef", effect="NoSchedule")
        case Dialect.GKE:
            _taint(node, "cloud.google.com/impending-node-termination", effect="NoSchedule")
        case Dialect.AKS:
            set_condition(
                node,
                "PreemptionScheduled",
                status="True",
                at=deadline_at,
                reason="SpotEvictionIncoming",
                message=f"Preempt Scheduled: {format_datetime(moment, usegmt=True)}. "
                "DurationInSeconds: -1. EventId: 602d9444-d2cd-49c7-8624-8643e7171297",
            )
        case Dialect.KUBELET:
            set_condition(
                node,
                "Ready",
                status="False",
                at=deadline_at,
                reason="KubeletNotReady",
                message="node is shutting down",
            )


def unmark(node: Object) -> None:
    """Take every dialect's marks away."""
    node["metadata"].get("annotations", {}).pop("inference-autoscaler.dev/interruption", None)
    marks = {
        "aws-node-termination-handler/spot-itn",
        "cloud.google.com/impending-node-termination",
    }
    taints = [taint for taint in node["spec"].get("taints", ()) if taint["key"] not in marks]
    if "taints" in node["spec"]:
        node["spec"]["taints"] = taints
    conditions = node["status"]["conditions"]
    node["status"]["conditions"] = [c for c in conditions if c["type"] != "PreemptionScheduled"]


def _taint(node: Object, key: str, *, effect: str, value: str = "") -> None:
    taints = node["spec"].setdefault("taints", [])
    if not any(taint["key"] == key and taint["effect"] == effect for taint in taints):
        taints.append({"key": key, "effect": effect, **({"value": value} if value else {})})
