"""Cold starts of one pool: how long from pod created to Ready.

The 90 % quantile of the last twenty is what a start is counted to take: it is the start cost of the
economic rule, sets its horizon, is the default stabilization window, and (twice) the time after
which capacity on its way is given up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.state import CREATION_RESOLUTION_S, ReplicaColumns
from autoscaler.core.tuning import ROUNDING, TUNING

BINDING_S = 2.0
"""Between creation and binding, as Kubernetes' whole seconds show it, where a node was free; a
longer wait was for a node, and is left out like any time unschedulable."""
NODE_WAIT_S_MAX = 900.0
"""Karpenter gives a node up that has not joined within 15 minutes."""
FIRST_SIGHT_AGE_S = 600.0
"""A pod that is not ready when we first look at all may be starting, or may have served for days and
be ailing. Younger than this it is taken to start; and one that is ready is taken to have become so for
the first time, if it did within so long."""


@dataclass(slots=True, kw_only=True)
class ColdStartMemory:
    """What is remembered of the starts of one pool. Part of the engine's memory."""

    at: float | None = None
    """The last look."""
    names: tuple[str, ...] = ()
    """All pods at the last look, in its order (of all pools, so that equality is one comparison)."""
    created: bytes = b""
    """Their column `created_at`, as bytes: a StatefulSet's pod comes back under its old name."""
    settled: dict[str, float] = field(default_factory=dict)
    """Pods of this pool whose start is over or was never ours to see, with their creation: nothing
    more is learnt of them."""
    starting: dict[str, float] = field(default_factory=dict)
    """Pods of this pool that start, with their age (time unschedulable left out), seconds."""
    rows: list[int] = field(default_factory=list)
    """Their rows at the last look."""
    measured_s: list[float] = field(default_factory=list)
    """The last created-to-ready times, oldest first."""
    whole_s: list[float] = field(default_factory=list)
    """The same with the time in which no node had room for them: what who asks for one waits."""
    known_until: float | None = None
    """Starts that ended up to then are among the measured ones already: another process measured them. None: of none is
    that known."""
    finished: tuple[float, float] | None = field(default=None, init=False)
    """(prior, quantile) of the finished starts, until another one is; no part of a checkpoint."""


def observe_starts(
    memory: ColdStartMemory, *, at: float, replicas: ReplicaColumns, pool: int
) -> None:
    """Learn from the pods of one pool, once a tick.

    Starts that were watched are measured: of a pod that was seen before it was ready, or was created
    since the last look. At the first look of all, which is also that after a restart of ours, pods are
    there that nobody watched. `ready_at` is the last of their Ready transitions, and after one restart
    of its container days may lie between it and the creation: it is believed where it came soon.
    """
    column = replicas.created_at.tobytes()
    if memory.names == replicas.name and memory.created == column:
        # No pod came or went: only those that were starting can have become ready, for one that
        # turns unready now does not start.
        rows = memory.rows
    else:
        found = np.flatnonzero(replicas.pool == pool)
        if memory.at is None:
            # Of many that are there already, the last to become ready are the last starts.
            found = found[np.argsort(replicas.ready_at[found], kind="stable")]
        rows = found.tolist()
        present = {replicas.name[row] for row in rows}
        memory.settled = {name: born for name, born in memory.settled.items() if name in present}
        memory.names = replicas.name
        memory.created = column
    _watch(memory, at=at, replicas=replicas, rows=rows)
    memory.at = at


def _watch(
    memory: ColdStartMemory, *, at: float, replicas: ReplicaColumns, rows: list[int]
) -> None:
    """Look at pods that may be starting, and settle those that are not."""
    starting: dict[str, float] = {}
    still: list[int] = []
    for row in rows:
        name, created_at = replicas.name[row], float(replicas.created_at[row])
        if memory.settled.get(name) == created_at:
            continue
        ready = bool(replicas.ready[row])
        watched = name in memory.starting or _is_new(
            memory, replicas, row, created_at=created_at, ready=ready, at=at
        )
        if watched and not ready and not replicas.deleting[row]:
            starting[name] = _age_s(replicas, row, at=at)
            still.append(row)
            continue
        memory.settled[name] = created_at
        if watched and ready:
            whole_s = float(replicas.ready_at[row]) - created_at
            _remember(memory, _age_s(replicas, row, at=at), whole_s=whole_s)
    memory.starting = starting
    memory.rows = still


