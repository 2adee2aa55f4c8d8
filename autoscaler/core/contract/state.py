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

from autoscaler.core.contract.reasons import FindingReason, Reason

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
    DISRUPTION = "Disruption"
    """Somebody moves its pods at their own pace (consolidation, drift, expiry, an upgrade): make
    before break, and the drain is theirs. No machine ends before it is empty."""
    RISK = "Risk"
    """It may be taken away (the cloud foresees it): warm up elsewhere, drain nothing."""


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
    edge, so None is left for LOST, DISRUPTION and RISK."""
    drained_elsewhere: bool = False
    """Somebody else empties the node (Karpenter, a node termination handler, cluster-autoscaler): we
    raise, and leave cordon and evictions to them as long as they do them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeColumns:
    """Nodes that carry (or carried) replicas or marks, or whose GPUs were read.

    One row a node, in order of name.
    """

    name: tuple[str, ...]
    capacity_type: tuple[CapacityType | None, ...]
    """OnDemand or Spot; None: no label that we know."""
    zone: tuple[str, ...]
    """`topology.kubernetes.io/zone`; empty: not said."""
    instance_type: tuple[str, ...]
    """`node.kubernetes.io/instance-type`; empty: not said."""
    exists: BoolArray
    """False: pods are bound to it but its Node object is gone."""
    ready: BoolArray
    """False: its Ready condition is False or Unknown. A node that has not said yet counts as ready."""
    unheard: BoolArray
    """Its Ready condition is Unknown: the node controller has waited for its kubelet in vain (40 to 50 s).
    One that is not ready and not unheard says so itself."""
    unschedulable: BoolArray
    """spec.unschedulable, whoever set it."""
    cordoned_by_us: BoolArray
    """Carries our cordon annotation; only such a node is uncordoned by us."""
    marked_drained: BoolArray
    """Carries the annotation that we emptied it."""
    gpus_free: FloatArray
    """GPUs that no pod holds, from DCGM; NaN: unknown (no exporter, or its page is stale)."""
    gpus_unhealthy: FloatArray
    """GPUs that can carry no replica, from DCGM; NaN: unknown. None of them is among `gpus_free`."""

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramColumns:
    """One histogram of those replicas whose buckets have the same bounds."""

    bounds: tuple[float, ...]
    """Finite upper bounds, ascending; never empty."""
    rows: IntArray
    """Which replicas, ascending."""
    counts: FloatArray
    """[bound, replica of `rows`]: observations so far up to each bound, and in one more row all. They
    restart at 0 with the process."""


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
    not_ready_since: FloatArray
    """Last transition of Ready from True; NaN: it is ready, or never was."""
    deleting: BoolArray
    """Has a deletionTimestamp. Never supply; its requests in flight still are demand."""
    deleting_since: FloatArray
    """When its deletion began (deletionTimestamp less the grace it was given); NaN: it has not."""
    deletion_cost: IntArray
    """Its `controller.kubernetes.io/pod-deletion-cost`; 0 where it has none."""
    deletion_cost_ours: BoolArray
    """We set that cost; any other is somebody else's and is left alone."""
    grace_s: FloatArray
    """spec.terminationGracePeriodSeconds."""
    sampled_at: FloatArray
    """When the engine's signals below were read; NaN: never."""
    sample_interval_s: FloatArray
    """Between the samples of whoever reads it for us (Prometheus); NaN: we do, or it is not known."""
    waiting_requests: FloatArray
    running_requests: FloatArray
    kv_usage_ratio: FloatArray
    finished_requests_total: FloatArray
    """Counter of finished requests, all reasons; restarts at 0 with the process."""
    aborted_requests_total: FloatArray
    """Of these, those that their client gave up, or that the engine cut; NaN: it does not say."""
    prompt_tokens_total: FloatArray
    generation_tokens_total: FloatArray
    preemptions_total: FloatArray
    queue_time_s_total: FloatArray
    """Seconds that requests waited in the engine until they ran, of those that have ended."""
    queued_requests_total: FloatArray
    """How many requests these are."""
    steps_total: FloatArray
    """Engine steps."""
    step_tokens_total: FloatArray
    """Tokens prefilled and generated in them."""
    framebuffer_used_bytes: FloatArray
    """GPU memory in use by this pod, summed over its GPUs, from DCGM; NaN: unknown."""
    framebuffer_at: FloatArray
    """When that was read; NaN: never."""
    gpus_unhealthy: FloatArray
    """Of this pod's GPUs, those that can carry no replica, from DCGM; NaN: unknown."""
    ttft: tuple[HistogramColumns, ...] = ()
    """Time to first token of each request that had one, seconds. A replica is in one of these at most;
    one that is in none does not say it."""
    tpot: tuple[HistogramColumns, ...] = ()
    """Time per further token of each request that ended whole, its mean, seconds."""
    token_gaps: tuple[HistogramColumns, ...] = ()
    """Time between two tokens of a request, seconds, one for each gap: of replicas that are not in `tpot`."""

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """On-demand replicas owed for one node that was doomed: an annotation on the scale target."""

    node: str
    replicas: int
    since: float
    """When it was promised, seconds."""


