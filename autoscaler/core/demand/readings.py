"""What replicas say, read by columns.

The same as the walk in `arrivals`, which says why; there is nothing to be found here that is not there.
`read_ordinary` is for the tick on which nothing is special, `read_columns` for any.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray, FloatOrNaN, ReplicaColumns

WATCH_LAG_S = 60.0
"""A pod created longer ago than this that appears only now is not new: our view had a gap."""
CREATION_RESOLUTION_S = 1.0
"""Kubernetes cuts times to whole seconds: a pod may seem created before it was."""

Kept: TypeAlias = tuple[float, FloatOrNaN, FloatOrNaN, FloatOrNaN, FloatOrNaN, FloatOrNaN]
"""Of one replica: created_at; sampled_at, requests in flight, running, counter of finished ones at its
last sample; arrivals per second between its last two. NaN: unknown. One that does not serve yet has
the last look at it as its sample, with nothing in flight."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """What all the replicas of a model say at one moment, in their order.

    Ready means ready and not deleting.
    """

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

    @property
    def ready(self) -> int:
        """How many are ready, whether they answer or not."""
        return len(self.serving) + len(self.silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastColumns:
    """What is kept of each replica, as columns in the order of the last look."""

    names: tuple[str, ...]
    created_at: FloatArray
    sampled_at: FloatArray
    in_flight: FloatArray
    running: FloatArray
    finished: FloatArray
    arrivals_per_s: FloatArray

    @classmethod
    def from_kept(cls, kept: dict[str, Kept]) -> LastColumns:
        """Turn rows into columns."""
        rows = np.array(list(kept.values()), dtype=np.float64).reshape(-1, 6).T
        return cls(
            names=tuple(kept),
            created_at=rows[0],
            sampled_at=rows[1],
            in_flight=rows[2],
            running=rows[3],
            finished=rows[4],
            arrivals_per_s=rows[5],
        )

    def to_kept(self) -> dict[str, Kept]:
        """Turn columns into rows."""
        rows = zip(
            self.created_at.tolist(),
            self.sampled_at.tolist(),
            self.in_flight.tolist(),
            self.running.tolist(),
            self.finished.tolist(),
            self.arrivals_per_s.tolist(),
            strict=True,
        )
        return dict(zip(self.names, rows, strict=True))


def read_ordinary(
    last: LastColumns, *, replicas: ReplicaColumns, fresh: BoolArray
) -> tuple[Reading, LastColumns] | None:
    """Read a tick on which all replicas are those of the last look, serve, and have answered anew.

    Returns:
        What they say and what is to be kept; None where one of them is special.
    """
    count = len(last.names)
    if (
        last.names != replicas.name
        or np.count_nonzero(fresh & replicas.ready) != count
        or np.count_nonzero(replicas.deleting) != 0
        or np.count_nonzero(last.created_at == replicas.created_at) != count
    ):
        return None
    elapsed = replicas.sampled_at - last.sampled_at
    held = replicas.waiting_requests + replicas.running_requests
    completed = replicas.finished_requests_total - last.finished
    newer = (elapsed > 0.0) & (completed >= 0.0)
    if np.count_nonzero(newer) != count:
        return None
    arrived = held - last.in_flight
    arrived += completed
    rates = np.maximum(arrived, 0.0) / elapsed
    if np.count_nonzero(rates >= 0.0) != count:  # NaN is not
        return None
    busy = replicas.running_requests + last.running
    busy *= elapsed
    reading = Reading(
        waiting=replicas.waiting_requests.tolist(),
        running=replicas.running_requests.tolist(),
        serving=held.tolist(),
        kv_usage=replicas.kv_usage_ratio.tolist(),
        rates=rates.tolist(),
        busy=busy.tolist(),
        completed=completed.tolist(),
    )
    # The columns of an observation are never written to; they can be kept as they are.
    return reading, LastColumns(
        names=replicas.name,
        created_at=replicas.created_at,
        sampled_at=replicas.sampled_at,
        in_flight=held,
        running=replicas.running_requests,
        finished=replicas.finished_requests_total,
        arrivals_per_s=rates,
    )


def read_columns(
    last: LastColumns,
    *,
    at: float,
    last_look: float | None,
    replicas: ReplicaColumns,
    fresh: BoolArray,
) -> tuple[Reading, LastColumns]:
    """Read all replicas at once; return what they say, and what is to be kept of them."""
    last = _align(last, replicas, last_look=last_look)
    sampled, running = replicas.sampled_at, replicas.running_requests
    finished = replicas.finished_requests_total
    held = replicas.waiting_requests + running
    serves = replicas.ready & ~replicas.deleting
    known = fresh & (held >= 0.0)
    newer = known & ~(sampled <= last.sampled_at)
    elapsed = np.where(newer, sampled - last.sampled_at, np.nan)
    completed = finished - last.finished
    paired = newer & (completed >= 0.0)
    arrived = np.where(paired, np.maximum(0.0, held - last.in_flight + completed), held + finished)
    rate = np.where(np.isnan(completed), np.nan, arrived) / elapsed
    rate = np.where(newer, rate, last.arrivals_per_s)
    begun = ~(known | serves | replicas.deleting)
    begun &= (last.in_flight == 0.0) & (last.finished == 0.0)
    reading = Reading(
        waiting=replicas.waiting_requests[known].tolist(),
        running=running[known].tolist(),
        serving=held[known & serves].tolist(),
        kv_usage=replicas.kv_usage_ratio[known & serves].tolist(),
        silent=last.in_flight[serves & ~known].tolist(),
        rates=rate[known & serves].tolist(),
        other_rates=rate[known & ~serves].tolist(),
        busy=((running + last.running) * elapsed)[paired].tolist(),
        completed=completed[paired].tolist(),
    )
    return reading, LastColumns(
        names=replicas.name,
        created_at=replicas.created_at,
        sampled_at=np.where(newer, sampled, np.where(begun, at, last.sampled_at)),
        in_flight=np.where(newer, held, last.in_flight),
        running=np.where(newer, running, np.where(begun, 0.0, last.running)),
        finished=np.where(newer, finished, last.finished),
        arrivals_per_s=rate,
    )


def _align(last: LastColumns, replicas: ReplicaColumns, *, last_look: float | None) -> LastColumns:
    """Bring what is kept into the order of this look, and begin with replicas that are new."""
    names, created_at = replicas.name, replicas.created_at
    if last.names == names and bool((last.created_at == created_at).all()):
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

    return LastColumns(
        names=names,
        created_at=created_at,
        sampled_at=carried(last.sampled_at, last_look),
        in_flight=carried(last.in_flight, 0.0),
        running=carried(last.running, 0.0),
        finished=carried(last.finished, 0.0),
        arrivals_per_s=carried(last.arrivals_per_s, None),
    )
