"""Prefills that wait in one queue: the cheapest number of replicas over time, late requests at a price.

The linear program of `program` may leave out the work it gives up and let later requests overtake; a
queue does neither. Here every request's prefill is done, in order of arrival, by `n` replicas that
serve `n` replica-seconds a second; a request is late where the work before it and its own cannot be done
by its limit. Cost is replicas times time, and a start for each raise. The state is (replicas, backlog),
the program goes back in time over it: exact on its grid.

The price of a late request makes of "as cheap as possible with so many late" a problem without a limit.
What it finds at any price is, less price times the late requests allowed, a lower bound of the former
(weak duality); `least_usd` gives it, `schedule` a way that reaches it.

Rounding is downward: work to whole bins by its sum from the beginning, so that at no moment there is more
than one bin less or more than in truth, and a request is late only if it still is with a bin less. What
would wait more than `DROPPED_S` is dropped, at no cost but its own lateness: clients give up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.contract.state import FloatArray
from simulations.bounds.queue_sweep import QueueArrays, follow, sweep_back

DROPPED_S = 60.0
"""Half of a client's patience: what waits so long is never dropped later than in truth."""
BACKLOG_S = 20.0
"""Of the whole fleet at its largest: beyond it everything is late at any number of replicas."""
BINS_MAX = 1024
BINS_MIN = 128
CELLS = 4e8
"""States of one sweep over all its steps, about a second: coarser bins, then longer steps where there would be more."""
STEPS_S = (1.0, 2.0, 5.0, 10.0)
KEPT_BYTES = 64_000_000
"""Of values kept while a schedule is followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefills:
    """What waits, in order of arrival."""

    arrival_s: FloatArray
    work_s: FloatArray
    """Replica-seconds of each."""
    limit_s: FloatArray
    """From arrival to the end of its prefill; infinite: it is never late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTerms:
    """What replicas cost."""

    usd_per_s: FloatArray
    """(steps, replicas from 0): of so many in each step."""
    raise_usd: FloatArray
    """Of each step: of one replica more than in the step before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueGrid:
    """How time and backlog are cut."""

    step_s: float
    steps: int
    bin_s: float
    """Replica-seconds of a bin; a step of one replica is a whole number of them."""
    bins: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSchedule:
    """A cheapest way at one price."""

    replicas: NDArray[np.int64]
    """In each step."""
    late: int
    """Requests that are late on it."""


def queue_grid(span_s: float, *, replicas_max: int, cells: float = CELLS) -> QueueGrid:
    """A grid on which one sweep has about so many states over all its steps."""
    backlog_s = max(DROPPED_S, BACKLOG_S * replicas_max)
    for step_s in STEPS_S:
        steps = max(1, int(np.ceil(span_s / step_s)))
        bins = int(min(BINS_MAX, cells / (steps * (replicas_max + 1))))
        if bins >= BINS_MIN or step_s == STEPS_S[-1]:
            break
    bins = max(bins, BINS_MIN)
    # at least one bin a step of one replica, and a whole number of them
    parts = max(1, int(step_s * bins / backlog_s))
    bin_s = step_s / parts
    return QueueGrid(
        step_s=step_s, steps=steps, bin_s=bin_s, bins=1 + int(np.ceil(backlog_s / bin_s))
    )


class QueueProgram:
    """One program, made once; its methods take the price of a late request."""

    def __init__(self, prefills: Prefills, terms: QueueTerms, grid: QueueGrid) -> None:
        """Requests beyond the grid's end are left out."""
        counts = int(terms.usd_per_s.shape[1])
        step = (prefills.arrival_s // grid.step_s).astype(np.int64)
        rows = np.searchsorted(step, np.arange(grid.steps + 1)).astype(np.int64)
        inside = slice(0, int(rows[-1]))
        step, work_s = step[inside], prefills.work_s[inside]
        since_s = prefills.arrival_s[inside] - step * grid.step_s
        done = np.cumsum(work_s)
        before = done - work_s
        within_step = done - before[np.minimum(rows[step], max(0, len(before) - 1))]
        bins = np.floor(done / grid.bin_s + 1e-9)
        at_end = np.concatenate([[0.0], bins])[rows[1:]]
        numbers = np.arange(counts)
        parts = round(grid.step_s / grid.bin_s)
        self.grid = grid
        self._arrays = QueueArrays(
            serves=(numbers * parts).astype(np.int64),
            limits=np.minimum(numbers * DROPPED_S / grid.bin_s, grid.bins - 1).astype(np.int64),
            arrives=np.diff(at_end, prepend=0.0).astype(np.int64),
            usd=np.ascontiguousarray(terms.usd_per_s * grid.step_s),
            raise_usd=np.ascontiguousarray(terms.raise_usd, dtype=np.float64),
            rows=rows,
            slack_bins=np.minimum((since_s + prefills.limit_s[inside]) / grid.bin_s, 1e12),
            ahead_bins=within_step / grid.bin_s,
        )
        self._shape: tuple[int, int] = (counts, grid.bins)

    def least_usd(self, late_usd: float) -> float:
        """Least cost of any way, each late request at `late_usd`; it begins with any number for nothing."""
        return self._swept(late_usd, {})

    def schedule(self, late_usd: float) -> QueueSchedule:
        """A way that costs that."""
        checkpoints: dict[int, FloatArray] = {}
        self._swept(late_usd, checkpoints)
        state = np.array([-1, 0, 0], dtype=np.int64)
        chosen = np.zeros(self.grid.steps, dtype=np.int64)
        scratch, late = np.empty(self._shape), np.empty(self._shape[1])
        for first in sorted(checkpoints):
            last = min(first + self._segment, self.grid.steps)
            kept = np.empty((last - first, *self._shape))
            values = checkpoints[first]
            sweep_back(self._arrays, first, last, late_usd, values, scratch, late, kept)
            follow(self._arrays, first, last, late_usd, kept, state, chosen)
        return QueueSchedule(replicas=chosen, late=int(state[2]))

    @property
    def _segment(self) -> int:
        """Steps whose values are kept at a time."""
        counts, bins = self._shape
        return max(1, KEPT_BYTES // (8 * counts * bins))

    def _swept(self, late_usd: float, checkpoints: dict[int, FloatArray]) -> float:
        values, scratch = np.zeros(self._shape), np.empty(self._shape)
        late, nothing = np.empty(self._shape[1]), np.empty((0, *self._shape))
        for first in reversed(range(0, self.grid.steps, self._segment)):
            last = min(first + self._segment, self.grid.steps)
            checkpoints[first] = values.copy()
            sweep_back(self._arrays, first, last, late_usd, values, scratch, late, nothing)
        return float(values[:, 0].min())
