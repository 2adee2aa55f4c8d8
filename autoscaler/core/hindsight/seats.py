"""How many requests a replica runs before others wait: what decides what a rule on waiting requests sees.

Engines do not say it. Where replicas let requests wait, it is what they ran meanwhile; until one was seen to, what
their KV cache would hold at the tokens that requests hold now, and no more than vLLM runs by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import BoolArray, ReplicaColumns

SEATS_MOST = 256.0
"""vLLM's `--max-num-seqs` where nobody sets it."""
_WAITING = 5.0
"""Requests that wait on a replica that is full. Fewer wait for the next step alone. Judgement."""
_WEIGHT_MOST = 20.0
"""Waiting requests of one replica that count: its queue of an hour is one fact."""
_KNOWN = 100.0
"""Weight from which on it is known: five looks at one replica. Judgement."""
_KEPT = 0.9997
"""Of what was seen, at each look that saw something: half is left after 2,300, ten hours of queues."""
_KV_LEAST = 0.02
"""KV usage below which it says nothing of what a full one would hold."""


@dataclass(slots=True, kw_only=True)
class SeatsMemory:
    """Of one model. Part of the engine's memory."""

    running: float = 0.0
    """Running requests of replicas that let some wait, by weight."""
    weight: float = 0.0
    by_kv: tuple[float, float] = (0.0, 0.0)
    """Running requests, and the KV caches that they filled."""

    @property
    def seats(self) -> float | None:
        """Requests that a replica runs at once; None: nothing says it."""
        if self.weight >= _KNOWN:
            return max(1.0, self.running / self.weight)
        running, caches = self.by_kv
        return None if caches <= 0.0 else min(SEATS_MOST, max(1.0, running / caches))

    def learn(self, replicas: ReplicaColumns, *, serving: BoolArray, waiting: float) -> None:
        """Take in a look.

        Args:
            replicas: of the model.
            serving: rows of those that serve.
            waiting: requests, over all of them.
        """
        running, used = replicas.running_requests, replicas.kv_usage_ratio
        known = serving & (used >= _KV_LEAST) & (running >= 1.0)  # NaN is not
        if np.count_nonzero(known):
            self.by_kv = (
                self.by_kv[0] * _KEPT + float(np.add.reduce(running[known])),
                self.by_kv[1] * _KEPT + float(np.add.reduce(used[known])),
            )
        if waiting < _WAITING:
            return
        full = serving & (replicas.waiting_requests >= _WAITING) & (running >= 1.0)
        if np.count_nonzero(full):
            weights = np.minimum(replicas.waiting_requests[full], _WEIGHT_MOST)
            self.running = self.running * _KEPT + float((weights * running[full]).sum())
            self.weight = self.weight * _KEPT + float(weights.sum())
