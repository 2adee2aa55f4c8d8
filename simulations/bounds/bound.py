"""The bound of one trace: least cost at an attainment, in money.

The unit trap: the program counts work, attainment counts requests. `cost_usd(given_up_s)` takes the
work that may stay undone. A policy that missed a share of the requests is held against two of them:
the same share of the work (what its misses weigh on average), and the largest share of the work that
so many misses could carry. Nothing may beat the second one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.bounds.hull import Hull, hull
from simulations.bounds.pools import PoolTerms, step_prices_usd_per_hour, steps_available
from simulations.bounds.program import BoundPool, BoundWork, Solution, least_cost
from simulations.bounds.queue_bound import QueueBound
from simulations.bounds.work import least_work_s
from simulations.serving.columns import Int64Array, RequestColumns
from simulations.serving.profiles.profiles import Profile

STEPS_MAX = 3000
"""Coarser steps loosen the bound and keep the program to seconds."""
STEP_S_MIN = 10.0
TOLERANCE_RATIO = 1e-6
"""Of the solver: a ratio below 1 by more than this means that the judge is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Least costs of one trace; a lookup, once it is made."""

    work_s: float
    """Of all requests, replica-seconds."""
    heaviest_s: FloatArray
    """Work of the so many heaviest requests: 0, that of the heaviest, of the two heaviest, …"""
    step_s: float
    hull: Hull
    """In dollars over replica-steps."""
    solve: Callable[[float], Solution]
    """The program itself, at so many replica-steps given up."""
    queue: QueueBound | None = None
    """Of the same trace with its requests in one queue; None: nothing could be said."""

    def cost_usd(self, given_up_s: float) -> float:
        """Least cost of any schedule that leaves at most so many replica-seconds of work undone."""
        return self.hull.at(given_up_s / self.step_s)

    def at_attainment(self, attainment: float) -> float:
        """Least cost where the share `1 - attainment` of the work is given up."""
        return self.cost_usd((1.0 - attainment) * self.work_s)

    def headline(self, attainment: float, *, requests: int) -> float:
        """The larger of the program's and the queue's, where so large a share of `requests` attains."""
        least = self.at_attainment(attainment)
        if self.queue is None:
            return least
        return max(least, self.queue.at(round((1.0 - attainment) * requests)))

    def paid_at(self, attainment: float) -> tuple[FloatArray, FloatArray]:
        """A cheapest schedule at this attainment: hours, and the replicas paid for from then on."""
        given_up = (1.0 - attainment) * self.work_s / self.step_s
        paid = self.solve(given_up).paid
        hours: FloatArray = np.arange(len(paid), dtype=np.float64) * (self.step_s / 3600.0)
        return hours, paid

    def relaxed(self, missed: int) -> float:
        """Least cost where the `missed` heaviest requests are given up: nothing may beat it."""
        return self.cost_usd(float(self.heaviest_s[min(max(0, missed), len(self.heaviest_s) - 1)]))


def make_bound(
    requests: RequestColumns,
    profile: Profile,
    *,
    due_ns: Int64Array,
    span_s: float,
    start_s: float,
    pools: Sequence[PoolTerms],
    replicas_min: int,
    from_ns: int = 0,
    queue: QueueBound | None = None,
) -> Bound:
    """The bound of a trace.

    Args:
        requests: The trace, from its beginning: prefixes that came before `from_ns` are hits.
        profile: What one replica can do.
        due_ns: By when each request must be whole to meet its objective.
        span_s: Length of what is paid for, from `from_ns` to the trace's end.
        start_s: The shortest cold start that any replica can draw.
        pools: What can be bought.
        replicas_min: Replicas that every policy must keep.
        from_ns: Requests that arrive before are no work of this bound; the pools' clock begins there.
        queue: What stands beside the program in the headline.
    """
    # whole steps that end exactly where the trace does: nobody pays for a moment more
    steps = max(1, min(STEPS_MAX, int(span_s // STEP_S_MIN)))
    step_s = span_s / steps
    rows = requests.rows_from(from_ns)
    work_s = least_work_s(requests, profile)[rows]
    due_ns = due_ns[rows] - from_ns
    last = steps - 1
    arrival_ns = requests.arrival_ns[rows] - from_ns
    arrived_at = np.minimum(arrival_ns / (step_s * 1e9), last).astype(np.int64)
    due_at = np.minimum(due_ns / (step_s * 1e9), last).astype(np.int64)
    # what is due after the trace's end may be done after it, at no charge
    within = due_ns <= span_s * 1e9
    weight = work_s / step_s
    work = BoundWork(
        arrived=_by_step(arrived_at, weight, steps),
        due=_by_step(due_at[within], weight[within], steps),
    )
    moments: FloatArray = np.arange(steps, dtype=np.float64) * step_s
    bought = tuple(
        BoundPool(
            price_per_step=step_prices_usd_per_hour(terms.usd_per_hour, moments, step_s)
            * (step_s / 3600.0),
            start_steps=int(start_s // step_s),
            initial=terms.initial,
            available=steps_available(terms.available, moments, step_s),
        )
        for terms in pools
    )

    def solve(given_up: float) -> Solution:
        return least_cost(work, pools=bought, given_up=given_up, replicas_min=replicas_min)

    return Bound(
        work_s=float(work_s.sum()),
        heaviest_s=np.concatenate([[0.0], np.cumsum(np.sort(work_s)[::-1])]),
        step_s=step_s,
        hull=hull(solve, most=float(work.due.sum())),
        solve=solve,
        queue=queue,
    )


def _by_step(step: IntArray, weight: FloatArray, steps: int) -> FloatArray:
    return np.bincount(step, weights=weight, minlength=steps).astype(np.float64)
