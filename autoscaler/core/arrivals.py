"""From counters and gauges of single replicas to arrivals and service time. Pure: no I/O, no clock.

The arrivals at one replica between two of its samples are the change of what it holds (waiting and
running) plus the change of its counter of finished requests. What must never look like arrivals:

- a replica seen for the first time: without an earlier sample there is no change. Only one that was
  watched from before it served began at zero;
- a restarted process: its counter begins anew, so all it has counted and holds arrived since;
- a replica that comes back after a gap: its change is spread over its own interval, as a rate;
- one that vanishes takes what it held with it: those are no completions, and no negative arrivals;
- requests that a client gave up without being counted: a fall in what is held is no arrival.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.plain import (
    Plain,
    plain_float,
    plain_floats,
    plain_strings,
    read_floats,
    read_optional_float,
    read_record,
    read_strings,
)
from autoscaler.core.state import BoolArray, FloatArray, ReplicaColumns
from autoscaler.core.windows import RatioWindow

SERVICE_TIME_SPAN_S = 900.0
SERVICE_TIME_BUCKET_S = 60.0
COMPLETIONS_MIN = 10.0
"""Fewer within the span say too little: the mean of ten lengths that vary as much as their mean is
off by a third."""
WATCH_LAG_S = 60.0
"""A pod created longer ago than this that appears only now is not new: our view had a gap."""
CREATION_RESOLUTION_S = 1.0
"""Kubernetes cuts times to whole seconds: a pod may seem created before it was."""


def _no_floats() -> FloatArray:
    return np.empty(0, dtype=np.float64)


def _service_window() -> RatioWindow:
    return RatioWindow(span_s=SERVICE_TIME_SPAN_S, bucket_s=SERVICE_TIME_BUCKET_S)


@dataclass(slots=True, kw_only=True)
class ArrivalMemory:
    """The last sample of each replica, and what follows from pairs of them.

    Part of the engine's memory. Columns are in the order of the last observation.
    """

    at: float | None = None
    """The last look; None: there was none."""
    names: tuple[str, ...] = ()
    created: bytes = b""
    """The column `created_at`, as bytes: compared on every tick, read when a pod comes or goes."""
    sampled_at: FloatArray = field(default_factory=_no_floats)
    """Of the sample below; NaN: none. Of a replica that does not serve yet: the last look at it."""
    in_flight: FloatArray = field(default_factory=_no_floats)
    running: FloatArray = field(default_factory=_no_floats)
    finished: FloatArray = field(default_factory=_no_floats)
    """NaN: that replica shows no such counter."""
    arrivals_per_s: FloatArray = field(default_factory=_no_floats)
    """Between the last two samples of each replica; NaN: unknown."""
    service: RatioWindow = field(default_factory=_service_window)
    """Running request-seconds over completions: their ratio is the mean service time."""
    service_s: float | None = None
    """Mean service time; the last one known when completions are too rare to measure it anew."""

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "at": plain_float(self.at),
            "names": plain_strings(self.names),
            "created_at": plain_floats(np.frombuffer(self.created, dtype=np.float64)),
            "sampled_at": plain_floats(self.sampled_at),
            "in_flight": plain_floats(self.in_flight),
            "running": plain_floats(self.running),
            "finished": plain_floats(self.finished),
            "arrivals_per_s": plain_floats(self.arrivals_per_s),
            "service": self.service.to_builtins(),
            "service_s": plain_float(self.service_s),
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> ArrivalMemory:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        memory = cls(
            at=read_optional_float(record["at"]),
            names=read_strings(record["names"]),
            created=read_floats(record["created_at"]).tobytes(),
            sampled_at=read_floats(record["sampled_at"]),
            in_flight=read_floats(record["in_flight"]),
            running=read_floats(record["running"]),
            finished=read_floats(record["finished"]),
            arrivals_per_s=read_floats(record["arrivals_per_s"]),
            service_s=read_optional_float(record["service_s"]),
        )
        memory.service.restore(record["service"])
        return memory


def take_samples(
    memory: ArrivalMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    known: BoolArray,
    in_flight: FloatArray,
) -> None:
    """Take in the samples that are newer than the remembered ones.

    Args:
        memory: changed; its columns are then in the order of `replicas`.
        at: now, seconds.
        replicas: all pods of the model.
        known: rows whose `in_flight` is recent enough to be used.
        in_flight: waiting and running requests of each row.
    """
    _align(memory, replicas)
    memory.at = at
    paired = replicas.sampled_at > memory.sampled_at
    paired &= known
    if np.count_nonzero(paired) == len(paired):
        completed = replicas.finished_requests_total - memory.finished
        if np.count_nonzero(completed >= 0.0) == len(completed):  # no restart, none unknown
            _take_all(memory, at=at, replicas=replicas, in_flight=in_flight, completed=completed)
            return
    _take_some(memory, at=at, replicas=replicas, known=known, in_flight=in_flight)


def _take_all(
    memory: ArrivalMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    in_flight: FloatArray,
    completed: FloatArray,
) -> None:
    """Take in a second or later sample of every replica: what nearly every tick brings."""
    elapsed = replicas.sampled_at - memory.sampled_at
    busy = replicas.running_requests + memory.running
    busy *= elapsed
    arrived = in_flight - memory.in_flight
    arrived += completed
    np.maximum(arrived, 0.0, out=arrived)
    arrived /= elapsed
    _measure_service(memory, at=at, busy=busy, completed=completed)
    # The columns of an observation are never written to; they can be kept as they are.
    memory.arrivals_per_s = arrived
    memory.sampled_at = replicas.sampled_at
    memory.in_flight = in_flight
    memory.running = replicas.running_requests
    memory.finished = replicas.finished_requests_total


def _take_some(
    memory: ArrivalMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    known: BoolArray,
    in_flight: FloatArray,
) -> None:
    """Take in the samples of a tick on which some replicas start, leave, restart or do not answer."""
    _await_service(memory, at=at, replicas=replicas, known=known)
    newer = known & ~(replicas.sampled_at <= memory.sampled_at)
    running = replicas.running_requests
    finished = replicas.finished_requests_total
    elapsed = replicas.sampled_at - memory.sampled_at
    completed = finished - memory.finished
    restarted = completed < 0.0
    arrived = np.where(restarted, in_flight + finished, in_flight - memory.in_flight + completed)
    rate = np.maximum(arrived, 0.0) / np.where(elapsed > 0.0, elapsed, np.nan)
    busy = (running + memory.running) * elapsed
    measured = newer & ~restarted & ~np.isnan(completed) & ~np.isnan(busy)
    _measure_service(memory, at=at, busy=busy[measured], completed=completed[measured])
    memory.arrivals_per_s = np.where(newer, rate, memory.arrivals_per_s)
    memory.sampled_at = np.where(newer, replicas.sampled_at, memory.sampled_at)
    memory.in_flight = np.where(newer, in_flight, memory.in_flight)
    memory.running = np.where(newer, running, memory.running)
    memory.finished = np.where(newer, finished, memory.finished)


def _align(memory: ArrivalMemory, replicas: ReplicaColumns) -> None:
    """Bring the remembered columns into the order of this observation.

    A replica that vanished is forgotten together with what it held; one of the same name that was
    created anew (a StatefulSet's) is another replica.
    """
    created = replicas.created_at.tobytes()
    if memory.names == replicas.name and memory.created == created:
        return
    row_of = {name: row for row, name in enumerate(memory.names)}
    rows = np.array([row_of.get(name, -1) for name in replicas.name], dtype=np.int64)
    kept = rows >= 0
    created_at = np.frombuffer(memory.created, dtype=np.float64)
    kept[kept] = created_at[rows[kept]] == replicas.created_at[kept]
    source = rows[kept]

    def carried(column: FloatArray) -> FloatArray:
        moved = np.full(len(rows), np.nan)
        moved[kept] = column[source]
        return moved

    memory.sampled_at = carried(memory.sampled_at)
    memory.in_flight = carried(memory.in_flight)
    memory.running = carried(memory.running)
    memory.finished = carried(memory.finished)
    memory.arrivals_per_s = carried(memory.arrivals_per_s)
    memory.names = replicas.name
    memory.created = created
    if memory.at is not None:
        _begin_new(memory, replicas=replicas, appeared=~kept, last_look=memory.at)


def _begin_new(
    memory: ArrivalMemory, *, replicas: ReplicaColumns, appeared: BoolArray, last_look: float
) -> None:
    """Begin at zero with pods that were not there at the last look and cannot have served before.

    One that is ready already must have been created since; one that is not ready may be somewhat
    older than our last look, because the watch lags.
    """
    born_at = np.where(replicas.ready, last_look - CREATION_RESOLUTION_S, last_look - WATCH_LAG_S)
    begun = appeared & (replicas.created_at >= born_at)
    memory.sampled_at[begun] = last_look
    memory.in_flight[begun] = 0.0
    memory.running[begun] = 0.0
    memory.finished[begun] = 0.0


def _await_service(
    memory: ArrivalMemory, *, at: float, replicas: ReplicaColumns, known: BoolArray
) -> None:
    """Move the beginning of replicas that began at zero and still do not serve to this look."""
    waiting = ~(replicas.ready | known | replicas.deleting)
    if waiting.any():
        waiting &= (memory.finished == 0.0) & (memory.in_flight == 0.0)
        memory.sampled_at = np.where(waiting, at, memory.sampled_at)


def _measure_service(
    memory: ArrivalMemory, *, at: float, busy: FloatArray, completed: FloatArray
) -> None:
    """Measure the mean service time by Little's law: running request-seconds over completions.

    Waiting is no service, so a queue does not lengthen it; prefill is, so long prompts do. Running
    time of requests that died with their replica counts without a completion, which is how the mean
    of a censored sample is estimated. The trapezoid of two samples stands for the time between.
    """
    window = memory.service
    window.add(
        at,
        numerator=0.5 * math.fsum(busy.tolist()),
        denominator=math.fsum(completed.tolist()),
    )
    if window.denominator >= COMPLETIONS_MIN and window.numerator > 0.0:
        memory.service_s = window.numerator / window.denominator
