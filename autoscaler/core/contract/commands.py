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
class SetReplicas:
    """Set `spec.replicas` through the `scale` subresource, guarded by the resourceVersion read."""

    id: str
    model: str
    expires_at: float
    after: str | None = None
    scale_target: ScaleTarget
    replicas: int

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return str(self.scale_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotate:
    """Set or remove one annotation of a scale target."""

    id: str
    model: str
    expires_at: float
    after: str | None = None
    scale_target: ScaleTarget
    key: str
    value: str | None
    """None removes it."""

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return str(self.scale_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class CordonNode:
    """Set spec.unschedulable and our cordon annotation, if nobody has cordoned it."""

    id: str
    model: str
    expires_at: float
    after: str | None = None
    node: str

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return f"Node/{self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UncordonNode:
    """Undo our own cordon: the notice was withdrawn."""

    id: str
    model: str
    expires_at: float
    after: str | None = None
    node: str

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return f"Node/{self.node}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictPod:
    """Evict through the eviction subresource, so that preStop runs and budgets are asked."""

    id: str
    model: str
    expires_at: float
    after: str | None = None
    namespace: str
    pod: str
    grace_s: int
    """Seconds >= 1: the smaller of its own grace and what is left before the deadline."""

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return f"Pod/{self.namespace}/{self.pod}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePod:
    """Delete with a grace period: the deadline beats a disruption budget that refuses."""

    id: str
    model: str
    expires_at: float
    after: str | None = None
    namespace: str
    pod: str
    grace_s: int

    @property
    def target(self) -> str:
        """Whose worker performs it."""
        return f"Pod/{self.namespace}/{self.pod}"


Command: TypeAlias = SetReplicas | Annotate | CordonNode | UncordonNode | EvictPod | DeletePod
