"""What is true: one observation of a fleet, in columns.

An observation is complete (never a delta) and cut once a tick. Replicas and
nodes are columns, not objects: a tick over thousands of replicas must not stall the event loop.
Unknown is NaN in a float column and None in a field; it is never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
FloatOrNaN: TypeAlias = Annotated[float, "NaN"]
"""One number that may be unknown, as in a float column; it is written as one is."""

NO_NODE = -1
"""In `ReplicaColumns.node`: bound to no node (yet)."""
CREATION_RESOLUTION_S = 1.0
"""Of `ReplicaColumns.created_at`: Kubernetes cuts times to whole seconds, so a pod may seem created
before it was."""


class CapacityType(StrEnum):
    """How the provider sells a node; cloud labels are mapped to it at the edge."""

    ON_DEMAND = "OnDemand"
    SPOT = "Spot"
    MIXED = "Mixed"
    """Of a pool only: one Deployment that may land on either; then each replica's node tells."""


class InterruptionKind(StrEnum):
    """What the provider is doing to a node, by what it obliges us to."""

    TERMINATION = "Termination"
    """It will be taken away: raise the shortfall, cordon, evict before the deadline."""
    LOST = "Lost"
    """Its Node object is gone, or NotReady: its replicas do not count, the shortfall is raised,
    but it is never cordoned or evicted by us: a blip of the API server must not drain a fleet."""


NODE_STATUS = "node-status"
"""`Interruption.source` of a node that is gone or NotReady, with no notice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """One node that is being, or has been, taken away. Present as long as it holds."""

    node: str
    kind: InterruptionKind
    source: str
    """The dialect that said so, e.g. `aws-node-termination-handler` (a metric label)."""
    noticed_at: float
    """When the mark was first seen by us, or its own time stamp where it has one. Seconds."""
    deadline_at: float | None
    """When the machine is gone. None: not said; `source` has a customary lead, applied at the
    edge, so None is left for LOST only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeColumns:
    """Nodes that carry (or carried) replicas or marks, or whose GPUs were read.

    One row a node, in order of name.
    """

    name: tuple[str, ...]
    capacity_type: tuple[CapacityType | None, ...]
    """OnDemand or Spot; None: no label that we know."""
    exists: BoolArray
    """False: pods are bound to it but its Node object is gone."""
    ready: BoolArray
    """False: its Ready condition is False or Unknown. A node that has not said yet counts as ready."""
    unschedulable: BoolArray
    """spec.unschedulable, whoever set it."""
    cordoned_by_us: BoolArray
    """Carries our cordon annotation; only such a node is uncordoned by us."""
    gpus_free: FloatArray
    """GPUs that no pod holds, from DCGM; NaN: unknown (no exporter, or its page is stale)."""

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaColumns:
    """The replicas (pods) of one model, over all its pools.

    One row a replica, ordered by (pool, name). Failed and Succeeded pods are left out at the edge:
    their ReplicaSet replaces them.
    """

    name: tuple[str, ...]
    """Pod names."""
    pool: IntArray
    """Index into `ModelObservation.pools`."""
    node: IntArray
    """Index into `Observed.nodes`, or NO_NODE."""
    created_at: FloatArray
    """metadata.creationTimestamp, seconds."""
    scheduled_at: FloatArray
    """Last transition of PodScheduled to True; NaN: not bound."""
    unschedulable_since: FloatArray
    """Last transition of PodScheduled to False for want of a node; NaN: not unschedulable."""
    ready: BoolArray
    ready_at: FloatArray
    """Last transition of Ready to True; NaN: not ready now."""
    deleting: BoolArray
    """Has a deletionTimestamp. Never supply; its requests in flight still are demand."""
    grace_s: FloatArray
    """spec.terminationGracePeriodSeconds."""
    sampled_at: FloatArray
    """When the engine's signals below were read; NaN: never."""
    waiting_requests: FloatArray
    running_requests: FloatArray
    kv_usage_ratio: FloatArray
    finished_requests_total: FloatArray
    """Counter of finished requests, all reasons; restarts at 0 with the process."""
    prompt_tokens_total: FloatArray
    generation_tokens_total: FloatArray
    preemptions_total: FloatArray
    framebuffer_used_bytes: FloatArray
    """GPU memory in use by this pod, summed over its GPUs, from DCGM; NaN: unknown."""
    framebuffer_at: FloatArray
    """When that was read; NaN: never."""

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """On-demand replicas owed for one node that was doomed: an annotation on the scale target."""

    node: str
    replicas: int
    since: float
    """When it was promised, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolObservation:
    """One scale target as the API server has it."""

    name: str
    current_replicas: int | None
    """spec.replicas of its `scale`; None: the target is not there or cannot be read."""
    rolling_out: bool
    """Its pod template changed and not all replicas are of the new one yet."""
    gpus_per_replica: int
    """Requested by the pod template; 0 where it asks for none."""
    promises: tuple[Promise, ...]
    """From the fallback annotation, ordered by node."""
    promises_readable: bool = True
    """False: the annotation does not parse; then it is left alone and a condition says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelObservation:
    """One model at one moment."""

    model: str
    """`namespace/name` of its resource: `ModelSpec.key`."""
    pools: tuple[PoolObservation, ...]
    """In the order of `ModelSpec.pools`."""
    replicas: ReplicaColumns
