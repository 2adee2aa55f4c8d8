"""From counters and gauges of single replicas to what changed between two looks at them.

The arrivals at one replica between two of its samples are the change of what it holds (waiting and
running) plus the change of its counter of finished requests. What must never look like arrivals:

- a replica seen for the first time: without an earlier sample there is no change. Only one that was
  watched from before it served began at zero;
- a restarted process: its counter begins anew, so all it has counted and holds arrived since;
- a replica that comes back after a gap: its change is spread over its own interval, as a rate;
- one that vanishes takes what it held with it: those are no completions, and no negative arrivals;
- requests that a client gave up without being counted: a fall in what is held is no arrival.

And what must not look like work: a replica that *stands still*, whose gauges say that it holds requests
or KV blocks while no counter has moved for longer than any prefill takes. Its gauges have outlived their
cause, or its engine hangs. What it says it holds counts for nothing; what arrives at it counts as ever.

All replicas are read at once, as columns.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray, ReplicaColumns
from autoscaler.core.replica_rows import find_rows
from autoscaler.core.tuning import TUNING

Rows: TypeAlias = BoolArray | slice
"""Which rows of a column are meant: a mask, or `ALL` or `NONE`, which take no time to apply."""
ALL = slice(None)
NONE = slice(0)
EVERYONE_SERVES: tuple[Rows, Rows, Rows, Rows] = (ALL, ALL, NONE, NONE)
"""Those that answer; of these the ready ones, and those that start or leave; ready ones that do not
answer."""
ZERO = np.zeros(())
"""A number that need not be made an array on every use."""


class Queueing(NamedTuple):
    """The ready replicas at which requests wait, between their last two samples."""

    replicas: int
    waiting: float
    """Requests that wait at them."""
    finished: float
    """Requests that they finished."""
    replica_s: float
    """Seconds between the samples, summed over them."""


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
    tokens: list[float]
    """Tokens generated between them; NaN where they are not counted."""
    still: int
    """How many stand still; they are in the lists above as holding nothing."""
    mute: BoolArray | None
    """Rows of the ready ones that have not answered for long; they are in `silent` too. None: no row."""
    queueing: Queueing | None
    """Those at which requests wait; None: no row."""

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
    generated: FloatArray
    """The counter of generated tokens at that sample."""
    progress: FloatArray
    """Tokens prefilled and generated so far; of an engine that counts no tokens, finished requests."""
    moved_at: FloatArray
    """The last sample at which that had moved, or before which nothing was held."""
    heard_at: FloatArray
    """When it was last heard: by its last sample that said what it holds; before one, at first sight."""
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
            generated=nothing,
            progress=nothing,
            moved_at=nothing,
            heard_at=nothing,
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
    last = _align(last, replicas, last_look=last_look, at=at)
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
    progress, moved_at, still = _watch_progress(last, replicas, held=held, answers=answers)
    waiting, usage = replicas.waiting_requests, replicas.kv_usage_ratio
    counted = _Held(waiting=waiting, running=running, in_flight=held, kv_usage=usage)
    if still is not None:
        counted = _Held(*(np.where(still, 0.0, column) for column in counted))
        pairs = paired & ~still  # what hangs there is no measure of how long a request takes
    serves = answers & ready
    if np.count_nonzero(serves) == len(serves):
        answering, serving, others, silent = EVERYONE_SERVES
    else:
        answering, serving, others, silent = answers, serves, answers & ~ready, ready & ~answers
    readings = Readings(
        waiting=counted.waiting[answering].tolist(),
        running=counted.running[answering].tolist(),
        serving=counted.in_flight[serving].tolist(),
        kv_usage=counted.kv_usage[serving].tolist(),
        silent=last.in_flight[silent].tolist(),
        rates=rates[serving].tolist(),
        other_rates=rates[others].tolist(),
        busy=((running + last.running) * elapsed)[pairs].tolist(),
        completed=completed[pairs].tolist(),
        tokens=(replicas.generation_tokens_total - last.generated)[pairs].tolist(),
        still=0 if still is None else int(np.count_nonzero(still)),
        mute=None if silent is NONE else _find_mute(last, silent=silent, at=at),
        queueing=_find_queueing(
            counted.waiting > ZERO,
            of=(serves, paired),
            waiting=waiting,
            completed=completed,
            elapsed=elapsed,
        ),
    )
    latest = LastReadings(
        names=replicas.name,
        created_at=replicas.created_at,
        sampled_at=sampled,
        in_flight=held,
        running=running,
        finished=finished,
        generated=replicas.generation_tokens_total,
        progress=progress,
        moved_at=moved_at,
        heard_at=sampled,
        arrivals_per_s=rates,
    )
    if all_paired:  # an observation's columns are never written to: they can be kept
        return readings, latest
    starts = ~(answers | replicas.ready | replicas.deleting)
    return readings, _keep_older(last, latest, newer=newer, starts=starts, at=at)


def _find_queueing(
    rows: BoolArray,
    *,
    of: tuple[BoolArray, BoolArray],
    waiting: FloatArray,
    completed: FloatArray,
    elapsed: FloatArray,
) -> Queueing | None:
    """Sum up the rows that are also in both of the masks `of`."""
    if not np.count_nonzero(rows):
        return None  # almost every tick: nobody waits
    rows = rows & of[0] & of[1]
    count = np.count_nonzero(rows)
    if not count:
        return None
    return Queueing(
        replicas=int(count),
        waiting=float(waiting[rows].sum()),
        finished=float(completed[rows].sum()),
        replica_s=float(elapsed[rows].sum()),
    )


class _Held(NamedTuple):
    """What replicas say they hold, as columns."""

    waiting: FloatArray
    running: FloatArray
    in_flight: FloatArray
    kv_usage: FloatArray


def _watch_progress(
    last: LastReadings, replicas: ReplicaColumns, *, held: FloatArray, answers: BoolArray
) -> tuple[FloatArray, FloatArray, BoolArray | None]:
    """Look whether what is held is worked on.

    Returns:
        How far each replica is, when that last moved, and which rows stand still (None: no row).
    """
    sampled, usage = replicas.sampled_at, replicas.kv_usage_ratio
    tokens = replicas.prompt_tokens_total + replicas.generation_tokens_total
    untold = np.isnan(tokens)
    progress = tokens
    if np.count_nonzero(untold):
        progress = np.where(untold, replicas.finished_requests_total, tokens)
    same = progress == last.progress  # NaN is not: of what is not counted, nothing can be said
    if np.count_nonzero(same):
        same &= (last.in_flight > 0.0) | ((held == 0.0) & (usage > 0.0))
    if not np.count_nonzero(same):
        return progress, sampled, None
    moved_at = np.where(same, last.moved_at, sampled)
    patience_s = np.where(untold, TUNING.still_without_tokens_s, TUNING.still_s)
    still: BoolArray = answers & same & (sampled - moved_at > patience_s)
    return progress, moved_at, still if np.count_nonzero(still) else None


def _find_mute(last: LastReadings, *, silent: Rows, at: float) -> BoolArray | None:
    """Return the rows of silent replicas that have said nothing for long while we listened."""
    mute = np.zeros(len(last.names), dtype=np.bool_)
    mute[silent] = (at - last.heard_at > TUNING.mute_s)[silent]
    return mute if np.count_nonzero(mute) else None


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
        generated=np.where(newer, latest.generated, last.generated),
        progress=np.where(newer, latest.progress, last.progress),
        moved_at=np.where(newer, latest.moved_at, last.moved_at),
        heard_at=np.where(newer, latest.sampled_at, last.heard_at),
        arrivals_per_s=latest.arrivals_per_s,
    )


def _align(
    last: LastReadings, replicas: ReplicaColumns, *, last_look: float | None, at: float
) -> LastReadings:
    """Bring what is kept into the order of this look, and begin with replicas that are new."""
    found = find_rows(last.names, last.created_at, replicas=replicas, last_look=last_look)
    if found is None:
        return last
    # Together: each column alone takes as long as all of them.
    carried = found.carried(np.array(last[2:]))
    sampled_at, in_flight, running, finished, generated, *others = carried
    if last_look is not None:
        sampled_at[found.begun] = last_look
        carried[1:5, found.begun] = 0.0
    progress, moved_at, heard_at, arrivals_per_s = others
    return LastReadings(
        names=replicas.name,
        created_at=replicas.created_at,
        sampled_at=sampled_at,
        in_flight=in_flight,
        running=running,
        finished=finished,
        generated=generated,
        progress=progress,
        moved_at=moved_at,
        heard_at=np.where(found.kept, heard_at, at),
        arrivals_per_s=arrivals_per_s,
    )
