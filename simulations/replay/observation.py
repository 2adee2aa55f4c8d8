"""What the daemon would see of the world: the columns of an `Observed`, as its edges build them.

Pods and nodes change seldom, samples every scrape: the columns of the former are kept until the
world's version moves. API times are whole seconds, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.promise_text import from_text
from autoscaler.core.contract.state import (
    NO_NODE,
    FloatArray,
    HistogramColumns,
    IntArray,
    Interruption,
    InterruptionKind,
    ModelObservation,
    NodeColumns,
    PoolObservation,
    ReplicaColumns,
)
from simulations.agenda import EPOCH_S, NS, seconds
from simulations.serving.gauges import NEVER
from simulations.serving.histograms import (
    GAUGES,
    SAMPLED_AT,
    TPOT,
    TPOT_BOUNDS_S,
    TTFT,
    TTFT_BOUNDS_S,
)
from simulations.world.objects import SimulatedNode, SimulatedPod
from simulations.world.world import SimulatedWorld

NOTICE_SOURCE = "replay"
LOST_SOURCE = "node"


class Observer:
    """Makes observations of one model whose pools are the world's Deployments, in their order."""

    def __init__(self, world: SimulatedWorld, *, model: str, gpus_per_replica: int) -> None:
        """`model` is the `namespace/name` of its resource."""
        self._world = world
        self._model = model
        self._gpus = gpus_per_replica
        self._version = -1
        self._told_ns = 0
        self._numbers = np.zeros(0, dtype=np.int64)
        """Of the replicas, in the order of the columns."""
        self._static: dict[str, Any] = {}
        self._nodes = _node_columns(())
        self._interruptions: tuple[Interruption, ...] = ()
        self._pools: tuple[PoolObservation, ...] = ()

    def observation(self, at_ns: int, *, id_: int) -> Observed:
        """What there is now, with each pod's last samples."""
        if not self._world.faults.blind(at_ns) or self._version == -1:
            self._told_ns = at_ns
            if self._version != self._world.version:
                self._refresh()
                self._version = self._world.version
        model = ModelObservation(model=self._model, pools=self._pools, replicas=self._replicas())
        at = seconds(at_ns)
        return Observed(
            id=id_,
            at=at,
            nodes=self._nodes,
            interruptions=self._interruptions,
            models=(model,),
            cluster_at=seconds(self._told_ns),
        )

    def interruption(self, node: SimulatedNode) -> Interruption | None:
        """What the node's marks say; None: nothing."""
        if node.lost_ns != NEVER and not node.ready:
            return Interruption(
                node=node.name,
                kind=InterruptionKind.LOST,
                source=LOST_SOURCE,
                noticed_at=float(EPOCH_S + node.lost_ns // NS),
                deadline_at=None,
            )
        if node.noticed_ns != NEVER:
            return Interruption(
                node=node.name,
                kind=InterruptionKind.TERMINATION,
                source=NOTICE_SOURCE,
                noticed_at=float(EPOCH_S + node.noticed_ns // NS),
                deadline_at=float(EPOCH_S + node.deadline_ns // NS),
            )
        return None

    def _refresh(self) -> None:
        world = self._world
        nodes = [world.nodes[name] for name in sorted(world.nodes)]
        rows = {node.name: row for row, node in enumerate(nodes)}
        self._nodes = _node_columns(nodes)
        marks = (self.interruption(node) for node in nodes)
        self._interruptions = tuple(mark for mark in marks if mark is not None)
        self._pools = tuple(
            PoolObservation(
                name=deployment.name,
                current_replicas=deployment.replicas,
                rolling_out=False,
                gpus_per_replica=self._gpus,
                promises=from_text(deployment.annotations.get(FALLBACK_ANNOTATION)) or (),
            )
            for deployment in world.deployments
        )
        pods = [pod for deployment in world.deployments for pod in deployment.pods]
        self._numbers = np.array([pod.replica_id for pod in pods], dtype=np.int64)
        self._static = self._static_columns(pods, rows)

    def _static_columns(self, pods: Sequence[SimulatedPod], rows: dict[str, int]) -> dict[str, Any]:
        index = {id(d): n for n, d in enumerate(self._world.deployments)}
        count = len(pods)
        return {
            "name": tuple(pod.name for pod in pods),
            "pool": np.array([index[id(pod.deployment)] for pod in pods], dtype=np.int64),
            "node": np.array(
                [
                    rows[pod.node.name]
                    if pod.node is not None and pod.bound_ns != NEVER
                    else NO_NODE
                    for pod in pods
                ],
                dtype=np.int64,
            ),
            "created_at": _api_times([pod.created_ns for pod in pods]),
            "scheduled_at": _api_times([pod.bound_ns for pod in pods]),
            "unschedulable_since": _api_times([pod.unschedulable_ns for pod in pods]),
            "ready": np.array([pod.ready for pod in pods], dtype=np.bool_),
            "ready_at": _api_times([pod.ready_ns if pod.ready else NEVER for pod in pods]),
            "not_ready_since": np.full(count, np.nan),
            "deleting": np.array([pod.deleting for pod in pods], dtype=np.bool_),
            "deleting_since": _api_times([pod.deleting_ns for pod in pods]),
            "grace_s": np.array([pod.deployment.grace_s for pod in pods], dtype=np.float64),
            "framebuffer_used_bytes": np.full(count, np.nan),
            "framebuffer_at": np.full(count, np.nan),
            "gpus_unhealthy": np.full(count, np.nan),
            "deletion_cost": np.array([pod.deletion_cost for pod in pods], dtype=np.int64),
            "deletion_cost_ours": np.array(
                [pod.deletion_cost_ours for pod in pods], dtype=np.bool_
            ),
            "sample_interval_s": np.full(count, np.nan),
        }

    def _replicas(self) -> ReplicaColumns:
        table = self._world.pages.of(self._numbers)
        columns = table[: GAUGES.stop]
        read = np.flatnonzero(~np.isnan(table[SAMPLED_AT]))
        return ReplicaColumns(
            sampled_at=columns[SAMPLED_AT],
            waiting_requests=columns[1],
            running_requests=columns[2],
            kv_usage_ratio=columns[3],
            finished_requests_total=columns[4],
            prompt_tokens_total=columns[5],
            generation_tokens_total=columns[6],
            preemptions_total=columns[7],
            aborted_requests_total=columns[10],
            steps_total=columns[11],
            step_tokens_total=columns[5] + columns[6] - columns[9],
            queue_time_s_total=columns[12] / NS,
            queued_requests_total=columns[13],
            ttft=_histogram(table[TTFT], TTFT_BOUNDS_S, read=read),
            tpot=_histogram(table[TPOT], TPOT_BOUNDS_S, read=read),
            **self._static,
        )


def _histogram(
    counts: FloatArray, bounds: tuple[float, ...], *, read: IntArray
) -> tuple[HistogramColumns, ...]:
    """One histogram of the replicas that were read."""
    if not len(read):
        return ()
    if len(read) < counts.shape[1]:
        counts = counts[:, read]
    return (HistogramColumns(bounds=bounds, rows=read, counts=counts),)


def _api_times(moments: Sequence[int]) -> FloatArray:
    return np.array(
        [float("nan") if ns == NEVER else float(EPOCH_S + ns // NS) for ns in moments],
        dtype=np.float64,
    )


def _node_columns(nodes: Sequence[SimulatedNode]) -> NodeColumns:
    return NodeColumns(
        name=tuple(node.name for node in nodes),
        capacity_type=tuple(node.capacity_type for node in nodes),
        zone=tuple(node.zone for node in nodes),
        instance_type=tuple(node.instance_type for node in nodes),
        exists=np.array([node.exists for node in nodes], dtype=np.bool_),
        ready=np.array([node.ready for node in nodes], dtype=np.bool_),
        unheard=np.array([not node.ready for node in nodes], dtype=np.bool_),
        unschedulable=np.array([node.unschedulable for node in nodes], dtype=np.bool_),
        cordoned_by_us=np.array([node.cordoned_by_us for node in nodes], dtype=np.bool_),
        marked_drained=np.array([node.marked_drained for node in nodes], dtype=np.bool_),
        gpus_free=np.full(len(nodes), np.nan),
        gpus_unhealthy=np.full(len(nodes), np.nan),
    )
