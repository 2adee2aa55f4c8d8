"""What leaves: commands, each one API write of at most ten seconds.

A command's `id` is `<event>.<n>`. One worker per `target`; a newer SetReplicas replaces a queued
one. A command that names another in `after` is performed once that one was accepted, and dropped
(`Skipped`) when it was not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from autoscaler.core.contract.spec import ScaleTarget

FALLBACK_ANNOTATION = "inference-autoscaler.dev/fallback"
"""On the on-demand scale target: `[{"node", "replicas", "since"}]`, our promises."""
CORDON_ANNOTATION = "inference-autoscaler.dev/cordoned"
"""On a Node that we cordoned: the moment, RFC 3339; uncordoning takes it away."""
INTERRUPTION_ANNOTATION = "inference-autoscaler.dev/interruption"
"""On a Node, set by `autoscaler rehearse`: the deadline, RFC 3339."""
PAUSED_ANNOTATION = "inference-autoscaler.dev/paused"
"""On the resource: `"true"` or `"scale-down"`."""
COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """What all have."""

    id: str
    model: str
    expires_at: float
    after: str | None = None


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
    grace_s: int
    """Seconds >= 1: the smaller of the pod's own grace and what is left before the deadline."""

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return f"Pod/{self.namespace}/{self.pod}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas(_ScaleTargetWrite):
    """Set `spec.replicas` through the `scale` subresource, guarded by the resourceVersion read."""

    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotate(_ScaleTargetWrite):
    """Set or remove one annotation of a scale target."""

    key: str
    value: str | None
    """None removes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CordonNode(_NodeWrite):
    """Set spec.unschedulable and our cordon annotation, if nobody has cordoned it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UncordonNode(_NodeWrite):
    """Undo our own cordon: the notice was withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictPod(_PodWrite):
    """Evict through the eviction subresource, so that preStop runs and budgets are asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePod(_PodWrite):
    """Delete with a grace period: the deadline beats a disruption budget that refuses."""


Command: TypeAlias = SetReplicas | Annotate | CordonNode | UncordonNode | EvictPod | DeletePod
