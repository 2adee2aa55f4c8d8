"""From a finished run to its timeline."""

from __future__ import annotations

import itertools

import numpy as np

from autoscaler.core.contract.state import CapacityType, FloatArray
from simulations.agenda import NS
from simulations.replay.run import Run
from simulations.results.scorecard import Timeline, latencies
from simulations.serving.columns import NEVER, RequestOutcome

POINTS_MAX = 720
"""A day at two minutes; a phone shows no more."""


def timeline(run: Run) -> Timeline:
    """Sample a finished run."""
    slot_ns = max(10 * NS, -(-run.end_ns // POINTS_MAX))
    slots = max(1, -(-run.end_ns // slot_ns))
    edges = np.arange(slots + 1, dtype=np.int64) * slot_ns
    middles = edges[:-1] + slot_ns // 2
    payments = run.ledger.closed(at_ns=run.end_ns)

    def paid(kind: CapacityType) -> FloatArray:
        spans = [(p.from_ns, p.to_ns) for p in payments if p.capacity_type == kind]
        begin, end = np.array(spans, dtype=np.int64).reshape(-1, 2).T
        return _mean_count(begin, end, edges)

    def slots_of(moments_ns: np.ndarray) -> np.ndarray:
        return np.asarray(np.minimum(moments_ns // slot_ns, slots - 1))

    arrival = run.requests.arrival_ns
    results = run.results
    first = np.where(results.first_token_ns != NEVER, results.first_token_ns, results.finished_ns)
    lost_ns = results.finished_ns[results.outcome == RequestOutcome.LOST]
    interrupted_ns = np.array(run.ledger.interrupted_ns, dtype=np.int64)
    return Timeline(
        hours=middles / (3600.0 * NS),
        on_demand=paid(CapacityType.ON_DEMAND),
        spot=paid(CapacityType.SPOT),
        waiting=_count_at(arrival, first, middles),
        ttft_p95_s=_p95(run, slots_of(arrival), slots),
        lost=np.bincount(slots_of(lost_ns), minlength=slots).astype(np.float64),
        interruptions=np.bincount(slots_of(interrupted_ns), minlength=slots).astype(np.float64),
    )


def _count_at(begin: np.ndarray, end: np.ndarray, moments: np.ndarray) -> FloatArray:
    """How many intervals are open at each moment."""
    began = np.searchsorted(np.sort(begin), moments, side="right")
    ended = np.searchsorted(np.sort(end), moments, side="right")
    return (began - ended).astype(np.float64)


def _mean_count(begin: np.ndarray, end: np.ndarray, edges: np.ndarray) -> FloatArray:
    """Mean number of open intervals in each slot, exactly: the area under the count."""
    area = np.zeros(len(edges))
    for part, sign in ((begin, 1.0), (end, -1.0)):
        moments = np.sort(part)
        sums = np.concatenate([[0.0], np.cumsum(moments, dtype=np.float64)])
        count = np.searchsorted(moments, edges, side="right")
        area += sign * (count * edges.astype(np.float64) - sums[count])
    return np.diff(area) / np.diff(edges)


def _p95(run: Run, slot_of: np.ndarray, slots: int) -> FloatArray:
    ttft_s, _ = latencies(run.requests, run.results)
    done = run.results.outcome == RequestOutcome.COMPLETED
    p95 = np.full(slots, np.nan)
    order = np.argsort(slot_of[done], kind="stable")
    values = ttft_s[done][order]
    bounds = np.searchsorted(slot_of[done][order], np.arange(slots + 1))
    for slot, (start, stop) in enumerate(itertools.pairwise(bounds)):
        if stop > start:
            p95[slot] = np.percentile(values[start:stop], 95)
    return p95
