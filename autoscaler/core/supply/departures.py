"""Replicas that go: why, what was in flight on them as they began to, and what became of it.

A replica that is being deleted is read until it vanishes. What its counters said meanwhile is what finished
and what was aborted. What its last page still had in flight was lost if it was killed at the end of its
grace period or its node was lost; else it is unknown: it may have finished between the last reading and the
end. One whose deletion was never seen and that is not listed any more, as its scale targets are not, has not
departed: a server that lost its objects answers so. A page that was not read since the deletion began says nothing about the end, and unknown is never zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.decision import Departure, DepartureCause, Drained
from autoscaler.core.contract.state import FloatArray, FloatOrNaN, ModelObservation, ReplicaColumns
from autoscaler.core.supply.doomed import Doom

SCALED_FOR_S = 60.0
"""So long after a pool was made smaller a deletion in it is taken for the scale-down's."""
KILLED_WITHIN_S = 2.0
"""One that vanishes so close to the end of its grace period, or later, was killed."""


@dataclass(slots=True, kw_only=True)
class LeavingReplica:
    """One that is being deleted and has not vanished."""

    pool: str
    cause: DepartureCause
    since: float
    """When its deletion began, seconds."""
    grace_s: FloatOrNaN
    served: bool
    """It was ready once: one that never was had nothing in flight."""
    in_flight: FloatOrNaN
    """As its deletion was first seen; NaN: unknown, as below."""
    finished: FloatOrNaN
    """The counter then."""
    aborted: FloatOrNaN
    """The counter then."""
    sampled_at: FloatOrNaN
    """Of its last page; what follows is of that one."""
    last_in_flight: FloatOrNaN
    last_finished: FloatOrNaN
    last_aborted: FloatOrNaN


@dataclass(slots=True, kw_only=True)
class DepartureMemory:
    """What watching departures has to remember of one model. Part of the engine's memory."""

    leaving: dict[str, LeavingReplica] = field(default_factory=dict)
    """By name."""
    replicas: dict[str, int] = field(default_factory=dict)
    """By pool: what was asked for at the last look."""
    smaller_at: dict[str, float] = field(default_factory=dict)
    """By pool: when less was asked for than before."""
    doomed: dict[str, bool] = field(default_factory=dict)
    """Replicas on doomed nodes at the last look, and whether the node was lost."""


def watch_departures(
    memory: DepartureMemory,
    *,
    at: float,
    observation: ModelObservation,
    doom: Doom | None,
    names: tuple[str, ...],
    in_flight: FloatArray,
) -> tuple[Departure, ...]:
    """Follow the replicas that go, once a tick; return those that have vanished since the last look.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        observation: of the model.
        doom: the doomed nodes.
        names: of the replicas at the last look.
        in_flight: what they last said to have in flight; NaN: unknown.
    """
    replicas = observation.replicas
    _note_sizes(memory, observation, at=at)
    gone: tuple[Departure, ...] = ()
    if names != replicas.name:
        there = set(replicas.name)
        listed = any(pool.current_replicas is not None for pool in observation.pools)
        held = {
            name: requests
            for name, requests in zip(names, in_flight.tolist(), strict=True)
            if name not in there and (listed or name in memory.leaving)
        } | {name: math.nan for name in memory.leaving if name not in there}
        gone = tuple(
            [
                _departed(memory, name, requests, observation, at=at)
                for name, requests in sorted(held.items())
            ]
        )
    if np.count_nonzero(replicas.deleting):
        for row in np.flatnonzero(replicas.deleting).tolist():
            _follow(memory, observation, row, doom=doom, at=at)
    _note_doomed(memory, replicas, doom)
    return gone


def _note_sizes(memory: DepartureMemory, observation: ModelObservation, *, at: float) -> None:
    for pool in observation.pools:
        if pool.current_replicas is None:
            continue
        before = memory.replicas.get(pool.name)
        memory.replicas[pool.name] = pool.current_replicas
        if before is not None and pool.current_replicas < before:
            memory.smaller_at[pool.name] = at


def _note_doomed(memory: DepartureMemory, replicas: ReplicaColumns, doom: Doom | None) -> None:
    if doom is None:
        memory.doomed.clear()
        return
    rows = np.flatnonzero(doom.doomed[replicas.node]).tolist()
    memory.doomed = {replicas.name[row]: bool(doom.lost[replicas.node[row]]) for row in rows}


