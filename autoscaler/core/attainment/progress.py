"""How many requests were within the objective since the last look, from counters of single replicas.

A histogram counts observations up to each of its bounds since the process began. Of the objective it
says how many lie below the next bound under it, and how many up to the next bound over it: the share
within the objective lies between, and is taken to rise evenly from the one to the other. What must never
look like requests:

- a replica seen for the first time: without an earlier sample there is no change. Only one that was
  watched from before it served began at zero;
- a restarted process: its counters begin anew, so all that it has counted came since;
- a replica that comes back after a gap: what it counted meanwhile is taken in when it is back;
- other bounds than at the last sample: then there is no change to tell, as at first sight.

A replica that vanishes takes with it what it counted since its last sample.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.spec import Objective
from autoscaler.core.contract.state import FloatArray, HistogramColumns, IntArray, ReplicaColumns
from autoscaler.core.replica_rows import find_rows

SUMS = (
    "first_tokens",
    "ttft_low",
    "ttft_within",
    "ttft_high",
    "paced",
    "tpot_low",
    "tpot_within",
    "tpot_high",
    "ended",
    "failed",
)
"""What is counted: requests that had their first token, and of these those surely, about and perhaps
within the objective; the same of those whose time per token is known; those that ended, and of these
those that were aborted or lost."""
_BASIS = 5
"""First rows of a table: the bounds around both objectives, and whether the pace is that of gaps."""
_TTFT, _TPOT = slice(0, 4), slice(4, 8)
"""Rows behind these, in the order of SUMS."""
_NOTHING = np.zeros(())
"""A number that need not be made an array on every use."""
_NEAR = 0.1
"""A bound is near an objective that it differs from by no more than this share of it."""
_GREATEST = math.nextafter(math.inf, 0.0)
_SAME = 1e-9
_FELL = -0.5
"""Counters rise by ones, so one that fell did so by a whole one; what is interpolated is rounded."""


class Around(NamedTuple):
    """Where an objective lies among the bounds of a histogram."""

    below: int
    """Row of the counts up to the bound under it; -1: there is none."""
    above: int
    """Up to the bound over it; as many as there are bounds: all."""
    low: float
    """That bound; 0: there is none."""
    high: float
    """The greatest float: there is none."""
    within: float
    """Share of the observations between the two that are taken to be within the objective."""
    near: bool
    """One of the two is near."""


@lru_cache(maxsize=256)
def around(bounds: tuple[float, ...], objective_s: float) -> Around:
    """Find the bounds around an objective.

    >>> around((1.0, 2.5, 5.0), 2.0)
    Around(below=0, above=1, low=1.0, high=2.5, within=0.6666666666666666, near=False)
    >>> around((1.0, 2.5, 5.0), 2.5).near
    True
    """
    above = bisect_left(bounds, objective_s * (1.0 - _SAME))
    high = bounds[above] if above < len(bounds) else _GREATEST
    if high <= objective_s * (1.0 + _SAME):
        return Around(above, above, high, high, 1.0, near=True)
    low = max(0.0, bounds[above - 1]) if above else 0.0
    # What is over the last bound may be anything: none of it is taken to be within.
    within = (objective_s - low) / (high - low) if above < len(bounds) else 0.0
    near = high <= objective_s * (1.0 + _NEAR) or low >= objective_s * (1.0 - _NEAR)
    return Around(above - 1, above, low, high, within, near=near)


def _nothing() -> FloatArray:
    return np.empty((_BASIS + len(SUMS), 0))


@dataclass(slots=True, kw_only=True)
class ProgressMemory:
    """The counters of each replica as last read. Part of the engine's memory."""

    at: float | None = None
    """The last look; None: there was none."""
    names: tuple[str, ...] = ()
    created_at: FloatArray = field(default_factory=lambda: np.empty(0))
    table: FloatArray = field(default_factory=_nothing)
    """[row, replica]: what the counts rest on, then SUMS; NaN: unknown."""


