"""A row against the bound of its trace: the headline figure, and the one that nothing may beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import InvariantBroken
from simulations.agenda import NS
from simulations.bounds.bound import Bound, make_bound
from simulations.bounds.pools import PoolTerms
from simulations.bounds.queue_bound import least_prefills, make_queue_bound
from simulations.bounds.work import shareable_tokens
from simulations.serving.columns import Int64Array, RequestColumns
from simulations.serving.objective import RequestObjective, prefill_s
from simulations.serving.profiles.profiles import Profile
from simulations.world.market.prices import lowest_spot_usd_per_hour
from simulations.world.market.spot import MachineLife

SOLVER_TOLERANCE = 1e-6
ALREADY_THERE = 1_000_000
"""Replicas ready before the trace: policies begin with what they like, so the bound may as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundFigures:
    """One row's cost against the least that anyone could have paid."""

    cost_usd: float
    """Of the clairvoyant at this row's attainment: the larger of the program's, the missed requests
    weighing the average, and the queue's, unless this row refutes that one."""
    ratio: float | None
    """This row's cost over that; None: the clairvoyant pays nothing."""
    relaxed_ratio: float | None
    """Against the clairvoyant that may miss as many requests, the heaviest ones: never below 1."""
    queue_usd: float | None = None
    """Of the queue alone; None: nothing could be said, or the row is cheaper, having several queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookaheadFigures:
    """What a perfect forecast of one cold start came to on the same trace and seed."""

    cost_usd: float
    attainment: float
    ratio: float | None
    """Its cost over the clairvoyant's at its own attainment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFigures:
    """One row's cost against the cheapest schedules that were found in hindsight and replayed."""

    cost_usd: float | None
    """Of those at this row's attainment, on their lower hull; None: none attains as much."""
    attainment: float | None
    """The highest that any of them reached on this trace and seed."""
    ratio: float | None
    """This row's cost over that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSchedule:
    """What the clairvoyant pays for over time."""

    attainment: float
    """That it keeps."""
    hours: Sequence[float]
    replicas: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCurve:
    """The clairvoyant's cost over attainment, on one trace."""

    trace: str
    attainment: Sequence[float]
    cost_usd: Sequence[float]
    schedule: BoundSchedule | None = None


def trace_bound(
    requests: RequestColumns,
    profile: Profile,
    objective: RequestObjective,
    *,
    end_ns: int,
    start_s: float,
    spot: Sequence[MachineLife] | None,
    replicas_max: int | None = None,
    from_ns: int = 0,
) -> Bound:
    """The bound for every policy on this trace.

    Args:
        requests: As they are replayed, scaled.
        profile: Of a replica.
        objective: What each request is owed.
        end_ns: The trace's end: payment stops there.
        start_s: The shortest cold start that can be drawn.
        spot: Lives of the spot machines, one replica each; None: all is on demand.
        replicas_max: Most that any policy has; None: the program alone, without the queue.
        from_ns: Where the score begins: what arrives before is no work, what is ready then was paid for.
    """
    pools = [PoolTerms(usd_per_hour=profile.usd_per_hour, initial=ALREADY_THERE)]
    if spot is not None:
        pools.append(
            PoolTerms(
                # where the price moves: the lowest of each step, so that it stays a bound
                usd_per_hour=lambda start_ns, until_ns: lowest_spot_usd_per_hour(
                    profile, from_ns=from_ns + start_ns, until_ns=from_ns + until_ns
                ),
                initial=ALREADY_THERE,
                available=_available(spot, from_ns=from_ns),
            )
        )
    span_s = max((end_ns - from_ns) / NS, 1.0)
    # a fleet on spot can lose its last machine, and for a while nobody pays for anything
    replicas_min = 1 if spot is None else 0
    queue = None
    if replicas_max is not None:
        queue = make_queue_bound(
            least_prefills(
                requests, profile, objective.ttft_limits_s(requests, profile), from_ns=from_ns
            ),
            span_s=span_s,
            start_s=start_s,
            pools=pools,
            replicas_min=replicas_min,
            # a fallback is on top of what a policy may have
            replicas_max=replicas_max if spot is None else 2 * replicas_max,
        )
    return make_bound(
        requests,
        profile,
        due_ns=_due_ns(requests, profile, objective),
        span_s=span_s,
        start_s=start_s,
        pools=pools,
        replicas_min=replicas_min,
        from_ns=from_ns,
        queue=queue,
    )


