"""A lower bound of what a fleet pays whose requests wait in one queue: `queue`, made a relaxation of the replay.

The schedule of any run becomes one of the program's that pays no more and serves no less:

- *Raised earlier.* A request that is sent in a step is late only if all replicas that serve until its limit
  could not do the work before it; the program counts them from the step on. So its schedule has at each
  step the most that the run has until the longest limit `W` after the step. Each raise comes up to `W` and
  two steps earlier: so much is taken off the price of a start. Requests whose limit is longer than that of
  99.9 % are never late.
- *Paid less.* A start costs the shortest cold start that can be drawn; the first step, and what lies behind
  the trace's end, is free.
- *Least work.* Of each request its prefill alone, at the least that a step can take for it (`work`), hits
  on all prefixes seen before taken off. Decodes run beside it for nothing.

That is proven where there is one queue: of a run that never had more than one replica. Several replicas
have a queue each, behind a router that cannot move what it has sent: a replica that is started into an
overload serves what arrives from then on at once, where one queue would work off its backlog first; and
what is late in one queue does not hold up another. So it is a yardstick there, and no proof: a row that is
below it refutes it (`figures`). Seen so only in deep overload.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import FloatArray
from simulations.agenda import NS
from simulations.bounds.pools import PoolTerms, step_prices_usd_per_hour, steps_available
from simulations.bounds.queue import Prefills, QueueGrid, QueueProgram, QueueTerms, queue_grid
from simulations.bounds.work import least_work_s
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.profiles import Profile

LIMIT_QUANTILE = 0.999
PRICES_MAX = 24
PRICE_FACTOR = 1.8
"""From one price of a late request to the next."""
PRICE_FIRST_S = 0.25
"""The first of them, in seconds of a replica."""
RISE_LEAST = 1e-4
"""Of the least cost, from one price to the next: below it nothing is late any more."""
MARKET_STEP_S = 30.0
"""Spot prices and machines are looked up so finely, rounded so that it stays a bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBound:
    """Lines below the least cost over late requests."""

    late_usd: FloatArray
    """Prices of a late request, ascending."""
    least_usd: FloatArray
    """Least cost at each, late requests included."""

    def at(self, missed: float) -> float:
        """Least dollars of any schedule on which so many requests, or fewer, are late."""
        return float(max(0.0, (self.least_usd - self.late_usd * missed).max()))


def least_prefills(
    requests: RequestColumns, profile: Profile, limits_s: FloatArray, *, from_ns: int = 0
) -> Prefills:
    """The prefills of the requests that arrive at `from_ns` or later, at the least they can cost.

    `limits_s` are from sending to the first token that a client sees, of all requests.
    """
    rows = requests.rows_from(from_ns)
    alone = RequestColumns(
        arrival_ns=requests.arrival_ns,
        prompt_tokens=requests.prompt_tokens,
        output_tokens=np.ones(len(requests), dtype=np.int64),
        block_tokens=requests.block_tokens,
        blocks=requests.blocks,
        block_ends=requests.block_ends,
    )
    around_s = (profile.before_ns + profile.after_ns) / NS
    return Prefills(
        arrival_s=(requests.arrival_ns[rows] - from_ns) / NS,
        work_s=least_work_s(alone, profile)[rows],
        limit_s=limits_s[rows] - around_s,
    )


def make_queue_bound(
    prefills: Prefills,
    *,
    span_s: float,
    start_s: float,
    pools: Sequence[PoolTerms],
    replicas_min: int,
    replicas_max: int,
) -> QueueBound | None:
    """The bound; None: starts are so short that moving them by a request's limit leaves nothing of it.

    Args:
        prefills: On a clock that begins where payment does.
        span_s: How long is paid for.
        start_s: The shortest cold start that any replica can draw.
        pools: What can be bought.
        replicas_min: Replicas that every policy must keep.
        replicas_max: Most that any has.
    """
    grid = queue_grid(span_s, replicas_max=replicas_max)
    moved_s = 2 * grid.step_s
    # a fleet that lost all it had is without any for a step at least, and has lost its backlog too
    longest_s = start_s - moved_s - grid.step_s
    if not len(prefills.limit_s) or longest_s <= float(prefills.limit_s.min()):
        return None
    longest_s = min(longest_s, float(np.quantile(prefills.limit_s, LIMIT_QUANTILE)))
    prices = _prices_usd_per_s(pools, grid, replicas_max=replicas_max)
    least, most = float(prices.min()), float(prices.max())
    step_at_s = np.arange(grid.steps) * grid.step_s
    program = QueueProgram(
        Prefills(
            arrival_s=prefills.arrival_s,
            work_s=prefills.work_s,
            # what arrives so late that it may be served behind the end is not held against anybody
            limit_s=np.where(
                (prefills.limit_s <= longest_s) & (prefills.arrival_s + longest_s <= span_s),
                prefills.limit_s,
                np.inf,
            ),
        ),
        QueueTerms(
            usd_per_s=_least_usd_per_s(prices, grid, span_s=span_s, replicas_min=replicas_min),
            raise_usd=np.maximum(
                0.0,
                # a start that began before the beginning was paid for only from there
                np.minimum(start_s, step_at_s) * least - (longest_s + moved_s) * most,
            ),
        ),
        grid,
    )
    unit = least if least > 0.0 else most
    late, found = [0.0], [program.least_usd(0.0)]
    price = PRICE_FIRST_S * unit
    while len(late) < PRICES_MAX:
        late.append(price)
        found.append(program.least_usd(price))
        if found[-1] - found[-2] <= RISE_LEAST * found[-1] and found[-1] > found[0]:
            break
        price *= PRICE_FACTOR
    return QueueBound(late_usd=np.array(late), least_usd=np.array(found))


def _prices_usd_per_s(
    pools: Sequence[PoolTerms], grid: QueueGrid, *, replicas_max: int
) -> FloatArray:
    """(steps, replicas): what the first, the second, … replica costs a second in each step, cheapest first."""
    every = max(1, int(MARKET_STEP_S // grid.step_s))
    block_s = every * grid.step_s
    moments: FloatArray = np.arange(-(-grid.steps // every), dtype=np.float64) * block_s
    prices = np.full((len(moments), replicas_max), np.inf)
    numbers = np.arange(replicas_max)
    for pool in pools:
        each = step_prices_usd_per_hour(pool.usd_per_hour, moments, block_s) / 3600.0
        there = steps_available(pool.available, moments, block_s)
        had = np.full(len(moments), np.inf) if there is None else there
        # one pool without a limit makes up for those that the others do not have
        offered = np.where(numbers < had[:, None], each[:, None], np.inf)
        prices = np.sort(np.concatenate([prices, offered], axis=1), axis=1)[:, :replicas_max]
    spread: FloatArray = np.repeat(prices, every, axis=0)[: grid.steps]
    return spread


def _least_usd_per_s(
    prices: FloatArray, grid: QueueGrid, *, span_s: float, replicas_min: int
) -> FloatArray:
    """(steps, replicas from 0): what so many cost a second; the first step and the rest of the last are free."""
    usd = np.concatenate([np.zeros((grid.steps, 1)), np.cumsum(prices, axis=1)], axis=1)
    usd[:, :replicas_min] = usd[:, [replicas_min]]
    paid_s = np.clip(span_s - np.arange(grid.steps) * grid.step_s, 0.0, grid.step_s)
    paid_s[0] = 0.0
    least: FloatArray = usd * (paid_s / grid.step_s)[:, None]
    return least
