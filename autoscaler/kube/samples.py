"""What is read of pods and nodes apart from the API server, with the time of each value.

`sources` fills these in; `kube` takes them as arguments and never asks who read them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

PodKey: TypeAlias = tuple[str, str]
"""(namespace, pod name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramSample:
    """One histogram of a page, over all that the page has of it."""

    bounds: tuple[float, ...]
    """Finite upper bounds, ascending, at most BOUNDS_MAX; never empty."""
    counts: tuple[float, ...]
    """Observations so far up to each bound, and then all: never decreasing, one more than the bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """What one pod's serving engine said in one read. None is unknown (there was no such series)."""

    sampled_at: float = math.nan
    """Seconds since the epoch: of the scrape, or of the oldest value where Prometheus dates them. NaN:
    never read."""
    sample_interval_s: float | None = None
    """Between the samples of whoever reads it for us (Prometheus), seconds; None: we read it."""
    waiting_requests: float | None = None
    running_requests: float | None = None
    kv_usage_ratio: float | None = None
    """Share of the KV cache in use, 0 to 1."""
    finished_requests_total: float | None = None
    aborted_requests_total: float | None = None
    """Of the finished: given up by their client, or cut by the engine."""
    """This and the counters below begin at 0 with the engine's process."""
    prompt_tokens_total: float | None = None
    generation_tokens_total: float | None = None
    preemptions_total: float | None = None
    queue_time_s_total: float | None = None
    """Seconds that requests waited in the engine until they ran, those that have ended."""
    queued_requests_total: float | None = None
    """How many requests these are."""
    steps_total: float | None = None
    """Engine steps."""
    step_tokens_total: float | None = None
    """Tokens prefilled and generated in them."""
    ttft: HistogramSample | None = None
    """Time to first token of each request that had one, seconds."""
    tpot: HistogramSample | None = None
    """Time per further token of each request that ended whole, its mean, seconds."""
    token_gaps: HistogramSample | None = None
    """Time between two tokens of a request, seconds, one for each gap; None also where `tpot` is known."""


HISTOGRAMS = ("ttft", "tpot", "token_gaps")
"""Fields of a sample that are histograms."""
BOUNDS_MAX = 64
"""Of one histogram; SGLang's longest has 40. One with more is unknown: a page may be anybody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FramebufferSample:
    """GPU memory held by one pod, over its GPUs."""

    sampled_at: float
    used_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGpuSample:
    """What is known of the GPUs of one node."""

    sampled_at: float
    whole: int
    """Whole GPUs that were seen; one that is cut into MIG instances is none."""
    free: int | None
    """Of these, how many no pod holds, idle and well; None: unknown."""
    unhealthy: int | None = None
    """Cards that can carry no replica; None: nothing is said of their health."""
    unhealthy_by_pod: Mapping[PodKey, int] = field(default_factory=dict)
    """Of the pods that hold such cards, how many each."""
    holders_known: bool = True
    """Whether it is known who holds the unhealthy cards."""
    faults: tuple[str, ...] = ()
    """What is wrong with each of them, for people."""

    def unhealthy_of(self, pod: PodKey) -> float:
        """How many of a pod's GPUs can carry no replica; NaN: unknown."""
        if self.unhealthy is None:
            return math.nan
        known = self.unhealthy_by_pod.get(pod, 0)
        return float(known) if self.holders_known else math.nan
