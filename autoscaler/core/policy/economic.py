"""Economic policy: as many replicas as are worth their cost.

The clairvoyant's own program, fed with the forecast's distribution: each replica is kept, awaited or
started as long as the unmet work that it is expected to spare, at the price that follows from the
objective, is worth more than its cost, start included. No target, no tolerance, no doubling:
hysteresis comes out of the start cost (and out of the stabilization window of one cold start, which
is a guard's). While requests wait, it proposes at least what the demand asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.forecast import Forecast
from autoscaler.core.policy import reactive
from autoscaler.core.policy.backlog import pressing_replicas
from autoscaler.core.policy.contract import PolicyInput, Proposal
from autoscaler.core.policy.replica_value import (
    ReplicaValues,
    price_of_unmet_work,
    steps_ahead,
)
from autoscaler.core.supply.supply import Supply
from autoscaler.core.tuning import ROUNDING

NAME = "economic"


def propose(given: PolicyInput, /) -> Proposal:
    """Propose the replicas that are worth their cost, at least the floor."""
    if given.demand.replicas is None:
        return Proposal(
            replicas=None, policy=NAME, reason=Reason.DEMAND_UNKNOWN, message=given.demand.message
        )
    if given.forecast is None:
        return _without_history(given)
    steps = steps_ahead(cold_start_s=given.cold_start_s, tick_s=given.tick_s)
    lambda_0 = price_of_unmet_work(given.attainment_ratio)
    likely = given.supply.total if given.likely is None else given.likely
    likely = min(max(likely, given.floor, 1), max(given.replicas_max, 1))
    values = ReplicaValues(
        given.forecast,
        steps=steps,
        price_ratio=lambda_0,
        likely=likely,
        carried_ratio=given.carried_ratio,
    )
    count = replicas_worth_their_cost(
        values,
        supply=given.supply,
        floor=given.floor,
        replicas_max=given.replicas_max,
        likely=likely,
    )
    replicas, reason = count, Reason.WORTH_ITS_COST
    pressing = pressing_replicas(given)
    if pressing is not None and math.ceil(pressing - ROUNDING) > replicas:
        replicas, reason = math.ceil(pressing - ROUNDING), Reason.REQUESTS_WAIT
    if given.floor > replicas:
        replicas, reason = given.floor, Reason.AT_FLOOR
    message = _account(values, count=count, given=given, minutes=steps.step_s / 60.0)
    message = f"{message}; {_ahead(given.forecast)}; {given.demand.message}"
    return Proposal(replicas=replicas, policy=NAME, reason=reason, message=message)


def _without_history(given: PolicyInput) -> Proposal:
    """Fall back on the reactive policy, and keep every replica: nothing is known yet."""
    proposal = reactive.propose(given)
    present = given.supply.total
    return proposal._replace(
        replicas=present if proposal.replicas is None else max(proposal.replicas, present),
        reason=Reason.NO_HISTORY,
        message=(
            f"the forecast has no history of one cold start ({given.cold_start_s:.0f} s) yet: "
            f"reactive, and never below the {present} there are; {proposal.message}"
        ),
    )


def replicas_worth_their_cost(
    values: ReplicaValues, *, supply: Supply, floor: int, replicas_max: int, likely: int
) -> int:
    """Count the replicas that are worth their cost: first the ready ones, then those that start, then new ones.

    Counting stops at the first that is not worth it. Where a replica is worth its cost, so is every
    lower one in the same state, so the last is found by halving. Below the floor replicas are kept
    whatever they are worth, so nobody asks: where not even replica `floor` is worth its cost, this is
    `floor` - 1.
    """
    ready = min(supply.ready, replicas_max)
    count = max(0, min(floor - 1, replicas_max))
    if count < ready:
        count = _last_worthy(values.stays, low=count, high=ready, likely=likely)
        if count < ready:
            return count
    for remaining_s in supply.starting_remaining_s[count - ready :]:
        if count >= replicas_max or not values.arrives(count + 1, remaining_s):
            return count
        count += 1
    high = count + 1
    while high <= replicas_max and values.starts(high):
        count, high = high, 2 * high - count  # one more, two more, four more
    top = min(high - 1, replicas_max)
    return _last_worthy(values.starts, low=count, high=top, likely=top)


def _last_worthy(worthy: Callable[[int], bool], *, low: int, high: int, likely: int) -> int:
    """Return the last replica in (low, high] up to which all are worthy; `low` if none is.

    The search begins at `likely`, where on most ticks it ends, and goes up or down from there in doubling strides.
    """
    bottom, unworthy, stride = low, high + 1, 1
    probe = min(max(likely, low + 1), high)
    while unworthy - low > 1:
        if worthy(probe):
            low = probe
        else:
            unworthy = probe
        if low == bottom:  # none is worthy yet
            probe = max(unworthy - stride, low + 1)
        elif unworthy > high:  # all are
            probe = min(low + stride, high)
        else:
            probe = (low + unworthy) // 2
        stride *= 2
    return low


def _account(values: ReplicaValues, *, count: int, given: PolicyInput, minutes: float) -> str:
    """Say what the highest replica that is worth it is worth, and what it costs."""
    if count < given.floor and given.floor > 1:
        return f"replica {given.floor} is kept as the floor's, and not worth its cost"
    if count == 0:
        return "no replica is worth its cost"
    remaining_s = _remaining_s(given.supply, count, given.cold_start_s)
    worth, cost = values.account(count, remaining_s=remaining_s)
    return (
        f"replica {count} is worth {worth * minutes:.1f} replica-minutes and costs "
        f"{cost * minutes:.1f}"
    )


def _remaining_s(supply: Supply, replica: int, cold_start_s: float) -> float:
    """Return the seconds until a replica, counted from 1, is ready."""
    if replica <= supply.ready:
        return 0.0
    if replica <= supply.total:
        return supply.starting_remaining_s[replica - supply.ready - 1]
    return cold_start_s


def _ahead(forecast: Forecast) -> str:
    return (
        f"forecast {forecast.mean_replicas:.2f} ({forecast.low_replicas:.2f} to "
        f"{forecast.high_replicas:.2f}) in {forecast.lead_s:.0f} s"
    )
