"""From counters and gauges of single replicas to arrivals and service time.

The arrivals at one replica between two of its samples are the change of what it holds (waiting and
running) plus the change of its counter of finished requests. What must never look like arrivals:

- a replica seen for the first time: without an earlier sample there is no change. Only one that was
  watched from before it served began at zero;
- a restarted process: its counter begins anew, so all it has counted and holds arrived since;
- a replica that comes back after a gap: its change is spread over its own interval, as a rate;
- one that vanishes takes what it held with it: those are no completions, and no negative arrivals;
- requests that a client gave up without being counted: a fall in what is held is no arrival.

Rows are walked: each has a history of its own, and for a few of them that is cheaper than as many
operations on columns. For tens, on a tick on which nothing is special, and for hundreds on any, it is
not (`arrival_columns`). A property test holds the three ways together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from autoscaler.core.contract.state import BoolArray, ReplicaColumns
from autoscaler.core.demand.ratio_window import RatioWindow
from autoscaler.core.demand.readings import (
    CREATION_RESOLUTION_S,
    WATCH_LAG_S,
    Kept,
    LastColumns,
    Reading,
    read_columns,
    read_ordinary,
)

SERVICE_TIME_SPAN_S = 900.0
SERVICE_TIME_BUCKET_S = 60.0
COMPLETIONS_MIN = 10.0
"""Fewer within the span say too little: the mean of ten lengths that vary as much as their mean is
off by a third."""
ORDINARY_FROM = 24
"""Rows from which columns are cheaper than a walk on a tick on which none is special."""
COLUMNS_FROM = 64
"""And on any tick."""
UNSAMPLED = (math.nan,) * 5


@dataclass(slots=True, kw_only=True)
class ArrivalMemory:
    """The last sample of each replica, and what follows from pairs of them.

    Part of the engine's memory.
    """

    at: float | None = None
    """The last look; None: there was none."""
    kept: dict[str, Kept] = field(default_factory=dict)
    """By replica, of those seen at the last look; empty where `columns` has them."""
    columns: LastColumns | None = None
    """The same of a large fleet."""
    service: RatioWindow = field(
        default_factory=lambda: RatioWindow(
            span_s=SERVICE_TIME_SPAN_S, bucket_s=SERVICE_TIME_BUCKET_S
        )
    )
    """Running request-seconds over completions: their ratio is the mean service time."""
    service_s: float | None = None
    """Mean service time; the last one known when completions are too rare to measure it anew."""
    calm: RatioWindow = field(
        default_factory=lambda: RatioWindow(
            span_s=SERVICE_TIME_SPAN_S, bucket_s=SERVICE_TIME_BUCKET_S
        )
    )
    """The same as `service`, of the ticks on which the fleet was not crowded."""

    @property
    def calm_service_s(self) -> float | None:
        """Mean service time where replicas hold about what they are to hold; None: not seen lately."""
        calm = self.calm
        if calm.denominator < COMPLETIONS_MIN or calm.numerator <= 0.0:
            return None
        return calm.numerator / calm.denominator

    def as_kept(self) -> dict[str, Kept]:
        """Return what is kept, by replica."""
        return self.kept if self.columns is None else self.columns.to_kept()

    def as_columns(self) -> LastColumns:
        """Return what is kept, as columns."""
        return LastColumns.from_kept(self.kept) if self.columns is None else self.columns


Row: TypeAlias = tuple[str, float, bool, bool, bool, float, float, float, float, float]


def read_replicas(
    memory: ArrivalMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    fresh: BoolArray,
    crowded_requests: float = math.inf,
) -> Reading:
    """Read every replica once, and remember the samples that are newer than the kept ones.

    Args:
        memory: changed; replicas that are gone are forgotten, together with what they held.
        at: now, seconds.
        replicas: all pods of the model.
        fresh: rows whose engine sample is recent enough to be used.
        crowded_requests: where a replica runs more than so many on average, the fleet is crowded.
    """
    reading = _read(memory, at=at, replicas=replicas, fresh=fresh)
    memory.at = at
    crowded = sum(reading.running) > crowded_requests * max(1, len(reading.serving))
    _measure_service(memory, reading, at=at, crowded=crowded)
    return reading


def _read(
    memory: ArrivalMemory, *, at: float, replicas: ReplicaColumns, fresh: BoolArray
) -> Reading:
    """Read in the cheapest of three ways that say the same."""
    count = len(replicas)
    if count < ORDINARY_FROM or (count < COLUMNS_FROM and not replicas.ready.all()):
        return _walk(memory, at=at, replicas=replicas, fresh=fresh)
    last = memory.as_columns()
    found = read_ordinary(last, replicas=replicas, fresh=fresh)
    if found is None and count < COLUMNS_FROM:
        return _walk(memory, at=at, replicas=replicas, fresh=fresh)
    if found is None:
        found = read_columns(last, at=at, last_look=memory.at, replicas=replicas, fresh=fresh)
    reading, memory.columns = found
    memory.kept = {}
    return reading


def _walk(
    memory: ArrivalMemory, *, at: float, replicas: ReplicaColumns, fresh: BoolArray
) -> Reading:
    reading = Reading()
    before, last_look = memory.as_kept(), memory.at
    kept: dict[str, Kept] = {}
    serving, waits, runs = reading.serving.append, reading.waiting.append, reading.running.append
    kv_usage, rates = reading.kv_usage.append, reading.rates.append
    busy, completions = reading.busy.append, reading.completed.append
    for row in _rows(replicas, fresh):
        name, created, ready, deleting, is_fresh, sampled, waiting, running, kv, finished = row
        then = before.get(name)
        if then is None or then[0] != created:
            # also one of the same name that was created anew (a StatefulSet's)
            then = _begin(created, ready=ready, last_look=last_look)
        held = waiting + running
        if not (is_fresh and held >= 0.0):  # NaN is not
            kept[name] = _pass_over(then, at=at, ready=ready, deleting=deleting, reading=reading)
            continue
        _, was_at, was_held, was_running, was_finished, rate = then
        if not sampled <= was_at:  # NaN: its first sample
            completed = finished - was_finished
            if completed >= 0.0:
                rate, elapsed = held - was_held + completed, sampled - was_at
                rate = rate / elapsed if rate > 0.0 else 0.0
                busy((running + was_running) * elapsed)
                completions(completed)
            elif completed < 0.0:  # restarted: all it has seen came since
                rate = (held + finished) / (sampled - was_at)
            else:
                rate = math.nan
            then = (created, sampled, held, running, finished, rate)
        kept[name] = then
        waits(waiting)
        runs(running)
        if not ready or deleting:
            reading.other_rates.append(rate)
            continue
        serving(held)
        kv_usage(kv)
        rates(rate)
    memory.kept = kept
    memory.columns = None
    return reading


def _rows(replicas: ReplicaColumns, fresh: BoolArray) -> Iterator[Row]:
    return zip(
        replicas.name,
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


def _measure_service(memory: ArrivalMemory, reading: Reading, *, at: float, crowded: bool) -> None:
    """Measure the mean service time by Little's law: running request-seconds over completions.

    Waiting is no service, so a queue does not lengthen it; prefill is, so long prompts do. Running
    time of requests that died with their replica counts without a completion, which is how the mean
    of a censored sample is estimated. The trapezoid of two samples stands for the time between.
    """
    window = memory.service
    busy_s, completed = 0.5 * math.fsum(reading.busy), math.fsum(reading.completed)
    window.add(at, numerator=busy_s, denominator=completed)
    memory.calm.add(
        at, numerator=0.0 if crowded else busy_s, denominator=0.0 if crowded else completed
    )
    if window.denominator >= COMPLETIONS_MIN and window.numerator > 0.0:
        memory.service_s = window.numerator / window.denominator
