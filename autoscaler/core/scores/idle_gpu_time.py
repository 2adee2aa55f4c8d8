"""Idle GPU time: ready replicas beyond what the demand needed, by who kept them.

Whole replicas: of three that carry the demand of 2.3 none could be spared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from autoscaler.core.contract.scores import IdleGpuSeconds
from autoscaler.core.tuning import ROUNDING

_KEEPERS = len(IdleGpuSeconds._fields)
_HOUR_S = 3600.0


@dataclass(slots=True, kw_only=True)
class IdleGpuTime:
    """What was idle so far. Part of the engine's memory."""

    gpu_s: list[float] = field(default_factory=lambda: [0.0] * _KEEPERS)
    """In the order of `IdleGpuSeconds`."""
    usd: float = 0.0

    def observe(
        self,
        elapsed_s: float,
        *,
        need: float,
        ready: int,
        kept_by: Sequence[int],
        gpus_per_replica: float,
        usd_per_hour: float,
    ) -> None:
        """Take in a span of time.

        Args:
            elapsed_s: its length, seconds.
            need: demand in it, replicas.
            ready: replicas that serve.
            kept_by: up to how many replicas each keeper keeps, in the order of `IdleGpuSeconds`; what is
                beyond all of them is released.
            gpus_per_replica: of the ready ones, their mean.
            usd_per_hour: of one replica, likewise.
        """
        busy = math.ceil(need - ROUNDING)
        if ready <= busy:
            return
        idle_s = elapsed_s * (ready - busy)
        self.usd += idle_s * usd_per_hour / _HOUR_S
        each_s = elapsed_s * gpus_per_replica
        for keeper, kept in enumerate(kept_by):
            if kept > busy:
                top = min(kept, ready)
                self.gpu_s[keeper] += (top - busy) * each_s
                if top == ready:
                    return
                busy = top
        self.gpu_s[-1] += (ready - busy) * each_s
