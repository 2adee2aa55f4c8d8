"""The clairvoyant bound where work may wait: a linear program, solved by HiGHS.

A request may be served any time between its arrival and the last moment at which its objective
still holds. Summed over requests that is: the work served by the end of a step is at least the work
that was due by then (less what is given up), and at most what had arrived. Replicas of a pool serve
`ready` a step and are paid `paid`; a replica that serves in step t was paid for in each of the
`start_steps` before, which in averages over steps reads `ready[t] <= paid[t - j]`. Each relation
holds for every real schedule (whole replicas, any moments inside a step), so the optimum is a lower
bound; coarser steps only loosen it.

The multipliers of a solved program are feasible for any other amount given up, so that each solution
is a line below the whole curve of least costs (weak duality): `hull` draws the curve from few of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from autoscaler.core.contract.state import FloatArray, IntArray
from autoscaler.errors import InvariantBroken


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPool:
    """Replicas of one price."""

    price_per_step: float | FloatArray
    """One for all steps, or of each."""
    start_steps: int
    """Whole steps of the shortest cold start: rounded down, so that it stays a bound."""
    initial: int
    """Ready before the first step."""
    available: FloatArray | None = None
    """Most replicas that can be had in each step; None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundWork:
    """Work in replica-steps, by step of arrival and by the step by whose end it is due."""

    arrived: FloatArray
    due: FloatArray
    """Same total as `arrived`; the cumulated sum is never above that of `arrived`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Least cost at one amount given up, and the line that it puts below the cost at any other."""

    given_up: float
    """Replica-steps."""
    cost: float
    slope: float
    """Of cost over what is given up: what one more replica-step of it would save, negative or 0."""
    paid: FloatArray
    """Replicas of all pools paid for in each step."""


def least_cost(
    work: BoundWork,
    *,
    pools: tuple[BoundPool, ...],
    given_up: float,
    replicas_min: int = 0,
) -> Solution:
    """Least cost of any schedule that leaves at most `given_up` replica-steps of work unserved.

    Args:
        work: What there is to do.
        pools: What it can be done with.
        given_up: Work that may stay undone, replica-steps, >= 0.
        replicas_min: Replicas, over all pools, that are always paid for.

    Returns:
        The cost, in the unit of `price_per_step`.

    Raises:
        InvariantBroken: The solver found no optimum, which a feasible workload always has.
    """
    program = _Program(steps=len(work.arrived), pools=len(pools))
    cost = np.zeros(program.columns)
    lower = np.zeros(program.columns)
    upper = np.full(program.columns, np.inf)
    for index, pool in enumerate(pools):
        cost[program.paid(index)] = pool.price_per_step
        if pool.available is not None:
            upper[program.paid(index)] = pool.available
        # before the trace nothing but the initial replicas can have been paid for
        early = program.ready(index)[: pool.start_steps]
        upper[early] = np.minimum(upper[early], pool.initial)
    arrived = np.cumsum(work.arrived)
    owed = np.cumsum(work.due) - given_up
    # two sums of the same numbers in another order may differ in their last digits
    lower[program.served_by] = np.clip(owed, 0.0, arrived)
    upper[program.served_by] = arrived
    rows, limits = program.constraints(pools, replicas_min=replicas_min)
    solved = linprog(
        cost,
        A_ub=rows,
        b_ub=limits,
        bounds=np.column_stack([lower, upper]),
        method="highs-ds",
    )
    if solved.status != 0:
        message = f"the bound's program was not solved: {solved.message}"
        raise InvariantBroken(message)
    gains = solved.lower.marginals[program.served_by][owed > 0]
    return Solution(
        given_up=given_up,
        cost=float(solved.fun),
        slope=-float(gains.sum()),
        paid=np.sum([solved.x[program.paid(index)] for index in range(len(pools))], axis=0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """Where each variable stands, in blocks of one column a step.

    Per pool `paid` and `ready`; then the work served by each step's end. Cumulated sums as variables
    keep every row sparse, and make bounds of what arrived and of what is due less what is given up.
    """

    steps: int
    pools: int

    @property
    def columns(self) -> int:
        return (2 * self.pools + 1) * self.steps

    def _block(self, number: int) -> IntArray:
        return np.arange(number * self.steps, (number + 1) * self.steps)

    def paid(self, pool: int) -> IntArray:
        return self._block(2 * pool)

    def ready(self, pool: int) -> IntArray:
        return self._block(2 * pool + 1)

    @property
    def served_by(self) -> IntArray:
        return self._block(2 * self.pools)

    def constraints(
        self,
        pools: tuple[BoundPool, ...],
        *,
        replicas_min: int,
    ) -> tuple[sp.csr_matrix, FloatArray]:
        """All rows, as `rows @ x <= limits`."""
        steps = self.steps
        zero = np.zeros(steps)
        each = sp.eye(steps, format="csr")
        change = each - sp.eye(steps, k=-1, format="csr")  # this step's value less the last one's
        served = 2 * self.pools
        parts: list[tuple[dict[int, sp.csr_matrix], FloatArray]] = []
        for index, pool in enumerate(pools):
            for back in range(min(pool.start_steps, steps - 1) + 1):
                before = sp.eye(steps, k=-back, format="csr")[back:]
                parts.append(
                    ({2 * index + 1: each[back:], 2 * index: -before}, np.zeros(steps - back))
                )
        at_work = {2 * index + 1: -each for index in range(self.pools)}
        parts.append(({served: change, **at_work}, zero))
        parts.append(({served: -change}, zero))
        if replicas_min:
            paid = {2 * index: -each for index in range(self.pools)}
            parts.append((paid, np.full(steps, -float(replicas_min))))
        table = [
            [part.get(block, sp.csr_matrix((len(limits), steps))) for block in range(served + 1)]
            for part, limits in parts
        ]
        return sp.bmat(table, format="csr"), np.concatenate([limits for _, limits in parts])
