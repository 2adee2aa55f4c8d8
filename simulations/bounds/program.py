"""The clairvoyant bound where work may wait: a linear program, solved by HiGHS.

A request may be served any time between its arrival and the last moment at which its objective
still holds. Summed over requests that is: the work served by the end of a step is at least the work
that was due by then (less what is given up), and at most what had arrived. Replicas of a pool serve
`ready` a step and are paid `paid`; a replica that serves in step t was paid for in each of the
`start_steps` before, which in averages over steps reads `ready[t] <= paid[t - j]`. Each relation
holds for every real schedule (whole replicas, any moments inside a step), so the optimum is a lower
bound; coarser steps only loosen it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from autoscaler.core.state import FloatArray, IntArray
from autoscaler.errors import InvariantBroken


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPool:
    """Replicas of one price."""

    price_per_step: float
    start_steps: int
    """Whole steps of the shortest cold start: rounded down, so that it stays a bound."""
    initial: int
    """Ready before the first step."""
    available: FloatArray | None = None
    """Most replicas that can be had in each step; None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Work in replica-steps, by step of arrival and by the step by whose end it is due."""

    arrived: FloatArray
    due: FloatArray
    """Same total as `arrived`; the cumulated sum is never above that of `arrived`."""


def least_cost(
    work: Workload,
    *,
    pools: tuple[BoundPool, ...],
    given_up: float,
    replicas_min: int = 0,
) -> float:
    """Least cost of any schedule that leaves at most `given_up` replica-steps of work unserved.

    Args:
        work: What there is to do.
        pools: What it can be done with.
        given_up: Work that may stay undone, replica-steps, >= 0.
        replicas_min: Replicas, over all pools, that are always paid for.

    Returns:
        Cost in the unit of `price_per_step`.

    Raises:
        InvariantBroken: The solver found no optimum, which a feasible workload always has.
    """
    steps = len(work.arrived)
    program = _Program(steps=steps, pools=len(pools))
    cost = np.zeros(program.columns)
    upper = np.full(program.columns, np.inf)
    for index, pool in enumerate(pools):
        cost[program.paid(index)] = pool.price_per_step
        if pool.available is not None:
            upper[program.paid(index)] = pool.available
        # before the trace nothing but the initial replicas can have been paid for
        early = program.ready(index)[: pool.start_steps]
        upper[early] = np.minimum(upper[early], pool.initial)
    upper[program.served_by] = np.cumsum(work.arrived)
    upper[program.given_up_by] = given_up
    rows, limits = program.constraints(work, pools, replicas_min=replicas_min)
    solved = linprog(
        cost,
        A_ub=rows,
        b_ub=limits,
        bounds=np.column_stack([np.zeros(program.columns), upper]),
        method="highs",
    )
    if solved.status != 0:
        message = f"the bound's program was not solved: {solved.message}"
        raise InvariantBroken(message)
    return float(solved.fun)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """Where each variable stands, in blocks of one column a step.

    Per pool `paid` and `ready`; then the work served, and the work given up, by each step's end.
    Cumulated sums as variables keep every row sparse.
    """

    steps: int
    pools: int

    @property
    def columns(self) -> int:
        return (2 * self.pools + 2) * self.steps

    def _block(self, number: int) -> IntArray:
        return np.arange(number * self.steps, (number + 1) * self.steps)

    def paid(self, pool: int) -> IntArray:
        return self._block(2 * pool)

    def ready(self, pool: int) -> IntArray:
        return self._block(2 * pool + 1)

    @property
    def served_by(self) -> IntArray:
        return self._block(2 * self.pools)

    @property
    def given_up_by(self) -> IntArray:
        return self._block(2 * self.pools + 1)

    def constraints(
        self,
        work: Workload,
        pools: tuple[BoundPool, ...],
        *,
        replicas_min: int,
    ) -> tuple[sp.csr_matrix, FloatArray]:
        """All rows, as `rows @ x <= limits`."""
        steps = self.steps
        zero = np.zeros(steps)
        each = sp.eye(steps, format="csr")
        change = each - sp.eye(steps, k=-1, format="csr")  # this step's value less the last one's
        served, given_up = 2 * self.pools, 2 * self.pools + 1
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
        parts.append(({given_up: -change}, zero))
        parts.append(({served: -each, given_up: -each}, -np.cumsum(work.due)))
        if replicas_min:
            paid = {2 * index: -each for index in range(self.pools)}
            parts.append((paid, np.full(steps, -float(replicas_min))))
        table = [
            [part.get(block, sp.csr_matrix((len(limits), steps))) for block in range(given_up + 1)]
            for part, limits in parts
        ]
        return sp.bmat(table, format="csr"), np.concatenate([limits for _, limits in parts])
