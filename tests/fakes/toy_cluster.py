"""A cluster small enough to be read: it performs the engine's commands and shows what came of them.

Deployments keep their number of pods, a scheduler binds them to nodes of their pool's capacity type
that have room, a pod is ready one cold start after it was bound, an evicted one drains for its grace
period, and a node can be doomed, cordoned, lost or brought back. Time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from autoscaler.core.contract.commands import (
    Annotate,
    Command,
    CordonNode,
    DeletePod,
    EvictPod,
    MarkNodeDrained,
    SetDeletionCost,
    SetReplicas,
    UncordonNode,
)
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.promise_text import from_text
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import CapacityType, Interruption, Promise
from tests.builders import MIXED, UNKNOWN, NodeRow, PoolNow, Row, observed, seen

DEFAULT_TARGET = 32.0
"""Requests in flight that are one replica's worth of demand."""


@dataclass
class ToyNode:
    name: str
    kind: CapacityType
    room: int = 8
    exists: bool = True
    ready: bool = True
    unschedulable: bool = False
    cordoned_by_us: bool = False
    marked_drained: bool = False


@dataclass
class ToyPod:
    name: str
    pool: str
    created_at: float
    node: str | None = None
    scheduled_at: float = math.nan
    unschedulable_since: float = math.nan
    ready_at: float = math.nan
    gone_at: float = math.nan
    """Set while it is being deleted: when its grace period ends."""
    cost: int = 0
    cost_ours: bool = False
    in_flight: float | None = None
    """None: its share of the demand."""

    @property
    def deleting(self) -> bool:
        return not math.isnan(self.gone_at)

    @property
    def ready(self) -> bool:
        return not math.isnan(self.ready_at)