def read_progress(
    memory: ProgressMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    objective: Objective,
    lost: float,
) -> FloatArray:
    """Return SUMS of what came since the last look.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        replicas: all of them.
        objective: of the model.
        lost: requests that went with their replicas, surely.
    """
    table = _table(replicas, objective)
    before = memory.table
    found = find_rows(memory.names, memory.created_at, replicas=replicas, last_look=memory.at)
    if found is not None:
        before = found.carried(before)
        before[_BASIS:, found.begun] = 0.0  # with whatever bounds it has
    change = table - before
    counts, basis = change[_BASIS:], change[:_BASIS]
    fell = counts < _FELL
    # On almost every tick all is known and nothing rests on other bounds.
    rebased = np.abs(basis) > 0.0 if np.count_nonzero(basis) else None  # NaN is not
    if rebased is not None and np.count_nonzero(rebased):
        ttft, tpot = rebased[0:2].any(axis=0), rebased[2:5].any(axis=0)
        # Of all observations there may be fewer, of those up to another bound that says nothing.
        fell[1:4, ttft] = fell[5:8, tpot] = fell[4, rebased[4]] = False
        counts[_TTFT, ttft] = counts[_TPOT, tpot] = np.nan
    if np.count_nonzero(fell):
        counts = np.where(fell.any(axis=0), table[_BASIS:], counts)
    if replicas.token_gaps:
        _count_requests(counts, gaps=table[4] == 1.0)
    grown: FloatArray = np.add.reduce(np.fmax(counts, _NOTHING), axis=1)  # NaN is nothing
    if lost:
        grown[8:] += lost
    memory.at, memory.names, memory.created_at = at, replicas.name, replicas.created_at
    memory.table = np.where(np.isnan(table), before, table)
    return grown


def _table(replicas: ReplicaColumns, objective: Objective) -> FloatArray:
    """Read what the counters of each replica say now."""
    table = np.empty((_BASIS + len(SUMS), len(replicas)))
    table.fill(math.nan)
    counts = table[_BASIS:]
    _put(replicas.ttft, objective.ttft_s, basis=table[0:2], counts=counts[_TTFT])
    for gaps, histograms in enumerate((replicas.tpot, replicas.token_gaps)):
        _put(histograms, objective.tpot_s, basis=table[2:4], counts=counts[_TPOT])
        for histogram in histograms:
            table[4, _stretch(histogram.rows)] = gaps
    counts[8] = replicas.finished_requests_total
    counts[9] = replicas.aborted_requests_total
    return table


def _put(
    histograms: Sequence[HistogramColumns],
    objective_s: float,
    *,
    basis: FloatArray,
    counts: FloatArray,
) -> None:
    """Write what histograms say of an objective into the rows of a table."""
    for histogram in histograms:
        rows, given = histogram.rows, histogram.counts
        place = around(histogram.bounds, objective_s)
        below = given[place.below] if place.below >= 0 else np.zeros(len(rows))
        above = given[place.above]
        within = above - below
        within *= place.within
        within += below
        # One after the other, as they mostly are, they are written in half of the time.
        where = _stretch(rows)
        basis[0, where], basis[1, where] = place.low, place.high
        counts[0, where], counts[1, where] = given[-1], below
        counts[2, where], counts[3, where] = within, above


def _stretch(rows: IntArray) -> IntArray | slice:
    """Return ascending rows as the stretch that they are; themselves, where others lie between them."""
    count = len(rows)
    first = int(rows[0]) if count else 0
    return slice(first, first + count) if not count or rows[-1] - first == count - 1 else rows


def _count_requests(counts: FloatArray, *, gaps: FloatArray) -> None:
    """Where gaps between tokens stand for a request's pace, turn them into requests.

    The requests that ended whole are taken to have had the pace of the gaps that were counted meanwhile.
    """
    aborted = np.where(counts[9] > 0.0, counts[9], 0.0)
    whole = counts[8] - aborted
    share = np.where(counts[4] > 0.0, whole / np.where(counts[4] > 0.0, counts[4], 1.0), np.nan)
    counts[_TPOT] = np.where(gaps, counts[_TPOT] * share, counts[_TPOT])


def far_bounds(
    histograms: Sequence[HistogramColumns], objective_s: float
) -> tuple[float, float] | None:
    """Return the bounds around an objective of the first replicas that have none near; None: all have."""
    for histogram in histograms:
        place = around(histogram.bounds, objective_s)
        if not place.near:
            return place.low, math.inf if place.above == len(histogram.bounds) else place.high
    return None
