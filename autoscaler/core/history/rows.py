"""Puts the rows of a history right: in order, each moment once, on a regular grid, the impossible unknown.

A store of metrics gives what it has: rows twice where two answers meet, none where it was down, a counter
that began anew as a negative rate. None of that is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.state import BoolArray, FloatArray

ROWS_MAX = 11_000
"""The newest of them; more than a week of minutes, and what Prometheus answers at most."""
_MEANS = (
    "arrivals_per_s",
    "completed_per_s",
    "running_requests",
    "waiting_requests",
    "kv_usage_replicas",
    "replicas",
)


class SoundRows(NamedTuple):
    """What can be learnt from."""

    rows: HistoryColumns
    """In order of time, each `span_s` after the one before; unknown where there was none."""
    known: BoolArray
    """[row]: of which the load is known."""
    left_out: int
    """Rows of which the load was known and which are not among them."""


def sound_rows(
    given: HistoryColumns,
    *,
    after: float,
    until: float,
    seen: tuple[float, float] | None = None,
) -> SoundRows:
    """Take the rows of a span of time.

    Args:
        given: as it came.
        after: rows that end there or before are left out, seconds.
        until: rows that end later are left out.
        seen: from when until when the traffic was seen by us; rows that touch it are left out. None: of no time.
    """
    columns = {name: _no_nonsense(getattr(given, name)) for name in _MEANS}
    known = _is_known(columns)
    at = given.at
    use: BoolArray = np.isfinite(at) & (at > after) & (at <= until)
    if seen is not None:
        use &= (at <= seen[0]) | (at - given.span_s >= seen[1])
    rows = np.flatnonzero(use & known)
    if len(rows) == 0 or not given.span_s > 0.0:
        return SoundRows(_nothing(given), np.zeros(0, dtype=np.bool_), int(np.count_nonzero(known)))
    newest = float(at[rows].max())
    # Counted back from the newest: which place of the grid a row is next to.
    back = np.floor((newest - at[rows]) / given.span_s + 0.5)
    rows, back = rows[back < ROWS_MAX], back[back < ROWS_MAX]
    places, first = np.unique(back.astype(np.int64), return_index=True)
    rows = rows[first]
    count = int(places[-1]) + 1
    target = count - 1 - places
    filled = {name: np.full(count, np.nan) for name in _MEANS}
    for name, column in columns.items():
        filled[name][target] = column[rows]
    grid = newest - given.span_s * np.arange(count - 1, -1, -1, dtype=np.float64)
    sound = _columns(grid, span_s=given.span_s, means=filled)
    is_known = np.zeros(count, dtype=np.bool_)
    is_known[target] = True
    return SoundRows(sound, is_known, int(np.count_nonzero(known)) - len(rows))


def _no_nonsense(column: FloatArray) -> FloatArray:
    """Make unknown what is no quantity: negative, where a counter began anew, or endless."""
    sound: FloatArray = np.where((column >= 0.0) & (column < np.inf), column, np.nan)
    return sound


def _is_known(columns: dict[str, FloatArray]) -> BoolArray:
    """Tell of which rows the load is known: what arrives, or at least what is in flight."""
    arrivals = ~np.isnan(columns["arrivals_per_s"])
    in_flight = ~np.isnan(columns["running_requests"] + columns["waiting_requests"])
    known: BoolArray = arrivals | in_flight
    return known


def _nothing(given: HistoryColumns) -> HistoryColumns:
    empty = np.empty(0)
    return _columns(empty, span_s=given.span_s, means=dict.fromkeys(_MEANS, empty))


def _columns(at: FloatArray, *, span_s: float, means: dict[str, FloatArray]) -> HistoryColumns:
    return HistoryColumns(
        at=at,
        span_s=span_s,
        arrivals_per_s=means["arrivals_per_s"],
        completed_per_s=means["completed_per_s"],
        running_requests=means["running_requests"],
        waiting_requests=means["waiting_requests"],
        kv_usage_replicas=means["kv_usage_replicas"],
        replicas=means["replicas"],
    )
