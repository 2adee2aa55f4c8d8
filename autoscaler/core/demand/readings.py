"""From counters and gauges of single replicas to what changed between two looks at them.

The arrivals at one replica between two of its samples are the change of what it holds (waiting and
running) plus the change of its counter of finished requests. What must never look like arrivals:

- a replica seen for the first time: without an earlier sample there is no change. Only one that was
  watched from before it served began at zero;
- a restarted process: its counter begins anew, so all it has counted and holds arrived since;
- a replica that comes back after a gap: its change is spread over its own interval, as a rate;
- one that vanishes takes what it held with it: those are no completions, and no negative arrivals;
- requests that a client gave up without being counted: a fall in what is held is no arrival.

All replicas are read at once, as columns.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from autoscaler.core.contract.state import (
    CREATION_RESOLUTION_S,
    BoolArray,
    FloatArray,
    ReplicaColumns,
)

WATCH_LAG_S = 60.0
"""A pod created longer ago than this that appears only now is not new: our view had a gap."""

Rows: TypeAlias = BoolArray | slice
"""Which rows of a column are meant: a mask, or `ALL` or `NONE`, which take no time to apply."""
ALL = slice(None)
NONE = slice(0)
EVERYONE_SERVES: tuple[Rows, Rows, Rows, Rows] = (ALL, ALL, NONE, NONE)
"""Those that answer; of these the ready ones, and those that start or leave; ready ones that do not
answer."""
ZERO = np.zeros(())
"""A number that need not be made an array on every use."""


class Readings(NamedTuple):
    """What all the replicas of a model say at one moment, in their order.

    Ready means ready and not deleting. A replica answers if its sample is recent and says what it
    holds.
    """

    waiting: list[float]
    """Of all that answer: what those that leave hold is still demand."""
    running: list[float]
    """Likewise."""
    serving: list[float]
    """Requests in flight of the ready ones that answer."""
    kv_usage: list[float]
    """Likewise; NaN where they do not say it."""
    silent: list[float]
    """Of the ready ones that do not answer: what they last held, NaN where that is unknown."""
    rates: list[float]
    """Arrivals per second of the ready ones that answer; NaN where unknown."""
    other_rates: list[float]
    """Of those that answer while they start or leave, likewise."""
    busy: list[float]
    """Running request-seconds between two samples: twice the trapezoid."""
    completed: list[float]
    """Completions between them."""

    @property
    def ready(self) -> int:
        """How many are ready, whether they answer or not."""
        return len(self.serving) + len(self.silent)


class LastReadings(NamedTuple):
    """What is kept of each replica, as columns in the order of the last look.

    NaN: unknown. A replica that does not serve yet has the last look at it as its sample, with
    nothing in flight. Part of the engine's memory.
    """

    names: tuple[str, ...]
    created_at: FloatArray
    sampled_at: FloatArray
    """When its last sample was taken."""
    in_flight: FloatArray
    """Requests waiting and running at that sample."""
    running: FloatArray
    finished: FloatArray
    """The counter of finished requests at that sample."""
    arrivals_per_s: FloatArray
    """Between its last two samples."""

    @classmethod
    def none(cls) -> LastReadings:
        """Begin: no replica was seen yet."""
        nothing = np.empty(0)
        return cls(
            names=(),
            created_at=nothing,
            sampled_at=nothing,
            in_flight=nothing,
            running=nothing,
            finished=nothing,
            arrivals_per_s=nothing,
        )


def read_replicas(
    last: LastReadings,
    *,
    at: float,
    last_look: float | None,
    replicas: ReplicaColumns,
    fresh: BoolArray,
) -> tuple[Readings, LastReadings]:
    """Read every replica once.

    Args:
        last: what is kept from the last look.
        at: now, seconds.
        last_look: when the last look was; None: there was none.
        replicas: all pods of the model.
        fresh: rows whose engine sample is recent enough to be used.

    Returns:
        What they say, and what is to be kept: samples that are newer than the kept ones take their
        place, and replicas that are gone are forgotten, together with what they held.
    """
    last = _align(last, replicas, last_look=last_look)
    sampled, running = replicas.sampled_at, replicas.running_requests
    finished = replicas.finished_requests_total
    held = replicas.waiting_requests + running
    ready = replicas.ready > replicas.deleting  # and not deleting
    answers = fresh & (held >= ZERO)  # NaN is not
    elapsed = sampled - last.sampled_at
    completed = finished - last.finished
    paired = answers & (elapsed > ZERO) & (completed >= ZERO)
    all_paired = np.count_nonzero(paired) == len(paired)
    newer = paired if all_paired else answers & ~(elapsed <= 0.0)  # NaN: its first sample
    arrived = np.maximum(held - last.in_flight + completed, ZERO)
    if all_paired:
        rates = arrived / elapsed
    else:
        elapsed = np.where(newer, elapsed, np.nan)
        restarted = completed < 0.0
        rates = np.where(restarted, held + finished, arrived) / elapsed
        rates = np.where(newer, rates, last.arrivals_per_s)
    pairs: Rows = ALL if all_paired else paired
    serves = answers & ready
    if np.count_nonzero(serves) == len(serves):
        answering, serving, others, silent = EVERYONE_SERVES
    else:
        answering, serving, others, silent = answers, serves, answers & ~ready, ready & ~answers
    readings = Readings(
        waiting=replicas.waiting_requests[answering].tolist(),
        running=running[answering].tolist(),
        serving=held[serving].tolist(),
        kv_usage=replicas.kv_usage_ratio[serving].tolist(),
        silent=last.in_flight[silent].tolist(),
        rates=rates[serving].tolist(),
        other_rates=rates[others].tolist(),
        busy=((running + last.running) * elapsed)[pairs].tolist(),
        completed=completed[pairs].tolist(),
    )
    latest = LastReadings(
        names=replicas.name,
        created_at=replicas.created_at,
        sampled_at=sampled,
        in_flight=held,
        running=running,
        finished=finished,
        arrivals_per_s=rates,
    )
    if all_paired:  # an observation's columns are never written to: they can be kept
        return readings, latest
    starts = ~(answers | replicas.ready | replicas.deleting)
    return readings, _keep_older(last, latest, newer=newer, starts=starts, at=at)


def _keep_older(
    last: LastReadings, latest: LastReadings, *, newer: BoolArray, starts: BoolArray, at: float
) -> LastReadings:
    """Keep the last sample of replicas that have no newer one.

    Args:
        last: what was kept, in the order of this look.
        latest: what this look says.
        newer: rows whose sample is newer than the kept one.
        starts: rows that neither serve nor answer. One that began at zero still has nothing in
            flight, so it is as if it had been sampled now.
        at: now, seconds.
    """
    idle = starts & (last.in_flight == 0.0) & (last.finished == 0.0)
    return LastReadings(
        names=latest.names,
        created_at=latest.created_at,
        sampled_at=np.where(newer, latest.sampled_at, np.where(idle, at, last.sampled_at)),
        in_flight=np.where(newer, latest.in_flight, last.in_flight),
        running=np.where(newer, latest.running, np.where(idle, 0.0, last.running)),
        finished=np.where(newer, latest.finished, last.finished),
        arrivals_per_s=latest.arrivals_per_s,
    )


def _align(
    last: LastReadings, replicas: ReplicaColumns, *, last_look: float | None
) -> LastReadings:
    """Bring what is kept into the order of this look, and begin with replicas that are new.

    One that cannot have served before began at zero: if it is ready already, it must have been
    created since the last look; if it is not, it may be somewhat older, because the watch lags. Of
    any other nothing is known. One of the same name that was created anew (a StatefulSet's) is
    another replica.
    """
    names, created_at = replicas.name, replicas.created_at
    if last.names == names and (
        last.created_at is created_at
        or np.count_nonzero(last.created_at == created_at) == len(names)
    ):
        return last
    row_of = {name: row for row, name in enumerate(last.names)}
    rows = np.array([row_of.get(name, -1) for name in names], dtype=np.int64)
    kept = rows >= 0
    kept[kept] = last.created_at[rows[kept]] == created_at[kept]
    begun = np.zeros(len(names), dtype=np.bool_)
    if last_look is not None:
        lag_s = np.where(replicas.ready, CREATION_RESOLUTION_S, WATCH_LAG_S)
        begun = ~kept & (created_at >= last_look - lag_s)

    def carried(column: FloatArray, beginning: float | None) -> FloatArray:
        moved = np.full(len(names), np.nan)
        moved[kept] = column[rows[kept]]
        if beginning is not None:
            moved[begun] = beginning
        return moved

    return LastReadings(
        names=names,
        created_at=created_at,
        sampled_at=carried(last.sampled_at, last_look),
        in_flight=carried(last.in_flight, 0.0),
        running=carried(last.running, 0.0),
        finished=carried(last.finished, 0.0),
        arrivals_per_s=carried(last.arrivals_per_s, None),
    )
