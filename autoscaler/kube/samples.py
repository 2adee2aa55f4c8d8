"""What is read of pods and nodes apart from the API server, with the time of each value.

`sources` fills these in; `kube` takes them as arguments and never asks who read them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

PodKey: TypeAlias = tuple[str, str]
"""(namespace, pod name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """What one pod's serving engine said in one read. None is unknown (there was no such series)."""

    sampled_at: float = math.nan
    """Seconds since the epoch: of the scrape, or of the oldest value where Prometheus dates them. NaN:
    never read."""
    waiting_requests: float | None = None
    running_requests: float | None = None
    kv_usage_ratio: float | None = None
    """Share of the KV cache in use, 0 to 1."""
    finished_requests_total: float | None = None
    """This and the counters below begin at 0 with the engine's process."""
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