@dataclass
class ToyCluster:
    """One model's cluster."""

    spec: ModelSpec
    nodes: list[ToyNode]
    replicas: dict[str, int]
    demand: float
    """In replicas; spread over those that serve."""
    cold_start_s: float = 60.0
    grace_s: float = 30.0
    at: float = 0.0
    pods: list[ToyPod] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    """The fallback annotation by Deployment."""
    interruptions: list[Interruption] = field(default_factory=list)
    refuse_evictions: bool = False
    refuse_costs: bool = False
    performed: list[Command] = field(default_factory=list)
    _made: int = 0

    def settle(self) -> None:
        """Begin with every pod ready for a long time."""
        self._reconcile()
        for pod in self.pods:
            if pod.node is not None:
                pod.created_at = pod.scheduled_at = -5_000.0
                pod.ready_at = -4_900.0

    def advance(self, at: float) -> None:
        """Let time pass."""
        self.at = at
        for pod in [pod for pod in self.pods if pod.deleting and pod.gone_at <= at]:
            self.pods.remove(pod)
        self._reconcile()
        for pod in self.pods:
            bound = pod.node is not None and not pod.deleting and self._node(pod.node).ready
            if bound and not pod.ready and pod.scheduled_at + self.cold_start_s <= at:
                pod.ready_at = pod.scheduled_at + self.cold_start_s

    def perform(self, command: Command) -> str:
        """Do what a command says; its reason, `Accepted` if it went well."""
        match command:
            case SetReplicas():
                self.replicas[command.scale_target.name] = command.replicas
            case Annotate():
                if command.value is None:
                    self.annotations.pop(command.scale_target.name, None)
                else:
                    self.annotations[command.scale_target.name] = command.value
            case CordonNode():
                node = self._node(command.node)
                node.unschedulable = node.cordoned_by_us = True
            case MarkNodeDrained():
                node = self._node(command.node)
                assert node.cordoned_by_us, "only what we cordoned is marked"
                assert not self.on(node.name), "whoever reads the mark lets the machine go"
                node.marked_drained = True
            case UncordonNode():
                node = self._node(command.node)
                node.unschedulable = node.cordoned_by_us = node.marked_drained = False
            case EvictPod() if self.refuse_evictions:
                return "DisruptionBudget"
            case EvictPod() | DeletePod():
                pod = next((pod for pod in self.pods if pod.name == command.pod), None)
                if pod is None:
                    return "NotFound"
                if not pod.deleting:
                    pod.gone_at = self.at + command.grace_s
            case SetDeletionCost() if self.refuse_costs:
                return "Forbidden"
            case SetDeletionCost():
                pod = next((pod for pod in self.pods if pod.name == command.pod), None)
                if pod is None:
                    return "NotFound"
                assert pod.cost == 0 or pod.cost_ours, "a cost of somebody else is left alone"
                pod.cost, pod.cost_ours = command.cost or 0, command.cost is not None
        self.performed.append(command)
        self._reconcile()
        return "Accepted"

    def doom(self, interruption: Interruption) -> None:
        """Mark a node."""
        self.interruptions.append(interruption)

    def withdraw(self, node: str) -> None:
        """Take the mark away."""
        self.interruptions = [each for each in self.interruptions if each.node != node]

    def remove(self, node: str) -> list[str]:
        """Take the machine, its Node object and its pods away; the pods that still served."""
        self.withdraw(node)
        self.nodes.remove(self._node(node))
        lost = [pod for pod in self.pods if pod.node == node]
        self.pods = [pod for pod in self.pods if pod.node != node]
        self._reconcile()
        return [pod.name for pod in lost if pod.ready]

    def observe(self, *, id: int) -> Observed:  # noqa: A002  the event's own word
        """What the watch cache and the scrapes hold."""
        serving = [pod for pod in self.pods if pod.ready and not pod.deleting]
        each = self.demand * DEFAULT_TARGET / len(serving) if serving else 0.0
        rows = [self._row(pod, in_flight=each) for pod in self.pods]
        return observed(
            seen(
                self.spec,
                rows,
                current=dict(self.replicas),
                pools={name: PoolNow(promises=self.promises(name)) for name in self.replicas},
            ),
            at=self.at,
            id=id,
            nodes=[
                NodeRow(
                    name=node.name,
                    kind=node.kind,
                    exists=node.exists,
                    ready=node.ready,
                    unschedulable=node.unschedulable,
                    cordoned_by_us=node.cordoned_by_us,
                    marked_drained=node.marked_drained,
                )
                for node in self.nodes
            ],
            interruptions=self.interruptions,
        )

    def promises(self, pool: str) -> tuple[Promise, ...]:
        """What stands on a Deployment."""
        promises = from_text(self.annotations.get(pool))
        assert promises is not None
        return promises

    @property
    def promised(self) -> int:
        """Replicas promised, over all Deployments."""
        return sum(promise.replicas for name in self.replicas for promise in self.promises(name))

    @property
    def serving(self) -> int:
        """Replicas that take requests: ready, not deleting, on a node that is there."""
        return sum(
            pod.ready and not pod.deleting and pod.node is not None and self._node(pod.node).ready
            for pod in self.pods
        )

    def on(self, node: str) -> list[ToyPod]:
        """Pods on a node."""
        return [pod for pod in self.pods if pod.node == node]

    def _row(self, pod: ToyPod, *, in_flight: float) -> Row:
        serves = pod.ready and not pod.deleting
        return Row(
            name=pod.name,
            pool=pod.pool,
            node=pod.node,
            age_s=self.at - pod.created_at,
            scheduled_age_s=self.at - pod.scheduled_at,
            unschedulable_age_s=self.at - pod.unschedulable_since,
            ready_age_s=self.at - pod.ready_at,
            deleting=pod.deleting,
            grace_s=self.grace_s,
            sample_age_s=1.0 if pod.ready else UNKNOWN,
            deletion_cost=pod.cost,
            deletion_cost_ours=pod.cost_ours,
            running=(in_flight if pod.in_flight is None else pod.in_flight) if serves else 0.0,
            waiting=0.0,
        )

    def _node(self, name: str) -> ToyNode:
        return next(node for node in self.nodes if node.name == name)

    def _reconcile(self) -> None:
        """What controllers and the scheduler do."""
        for pool in self.replicas:
            there = [pod for pod in self.pods if pod.pool == pool and not pod.deleting]
            for _ in range(self.replicas[pool] - len(there)):
                self._made += 1
                self.pods.append(
                    ToyPod(name=f"{pool}-{self._made:03d}", pool=pool, created_at=self.at)
                )
            surplus = len(there) - self.replicas[pool]
            for pod in sorted(there, key=_victim_order)[: max(0, surplus)]:
                pod.gone_at = self.at + (self.grace_s if pod.ready else 0.0)
        self.pods = [pod for pod in self.pods if not (pod.deleting and pod.gone_at <= self.at)]
        for pod in self.pods:
            if pod.node is None and not pod.deleting:
                self._bind(pod)

    def _bind(self, pod: ToyPod) -> None:
        kind = next(each.capacity_type for each in self.spec.pools if each.name == pod.pool)
        for node in self.nodes:
            fits = kind is MIXED or node.kind is kind
            free = node.room > len(self.on(node.name))
            if fits and free and node.exists and node.ready and not node.unschedulable:
                pod.node, pod.scheduled_at = node.name, self.at
                pod.unschedulable_since = math.nan
                return
        if math.isnan(pod.unschedulable_since):
            pod.unschedulable_since = self.at


def _victim_order(pod: ToyPod) -> tuple[bool, bool, int, float]:
    """The ReplicaSet's: unbound, not ready, of a lower cost, younger first."""
    return (pod.node is not None, pod.ready, pod.cost, -pod.created_at)


def names(pods: Sequence[ToyPod]) -> list[str]:
    return [pod.name for pod in pods]
