"""What leaves: commands, each one API write of at most ten seconds.

A command's `id` is `<event>.<n>`. One worker per `target`; a newer SetReplicas replaces a queued
one. A command that names another in `after` is performed once that one was accepted, and dropped
(`Skipped`) when it was not. One that names others in `once_ended` is performed when these have ended,
however that was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from autoscaler.core.contract.spec import ScaleTarget

FALLBACK_ANNOTATION = "inference-autoscaler.dev/fallback"
"""On the on-demand scale target: `[{"node", "replicas", "since"}]`, our promises."""
CORDON_ANNOTATION = "inference-autoscaler.dev/cordoned"
"""On a Node that we cordoned: the moment, RFC 3339; uncordoning takes it away."""
DRAINED_ANNOTATION = "inference-autoscaler.dev/drained"
"""On a Node that we emptied: the moment, RFC 3339. The node agent reads it: the machine may go early."""
INTERRUPTION_ANNOTATION = "inference-autoscaler.dev/interruption"
"""On a Node, set by `autoscaler rehearse`: the deadline, RFC 3339."""
PAUSED_ANNOTATION = "inference-autoscaler.dev/paused"
"""On the resource: `"true"`, `"scale-down"` or `"scale-up"`."""
PAUSED_REPLICAS_ANNOTATION = "inference-autoscaler.dev/paused-replicas"
"""On the resource, beside a pause of both: the replicas that its model is held at."""
COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """What all have."""

    id: str
    model: str
    expires_at: float
    after: str | None = None
    """Performed once this one was accepted, and dropped when it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScaleTargetWrite(_Write):
    scale_target: ScaleTarget

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return str(self.scale_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NodeWrite(_Write):
    node: str

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return f"Node/{self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _PodWrite(_Write):
    namespace: str
    pod: str

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return f"Pod/{self.namespace}/{self.pod}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _PodRemoval(_PodWrite):
    grace_s: int
    """Seconds >= 1: the smaller of the pod's own grace and what is left before the deadline."""
    ends_at: float | None = None
    """When its drain must be over, seconds: a removal that has to wait for others gives no more grace than
    is left then. None: no deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas(_ScaleTargetWrite):
    """Set `spec.replicas` through the `scale` subresource, guarded by the resourceVersion read."""

    replicas: int
    once_ended: tuple[str, ...] = ()
    """Ids of the deletion costs that tell its ReplicaSet whom to delete: it waits until each of them has
    ended, and is performed whether they were accepted or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotate(_ScaleTargetWrite):
    """Set or remove one annotation of a scale target."""

    key: str
    value: str | None
    """None removes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CordonNode(_NodeWrite):
    """Set spec.unschedulable and our cordon annotation, if nobody has cordoned it.

    What an earlier notice left there as drained is taken away: now it is not.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkNodeDrained(_NodeWrite):
    """Note on a Node that we emptied it, while our cordon is on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UncordonNode(_NodeWrite):
    """Undo our own cordon, and the mark that we emptied it: the notice was withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictPod(_PodRemoval):
    """Evict through the eviction subresource, so that preStop runs and budgets are asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePod(_PodRemoval):
    """Delete with a grace period: the deadline beats a disruption budget that refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDeletionCost(_PodWrite):
    """Set a pod's deletion cost, or take ours away; one that somebody else set is left alone."""

    cost: int | None
    """None takes ours away."""


Command: TypeAlias = (
    SetReplicas
    | Annotate
    | CordonNode
    | MarkNodeDrained
    | UncordonNode
    | EvictPod
    | DeletePod
    | SetDeletionCost
)
