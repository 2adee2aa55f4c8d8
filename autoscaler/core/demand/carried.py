"""What a replica really carries, taught by queues that outlive their own forecast.

The in-flight target says how fast a queue should go, and so whether it is harmless. A target that is far
too high says for ever that it will be gone in seconds. So each queue is held to what was expected of it: one
that still stands a good while later refutes the target, and what the replicas finished meanwhile says what
they carry instead. That is kept: the next queue finds a fleet that knows it.

It teaches downwards only, and only where the error is gross. What replicas are seen to carry without a
queue takes back a lesson that was too hard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscaler.core.demand.readings import Queueing
from autoscaler.core.tuning import TUNING


@dataclass(slots=True, kw_only=True)
class CarriedMemory:
    """Of one model. Part of the engine's memory."""

    ratio: float = 1.0
    """Of the in-flight target: what a replica was seen to carry; 1: nothing refuted the target."""
    taught_at: float | None = None
    """Seconds; when a queue last refuted it. None: none did."""
    seen_at: float | None = None
    """Seconds; the last look."""
    gone_by: float | None = None
    """Seconds; when the queue that most replicas have was expected to be gone. None: they have none."""
    begun_with: int = 0
    """Ready replicas when that queue began; those that came since, because of it, say nothing of it."""
    finished: float = 0.0
    """Requests that the replicas with a queue have finished since."""
    replica_s: float = 0.0
    """Their replica-seconds."""
    waiting: float = 0.0
    """Requests that waited at them when the queue began."""
    moves: bool = False
    """Whether that number has changed: a queue moves, a gauge that is stuck does not."""
    flows_since: float | None = None
    """Seconds; since when nobody waits. None: somebody does."""
    flowed: float = 0.0
    """Replicas of load, times seconds, that were carried since."""
    flowed_replica_s: float = 0.0


def watch_queue(
    memory: CarriedMemory,
    *,
    at: float,
    queueing: Queueing | None,
    ready: int,
    offered: float | None,
    backlog_replica_s: float | None,
    service_s: float | None,
    target: float,
) -> None:
    """Hold a queue to what was expected of it; once a tick.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        queueing: the replicas at which requests wait; None: none of those that answer.
        ready: replicas that answer and are to serve.
        offered: offered load in replicas, each of the whole target.
        backlog_replica_s: what one replica of the whole target would need for all that wait.
        service_s: the service time of calm times, else that of now: what the offered load is counted with
            before and after a queue. None: not known.
        target: in-flight requests of one replica, as told.
    """
    passed_s = 0.0 if memory.seen_at is None else at - memory.seen_at
    memory.seen_at = at
    if memory.ratio < 1.0:
        # Slowly: what was taught at one peak holds at the next.
        doubt = math.exp(-passed_s / TUNING.carried_doubt_s)
        memory.ratio = 1.0 - (1.0 - memory.ratio) * doubt
    if queueing is None or offered is None or backlog_replica_s is None or service_s is None:
        _flow(memory, at=at, passed_s=passed_s, ready=ready, offered=offered, queueing=queueing)
        return
    memory.flows_since = None
    of = ready if memory.gone_by is None else min(ready, memory.begun_with)
    if 2 * queueing.replicas < of:
        memory.gone_by = None  # most have none: that is a matter of routing
        return
    if memory.gone_by is None:
        memory.begun_with = ready
        memory.finished = memory.replica_s = 0.0
        memory.waiting, memory.moves = queueing.waiting, False
        # Where no capacity is spare the load itself asks for more, and the queue refutes nothing yet.
        spare = ready * memory.ratio - offered
        memory.gone_by = at + (
            backlog_replica_s / spare if spare > 0.0 else TUNING.queue_patience_s
        )
    memory.finished += queueing.finished
    memory.replica_s += queueing.replica_s
    memory.moves |= queueing.waiting != memory.waiting
    patience_s = max(TUNING.queue_patience_s, 2.0 * service_s)
    if at < memory.gone_by + patience_s:
        return
    if memory.finished < TUNING.queue_completions_min or not memory.moves:
        return
    carried = memory.finished / memory.replica_s * service_s / target
    ratio = max(TUNING.carried_safe_ratio * carried, TUNING.carried_ratio_min)
    if ratio < TUNING.carried_gross_ratio * memory.ratio:
        memory.ratio, memory.taught_at = ratio, at
    memory.gone_by = None  # what stands from here on is a queue of its own


def _flow(
    memory: CarriedMemory,
    *,
    at: float,
    passed_s: float,
    ready: int,
    offered: float | None,
    queueing: Queueing | None,
) -> None:
    """Take a lesson back as far as replicas carry more than it says, for a while, and nobody waits."""
    memory.gone_by = None
    if queueing is not None or offered is None or not ready:
        memory.flows_since = None
        return
    if memory.flows_since is None:
        memory.flows_since, memory.flowed, memory.flowed_replica_s = at, 0.0, 0.0
        return
    memory.flowed += offered * passed_s
    memory.flowed_replica_s += ready * passed_s
    if at - memory.flows_since >= TUNING.carried_flow_s:
        carried = memory.flowed / memory.flowed_replica_s
        memory.ratio = min(1.0, max(memory.ratio, carried))
        memory.flows_since = None