class RivalKind(StrEnum):
    """What else scales a target by itself, as long as it is there."""

    HPA = Reason.HPA_ON_TARGET.value  # as it is told of a conflict with one
    SCALED_OBJECT = Reason.SCALED_OBJECT_ON_TARGET.value
    """KEDA's: the HPA that it keeps on the target, or the object of which that HPA says it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another autoscaler on a scale target of ours: it writes again whatever we write."""

    kind: RivalKind
    name: str
    """In the namespace of the target."""
    since: FloatOrNaN
    """When it was created, seconds; NaN: it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicasWriter:
    """Who last set `spec.replicas` of a scale target, as its managedFields have it."""

    manager: str
    """Field manager: `kubectl`, `argocd-controller`, ...; the first word of a client's name."""
    ours: bool
    at: FloatOrNaN
    """At the latest, seconds. Of a write of the `scale` subresource the API server notes no time: then it is when
    the target's status last followed its specification. NaN: not said."""
    scaled: bool
    """It set the replicas and not the pod template: by `scale`, or an edit of that one field. Whoever made the
    object, or applies all of it, has both."""
    declares: bool
    """It applies what it has written down (server-side apply), and will again."""
    generation: int
    """Of the target's specification: one more with every change of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolObservation:
    """One scale target as the API server has it."""

    name: str
    current_replicas: int | None
    """spec.replicas of its `scale`; None: the target is not there or cannot be read."""
    rolling_out: bool
    """Its pod template changed and not all replicas are of the new one yet."""
    rollout_stuck: bool = False
    """Its controller has given the roll-out up for now (`ProgressDeadlineExceeded`)."""
    gpus_per_replica: int
    """Requested by the pod template; 0 where it asks for none."""
    promises: tuple[Promise, ...]
    """From the fallback annotation, ordered by node."""
    promises_readable: bool = True
    """False: the annotation does not parse; then it is left alone and a condition says so."""
    unsound: tuple[FindingReason, ...] = ()
    """What in its pod template loses requests when replicas start or end; `autoscaler check` says where."""
    start_s_max: float | None = None
    """What its probes allow a start to take, from the container's start; None: any time."""
    rivals: tuple[Rival, ...] | None = ()
    """Other autoscalers on it, ordered by kind and name; None: it is unknown, for they cannot be read."""
    writer: ReplicasWriter | None = None
    """None: it is not said who set its replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why what is seen of one model cannot be true as a whole: it is in no observation until it can."""

    model: str
    """`ModelSpec.key`."""
    message: str
    """For people: which sources contradict each other, or what of it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelObservation:
    """One model at one moment."""

    model: str
    """`namespace/name` of its resource: `ModelSpec.key`."""
    pools: tuple[PoolObservation, ...]
    """In the order of `ModelSpec.pools`."""
    replicas: ReplicaColumns
