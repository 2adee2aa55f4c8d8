"""From counters and gauges of single replicas to arrivals and service time. Pure: no I/O, no clock.

The arrivals at one replica between two of its samples are the change of what it holds (waiting and
running) plus the change of its counter of finished requests. What must never look like arrivals:

- a replica seen for the first time: without an earlier sample there is no change. Only one that was
  watched from before it served began at zero;
- a restarted process: its counter begins anew, so all it has counted and holds arrived since;
- a replica that comes back after a gap: its change is spread over its own interval, as a rate;
- one that vanishes takes what it held with it: those are no completions, and no negative arrivals;
- requests that a client gave up without being counted: a fall in what is held is no arrival.

Rows are walked, not vectorised: each has a history of its own, a model has tens of them, and for so
many a walk is several times cheaper than as many operations on columns. Five thousand take a few
milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from autoscaler.core.plain import (
    Plain,
    plain_float,
    read_float,
    read_list,
    read_optional_float,
    read_record,
)
from autoscaler.core.state import BoolArray, ReplicaColumns
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


Kept: TypeAlias = tuple[float, float, float, float, float, float]
"""Of one replica: created_at; sampled_at, requests in flight, running, counter of finished ones at its
last sample; arrivals per second between its last two. NaN: unknown. One that does not serve yet has
the last look at it as its sample, with nothing in flight."""

UNSAMPLED = (math.nan,) * 5


@dataclass(slots=True, kw_only=True)
class ArrivalMemory:
    """The last sample of each replica, and what follows from pairs of them.

    Part of the engine's memory.
    """

    at: float | None = None
    """The last look; None: there was none."""
    kept: dict[str, Kept] = field(default_factory=dict)
    """By replica, of those seen at the last look."""
    service: RatioWindow = field(
        default_factory=lambda: RatioWindow(
            span_s=SERVICE_TIME_SPAN_S, bucket_s=SERVICE_TIME_BUCKET_S
        )
    )
    """Running request-seconds over completions: their ratio is the mean service time."""
    service_s: float | None = None
    """Mean service time; the last one known when completions are too rare to measure it anew."""

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "at": plain_float(self.at),
            "kept": [[name, *map(plain_float, kept)] for name, kept in self.kept.items()],
            "service": self.service.to_builtins(),
            "service_s": plain_float(self.service_s),
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> ArrivalMemory:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        memory = cls(
            at=read_optional_float(record["at"]),
            kept=dict(_read_kept(row) for row in read_list(record["kept"])),
            service_s=read_optional_float(record["service_s"]),
        )
        memory.service.restore(record["service"])
        return memory


Row: TypeAlias = tuple[float, bool, bool, bool, float, float, float, float, float]


@dataclass(slots=True, kw_only=True)
class Reading:
    """What all the replicas of a model say at one moment; columns of those that answer."""

    ready: int = 0
    """Ready and not deleting."""
    waiting: list[float] = field(default_factory=list)
    """Also of those that leave: what they hold is still demand."""
    running: list[float] = field(default_factory=list)
    serving: list[float] = field(default_factory=list)
    """Requests in flight of the ready ones."""
    kv_usage: list[float] = field(default_factory=list)
    """Of the ready ones; NaN where they do not say it."""
    silent: list[float] = field(default_factory=list)
    """Of the ready ones that do not answer: what they last held, NaN where that is unknown."""
    rates: list[float] = field(default_factory=list)
    """Arrivals per second of the ready ones; NaN where unknown."""
    other_rates: list[float] = field(default_factory=list)
    """Of those that start or leave, likewise."""
    busy: list[float] = field(default_factory=list)
    """Running request-seconds between two samples: twice the trapezoid."""
    completed: list[float] = field(default_factory=list)
    """Completions between them."""


def read_replicas(
    memory: ArrivalMemory, *, at: float, replicas: ReplicaColumns, fresh: BoolArray
) -> Reading:
    """Read every replica once, and remember the samples that are newer than the kept ones.

    Args:
        memory: changed; replicas that are gone are forgotten, together with what they held.
        at: now, seconds.
        replicas: all pods of the model.
        fresh: rows whose engine sample is recent enough to be used.
    """
    reading = Reading()
    before, last_look = memory.kept, memory.at
    kept: dict[str, Kept] = {}
    serving, waits, runs = reading.serving.append, reading.waiting.append, reading.running.append
    kv_usage, rates = reading.kv_usage.append, reading.rates.append
    for name, row in zip(replicas.name, _rows(replicas, fresh), strict=True):
        created, ready, deleting, is_fresh, sampled, waiting, running, kv, finished = row
        then = before.get(name)
        if then is None or then[0] != created:
            # also one of the same name that was created anew (a StatefulSet's)
            then = _begin(created, ready=ready, last_look=last_look)
        held = waiting + running
        if not (is_fresh and held >= 0.0):  # NaN is not
            kept[name] = _pass_over(then, at=at, ready=ready, deleting=deleting, reading=reading)
            continue
        if not sampled <= then[1]:
            rate = _pair(then, (sampled, held, running, finished), reading)
            then = (created, sampled, held, running, finished, rate)
        kept[name] = then
        waits(waiting)
        runs(running)
        rate = then[5]
        if not ready or deleting:
            reading.other_rates.append(rate)
            continue
        serving(held)
        kv_usage(kv)
        rates(rate)
    memory.kept = kept
    memory.at = at
    reading.ready = len(reading.serving) + len(reading.silent)
    _measure_service(memory, reading, at=at)
    return reading


def _rows(replicas: ReplicaColumns, fresh: BoolArray) -> Iterator[Row]:
    return zip(
        replicas.created_at.tolist(),
        replicas.ready.tolist(),
        replicas.deleting.tolist(),
        fresh.tolist(),
        replicas.sampled_at.tolist(),
        replicas.waiting_requests.tolist(),
        replicas.running_requests.tolist(),
        replicas.kv_usage_ratio.tolist(),
        replicas.finished_requests_total.tolist(),
        strict=True,
    )


def _pass_over(then: Kept, *, at: float, ready: bool, deleting: bool, reading: Reading) -> Kept:
    """Note a replica that does not answer; return what is kept of it."""
    if ready and not deleting:
        reading.silent.append(then[2])
    elif not deleting and then[2] == then[4] == 0.0:
        return (then[0], at, 0.0, 0.0, 0.0, then[5])  # it began at zero, and still does
    return then


def _begin(created_at: float, *, ready: bool, last_look: float | None) -> Kept:
    """Begin with a replica that was not there at the last look.

    One that cannot have served before began at zero: if it is ready already, it must have been
    created since; if it is not, it may be somewhat older, because the watch lags. Of any other
    nothing is known.
    """
    if last_look is not None:
        lag_s = CREATION_RESOLUTION_S if ready else WATCH_LAG_S
        if created_at >= last_look - lag_s:
            return (created_at, last_look, 0.0, 0.0, 0.0, math.nan)
    return (created_at, *UNSAMPLED)


def _pair(then: Kept, now: tuple[float, float, float, float], reading: Reading) -> float:
    """Take the differences of two samples; return the arrivals per second between them."""
    sampled, held, running, finished = now
    elapsed = sampled - then[1]
    completed = finished - then[4]
    if completed >= 0.0:
        reading.busy.append((running + then[3]) * elapsed)
        reading.completed.append(completed)
        arrived = held - then[2] + completed
    elif completed < 0.0:
        arrived = held + finished  # restarted: all it has seen came since
    else:
        return math.nan
    return arrived / elapsed if arrived > 0.0 else 0.0


def _measure_service(memory: ArrivalMemory, reading: Reading, *, at: float) -> None:
    """Measure the mean service time by Little's law: running request-seconds over completions.

    Waiting is no service, so a queue does not lengthen it; prefill is, so long prompts do. Running
    time of requests that died with their replica counts without a completion, which is how the mean
    of a censored sample is estimated. The trapezoid of two samples stands for the time between.
    """
    window = memory.service
    window.add(
        at,
        numerator=0.5 * math.fsum(reading.busy),
        denominator=math.fsum(reading.completed),
    )
    if window.denominator >= COMPLETIONS_MIN and window.numerator > 0.0:
        memory.service_s = window.numerator / window.denominator


def _read_kept(value: Plain) -> tuple[str, Kept]:
    name, *numbers = read_list(value)
    created, sampled, held, running, finished, rate = (
        math.nan if number is None else read_float(number) for number in numbers
    )
    return str(name), (created, sampled, held, running, finished, rate)
