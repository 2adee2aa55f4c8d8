"""From counters to what happened in each step.

A counter that fell has started anew, so all of its value came after the restart. A value that is not
there is unknown: the steps it touches have no increase. So what a process finished before its first
scrape is not seen: at most one scrape interval's worth a start, where the alternative (to count its
first value) would count all of a process's past where only Prometheus is new.
"""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray

BRIDGE_STEPS = 2
"""A gap of up to so many missing values is bridged: one lost scrape is no hole. What the counter
grew by meanwhile is spread over the steps of the gap."""


def increases(values: FloatArray) -> FloatArray:
    """Increase in each step, one fewer than values; NaN: unknown."""
    steps = np.full(max(len(values) - 1, 0), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    lengths = np.diff(known)
    grown = np.diff(values[known])
    grown = np.where(grown < 0, values[known[1:]], grown)  # it started anew
    bridged = lengths <= 1 + BRIDGE_STEPS
    pace = np.where(bridged, grown / lengths, np.nan)
    if len(known):
        steps[known[0] : known[-1]] = np.repeat(pace, lengths)
    return steps


def total_increases(series: list[FloatArray]) -> tuple[FloatArray, BoolArray]:
    """Sum of the increases over series that come and go.

    Returns:
        (increase of each step over the series that are known in it, steps in which one is). A
        series that is away does not make its step unknown: pods come and go. A step in which all
        are away is a hole.
    """
    if not series:
        return np.zeros(0), np.zeros(0, dtype=np.bool_)
    table = np.vstack([increases(values) for values in series])
    known = ~np.isnan(table)
    total = np.asarray(np.nansum(table, axis=0), dtype=np.float64)
    return total, np.asarray(known.any(axis=0), dtype=np.bool_)


def gauge_changes(series: list[FloatArray]) -> FloatArray:
    """Change in each step of the sum of gauges that come and go.

    A pod that comes brings what it holds; one that goes takes it along (its requests were cut, or
    had ended): neither is a change that a request made, so each step counts the pods that are
    there at both of its ends.
    """
    if not series:
        return np.zeros(0)
    table = np.vstack(series)
    change = np.diff(table, axis=1)
    return np.asarray(np.nansum(change, axis=0), dtype=np.float64)


def stretches(steps: BoolArray) -> list[tuple[int, int]]:
    """[first, last) of each run of steps that are marked."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], steps, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