def bound_figures(
    *,
    name: str,
    cost_usd: float,
    attainment: float,
    requests: int,
    bound: Bound,
    replicas_most: int | None = None,
) -> BoundFigures:
    """Hold a row against its bound; `replicas_most` are the most that it paid for at once.

    Raises:
        InvariantBroken: The row beats the relaxed bound, or, with one replica, the queue's: then the
            judge is wrong, not the row good.
    """
    missed = round((1.0 - attainment) * requests)
    least = bound.at_attainment(attainment)
    relaxed = bound.relaxed(missed)
    if cost_usd < relaxed * (1.0 - SOLVER_TOLERANCE):
        message = (
            f"{name}: cost {cost_usd:.6f} is below the clairvoyant's {relaxed:.6f} with the {missed} "
            "heaviest requests given up; the serving model or the bound is wrong"
        )
        raise InvariantBroken(message)
    queue_usd = None if bound.queue is None else bound.queue.at(missed)
    if queue_usd is not None and cost_usd < queue_usd * (1.0 - SOLVER_TOLERANCE):
        if replicas_most == 1:
            message = (
                f"{name}: cost {cost_usd:.6f} of one replica is below the {queue_usd:.6f} of one queue "
                f"with {missed} requests late; the serving model or the bound is wrong"
            )
            raise InvariantBroken(message)
        # several queues: proven of one alone, and refuted here
        queue_usd = None
    least = max(least, queue_usd or 0.0)
    return BoundFigures(
        cost_usd=least,
        ratio=cost_usd / least if least > 0 else None,
        relaxed_ratio=cost_usd / relaxed if relaxed > 0 else None,
        queue_usd=queue_usd,
    )


def unlimited_attainment(
    requests: RequestColumns,
    profile: Profile,
    objective: RequestObjective,
    *,
    from_ns: int = 0,
) -> float:
    """Share of requests that an idle replica each would serve within the objective.

    What no scaling can exceed: prefixes that any earlier request had are taken as hits. Of the
    requests that arrive at `from_ns` or later.
    """
    rows = requests.rows_from(from_ns)
    if rows.start == rows.stop:
        return 1.0
    computed = np.maximum(requests.prompt_tokens - shareable_tokens(requests), 1).astype(np.int64)
    alone = RequestColumns(
        arrival_ns=requests.arrival_ns,
        prompt_tokens=computed,
        output_tokens=requests.output_tokens,
    )
    limits = objective.ttft_limits_s(requests, profile)
    pace_s = (
        profile.step_ns
        + profile.pause_ns
        + profile.pause_decode_ns
        + profile.kv_token_ns * requests.prompt_tokens.astype(np.float64)
    ) / NS
    met = (prefill_s(alone, profile) <= limits) & (
        (pace_s <= objective.tpot_s) | (requests.output_tokens <= 1)
    )
    return float(met[rows].mean())


def _due_ns(requests: RequestColumns, profile: Profile, objective: RequestObjective) -> Int64Array:
    """When a request that meets its objective has ended at the latest."""
    tokens = np.maximum(requests.output_tokens, 1) - 1
    allowed_s = objective.ttft_limits_s(requests, profile) + tokens * objective.tpot_s
    return requests.arrival_ns + np.ceil(allowed_s * NS).astype(np.int64)


def _available(lives: Sequence[MachineLife], *, from_ns: int = 0) -> tuple[FloatArray, FloatArray]:
    """Moments since `from_ns`, and the number of machines that exist from each on."""
    changes: dict[int, int] = {0: 0}
    for life in lives:
        up_ns, down_ns = max(life.up_ns - from_ns, 0), max(life.down_ns - from_ns, 0)
        changes[up_ns] = changes.get(up_ns, 0) + 1
        changes[down_ns] = changes.get(down_ns, 0) - 1
    moments = sorted(changes)
    counts = np.cumsum([changes[moment] for moment in moments]).astype(np.float64)
    return np.array(moments, dtype=np.float64) / NS, counts