def _follow(
    memory: DepartureMemory,
    observation: ModelObservation,
    row: int,
    *,
    doom: Doom | None,
    at: float,
) -> None:
    """Take in what one that is being deleted says now."""
    replicas = observation.replicas
    name, node = replicas.name[row], int(replicas.node[row])
    held = float(replicas.waiting_requests[row] + replicas.running_requests[row])
    finished = float(replicas.finished_requests_total[row])
    aborted = float(replicas.aborted_requests_total[row])
    known = memory.leaving.get(name)
    if known is None:
        pool = observation.pools[int(replicas.pool[row])].name
        since = float(replicas.deleting_since[row])
        if doom is not None and doom.doomed[node]:
            memory.doomed[name] = bool(doom.lost[node])
        known = memory.leaving[name] = LeavingReplica(
            pool=pool,
            cause=_cause(memory, name, observation, pools=(pool,), at=at),
            since=at if math.isnan(since) else min(since, at),
            grace_s=float(replicas.grace_s[row]),
            served=bool(replicas.ready[row]) or not math.isnan(replicas.sampled_at[row]),
            in_flight=held,
            finished=finished,
            aborted=aborted,
            sampled_at=math.nan,
            last_in_flight=math.nan,
            last_finished=math.nan,
            last_aborted=math.nan,
        )
    if doom is not None and doom.lost[node]:
        known.cause = DepartureCause.NODE_LOST
    sampled_at = float(replicas.sampled_at[row])
    if sampled_at >= known.since:  # NaN is not
        known.sampled_at, known.last_in_flight = sampled_at, held
        known.last_finished, known.last_aborted = finished, aborted


def _departed(
    memory: DepartureMemory,
    name: str,
    in_flight: float,
    observation: ModelObservation,
    *,
    at: float,
) -> Departure:
    """Close the account of one that has vanished; `in_flight` is what it last said."""
    left = memory.leaving.pop(name, None)
    if left is None:
        # Its deletion was never seen: it was quicker than a tick, or nobody was asked.
        pools = tuple([pool.name for pool in observation.pools])
        cause = _cause(memory, name, observation, pools=pools, at=at)
        return Departure(
            pod=name,
            pool=pools[0] if len(pools) == 1 else "",
            cause=cause,
            drained=_drained(in_flight, lost=cause is DepartureCause.NODE_LOST),
            leaving_s=None,
            in_flight_requests=_known(in_flight),
            finished_requests=None,
            aborted_requests=None,
            lost_requests=_known(in_flight) if cause is DepartureCause.NODE_LOST else None,
            unknown_requests=None if cause is DepartureCause.NODE_LOST else _known(in_flight),
        )
    if not left.served:
        left.in_flight = left.last_in_flight = left.finished = left.last_finished = 0.0
        left.aborted = left.last_aborted = 0.0
    ended = _grown(left.finished, left.last_finished)
    aborted = _grown(left.aborted, left.last_aborted)
    killed = left.cause is DepartureCause.NODE_LOST or (
        at - left.since >= left.grace_s - KILLED_WITHIN_S
    )
    lost, unknown = _left_behind(left, killed=killed)
    return Departure(
        pod=name,
        pool=left.pool,
        cause=left.cause,
        drained=_drained(left.last_in_flight, lost=killed),
        leaving_s=max(0.0, at - left.since),
        in_flight_requests=_known(left.in_flight),
        finished_requests=None if ended is None else max(0.0, ended - (aborted or 0.0)),
        aborted_requests=aborted,
        lost_requests=lost,
        unknown_requests=unknown,
    )


def _left_behind(left: LeavingReplica, *, killed: bool) -> tuple[float | None, float | None]:
    """Return how many it took with it: surely, and perhaps."""
    last = left.last_in_flight
    if last == 0.0:
        return 0.0, 0.0
    # Not read while it went: all that it had at the beginning may have finished, or been cut.
    rest = left.in_flight if math.isnan(last) else last
    if killed:
        return _known(rest), None if math.isnan(rest) else 0.0
    return None, _known(rest) or None


def _cause(
    memory: DepartureMemory,
    name: str,
    observation: ModelObservation,
    *,
    pools: tuple[str, ...],
    at: float,
) -> DepartureCause:
    """Tell why one of these pools goes: by its node, then by what was asked of its Deployment."""
    lost = memory.doomed.get(name)
    if lost is not None:
        return DepartureCause.NODE_LOST if lost else DepartureCause.NOTICE
    if any(pool.rolling_out for pool in observation.pools if pool.name in pools):
        return DepartureCause.ROLLOUT
    if any(at - memory.smaller_at.get(pool, -math.inf) <= SCALED_FOR_S for pool in pools):
        return DepartureCause.SCALE_DOWN
    return DepartureCause.ELSEWHERE


def _drained(in_flight: float, *, lost: bool) -> Drained:
    if math.isnan(in_flight):
        return Drained.UNKNOWN
    if in_flight == 0.0:
        return Drained.IDLE
    return Drained.CUT if lost else Drained.UNKNOWN


def _grown(before: float, after: float) -> float | None:
    """How much a counter rose; a process that began anew says nothing of the one before."""
    return after - before if after >= before else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
