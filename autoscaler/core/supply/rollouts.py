"""Rollouts that hold a scale-down, and those that have held it for long enough.

While a target rolls out, the pods that go are not the ones that were counted, so nothing is scaled down.
But a rollout may never end: its surge pod finds no GPU (and giving one up would free it), it is paused, its
image does not exist. Once its controller has given it up, or nothing has moved for long, it holds no more.
And what moves need not come nearer to its end: a pod that a kubelet refuses is made anew, a probe fails and
passes, and a controller takes each of these for progress. So a rollout holds for no longer than it takes to
start its pods one by one.

An example: 8 replicas and one more, and cold starts of 60 s: 9 times 120 s and ten minutes, 1,680 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.tuning import TUNING


@dataclass(slots=True, kw_only=True)
class RolloutMemory:
    """How far one pool's rollout was. Part of the engine's memory."""

    began_at: float
    """When it was first seen."""
    pods: int
    ready: int
    newest_at: float
    """When its youngest pod was created."""
    moved_at: float
    """When one of these was last seen to change."""


class Rollouts(NamedTuple):
    """The rollouts of one model's pools."""

    holding: tuple[bool, ...]
    """By pool: rolls out, and may end any moment."""
    overdue: tuple[str, ...]
    """Names of pools whose rollout holds nothing any more."""


def watch_rollouts(
    memory: dict[str, RolloutMemory],
    *,
    at: float,
    observation: ModelObservation,
    cold_start_s: float,
) -> Rollouts:
    """Look how far rollouts have come, once a tick.

    Args:
        memory: by pool, of this model; changed.
        at: now, seconds.
        observation: of the model.
        cold_start_s: what a start is expected to take: that long a rollout may look as if it stood.
    """
    if not memory and not any(pool.rolling_out for pool in observation.pools):
        return Rollouts(holding=(False,) * len(observation.pools), overdue=())
    start_s = TUNING.expiry_cold_starts * cold_start_s
    patience_s = max(TUNING.rollout_s, start_s)
    replicas, overdue, holding = observation.replicas, [], []
    for index, pool in enumerate(observation.pools):
        if not pool.rolling_out:
            memory.pop(pool.name, None)
            holding.append(False)
            continue
        rows = replicas.pool == index
        created_at = replicas.created_at[rows]
        seen = RolloutMemory(
            began_at=at,
            pods=len(created_at),
            ready=int(np.count_nonzero(replicas.ready[rows])),
            newest_at=float(np.maximum.reduce(created_at)) if len(created_at) else 0.0,
            moved_at=at,
        )
        last = memory.get(pool.name)
        if last is not None:
            seen.began_at = last.began_at
            seen.moved_at = last.moved_at if _alike(last, seen) else at
        memory[pool.name] = seen
        stands = at - seen.moved_at > patience_s
        endless = at - seen.began_at > patience_s + seen.pods * start_s
        given_up = pool.rollout_stuck or stands or endless
        holding.append(not given_up)
        if given_up:
            overdue.append(pool.name)
    return Rollouts(holding=tuple(holding), overdue=tuple(overdue))


def _alike(one: RolloutMemory, other: RolloutMemory) -> bool:
    return (one.pods, one.ready, one.newest_at) == (other.pods, other.ready, other.newest_at)
