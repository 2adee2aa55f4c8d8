"""Readings by pod, as sources deliver them and an observation takes them in.

They live here because `kube` (which builds the columns) and `sources` (which
read the values) never import each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

PodKey: TypeAlias = tuple[str, str]
"""(namespace, pod name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """One successful read of a pod's engine. None is unknown (the page had no such series)."""

    sampled_at: float
    """The time of the reading: of the scrape, or of the sample where Prometheus says so."""
    waiting_requests: float | None = None
    running_requests: float | None = None
    kv_usage_ratio: float | None = None
    finished_requests_total: float | None = None
    prompt_tokens_total: float | None = None
    generation_tokens_total: float | None = None
    preemptions_total: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FramebufferSample:
    """GPU memory held by one pod, over its GPUs."""

    sampled_at: float
    used_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGpuSample:
    """GPUs of one node that no pod holds."""

    sampled_at: float
    free: int