def cold_start_s(memory: ColdStartMemory, *, prior_s: float) -> float:
    """Return what a start is counted to take: the 90 % quantile, seconds.

    The spec's prior weighs max(0, 5 - n/2) measured starts beside n of them. A start that is under
    way enters with its age once that exceeds the quantile: it will have taken at least as long.
    Its age is bounded at twice the quantile of the finished ones, when it is given up: it then says
    that it is stuck, not how long starts take, and must not move its own expiry ahead of itself.
    """
    quantile = finished_cold_start_s(memory, prior_s=prior_s)
    if not memory.starting:
        return quantile
    given_up_s = TUNING.expiry_cold_starts * quantile
    late = [min(age, given_up_s) for age in memory.starting.values() if age > quantile]
    if not late:
        return quantile
    measured = [*memory.measured_s, *late]
    return _quantile(measured, prior_s=prior_s, prior_weight=_prior_weight(memory))


def whole_start_s(memory: ColdStartMemory, *, prior_s: float) -> float:
    """Return by when what is asked for now is ready, as far as starts told: the wait for a node included.

    Never less than a cold start is counted to take. Where there was no node for longer than a provisioner
    waits for one, it is no start that says how long starts take.
    """
    expected_s = cold_start_s(memory, prior_s=prior_s)
    if not memory.whole_s:
        return expected_s
    whole_s = _quantile(memory.whole_s, prior_s=prior_s, prior_weight=0.0)
    return min(max(expected_s, whole_s), expected_s + NODE_WAIT_S_MAX)


def finished_cold_start_s(memory: ColdStartMemory, *, prior_s: float) -> float:
    """Return the same of the finished starts alone: what capacity on its way expires by."""
    kept = memory.finished
    if kept is None or kept[0] != prior_s:
        weight = _prior_weight(memory)
        quantile = _quantile(memory.measured_s, prior_s=prior_s, prior_weight=weight)
        kept = memory.finished = prior_s, quantile
    return kept[1]


def _prior_weight(memory: ColdStartMemory) -> float:
    return max(0.0, TUNING.start_prior_weight - TUNING.start_prior_fade * len(memory.measured_s))


def _quantile(values: list[float], *, prior_s: float, prior_weight: float) -> float:
    """Return the smallest value at which 90 % of the weight is reached."""
    weighted = sorted([*((value, 1.0) for value in values), (prior_s, prior_weight)])
    due = TUNING.start_quantile * (len(values) + prior_weight)
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= due - ROUNDING and weight > 0.0:
            return value
    return weighted[-1][0]


def _is_new(
    memory: ColdStartMemory,
    replicas: ReplicaColumns,
    row: int,
    *,
    created_at: float,
    ready: bool,
    at: float,
) -> bool:
    """Tell whether a pod that was not seen at the last look is taken to be starting, or to have started."""
    if not ready:
        return at - created_at <= FIRST_SIGHT_AGE_S
    last_look = memory.at
    if last_look is None:
        if memory.known_until is not None and replicas.ready_at[row] <= memory.known_until:
            return False
        # In no more than binding takes nothing loads: such times were not measured but made.
        return BINDING_S < _age_s(replicas, row, at=at) <= FIRST_SIGHT_AGE_S
    return created_at >= last_look - CREATION_RESOLUTION_S


def _remember(memory: ColdStartMemory, duration_s: float, *, whole_s: float) -> None:
    if math.isnan(duration_s):
        return
    memory.measured_s.append(duration_s)
    memory.whole_s.append(max(duration_s, whole_s))
    del memory.measured_s[: -TUNING.starts_measured_max]
    del memory.whole_s[: -TUNING.starts_measured_max]
    memory.finished = None


def _age_s(replicas: ReplicaColumns, row: int, *, at: float) -> float:
    """Return created-to-ready, or created-to-now, of one pod, without time unschedulable."""
    created_at, scheduled_at = float(replicas.created_at[row]), float(replicas.scheduled_at[row])
    stuck_since = float(replicas.unschedulable_since[row])
    ready = bool(replicas.ready[row])
    if not ready and not math.isnan(stuck_since):
        return max(0.0, stuck_since - created_at)
    # NaN (not bound, or not said) is no wait
    begun = scheduled_at if scheduled_at - created_at > BINDING_S else created_at
    return max((float(replicas.ready_at[row]) if ready else at) - begun, 0.0)
