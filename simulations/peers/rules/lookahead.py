"""What a perfect forecaster would get: it knows the trace up to one cold start ahead, and no further.

A reference beside the policies, not a bound: it is replayed in the same world, so that what it misses
and pays is physics (starts drawn longer than their mean, queues inside a step, whole replicas), and
what a policy pays above it is forecast and headroom. It asks at every step for the largest need of
the time that a replica started now can still serve; needs are those of `offered`, as for static fleets.
"""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.contract.state import FloatArray
from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.serving.offered_demand import offered_replicas

NAME = "lookahead"
STEP_S = 10.0


class Lookahead:
    """Replicas for the busiest step up to the mean cold start, and one step more, from now."""

    sync_s = STEP_S

    def __init__(self, setting: BaselineSetting) -> None:
        """It is told the trace, of which it looks no further ahead than it says."""
        need = offered_replicas(setting.requests, setting.profile, window_s=STEP_S)
        steps = math.ceil(setting.cold_start_s / STEP_S) + 1
        self._desired = np.clip(
            np.ceil(_most_ahead(need, steps)), setting.replicas_min, setting.replicas_max
        ).astype(int)
        self.initial_replicas = int(self._desired[0])
        self._step = 0

    def sync(self, view: TargetView) -> int | None:
        """The need of the steps ahead; the first sync is one step into the trace."""
        del view
        self._step = min(self._step + 1, len(self._desired) - 1)
        return int(self._desired[self._step])


def _most_ahead(need: FloatArray, steps: int) -> FloatArray:
    """Largest need of each step and so many behind it."""
    ahead = np.concatenate([need, np.zeros(steps)])
    windows = np.lib.stride_tricks.sliding_window_view(ahead, steps + 1)
    most: FloatArray = windows.max(axis=1)
    return most
