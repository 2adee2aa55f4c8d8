"""Reactive policy: the demand of this moment and a fifth more.

It serves when the forecast is switched off, and until there is history.
"""

from __future__ import annotations

import math

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.policy.backlog import pressing_replicas
from autoscaler.core.policy.contract import PolicyInput, Proposal
from autoscaler.core.tuning import ROUNDING, TUNING

NAME = "reactive"


def propose(given: PolicyInput, /) -> Proposal:
    """Propose `ceil(1.2 * demand)`, at least the floor."""
    demand = given.demand.replicas
    if demand is None:
        return Proposal(
            replicas=None, policy=NAME, reason=Reason.DEMAND_UNKNOWN, message=given.demand.message
        )
    if given.offered_replicas is not None:
        demand = max(given.offered_replicas / given.carried_ratio, pressing_replicas(given) or 0.0)
    else:
        demand /= given.carried_ratio
    asked = math.ceil(TUNING.headroom_ratio * demand - ROUNDING)
    if asked < given.floor:
        return Proposal(
            replicas=given.floor,
            policy=NAME,
            reason=Reason.AT_FLOOR,
            message=f"{given.demand.message}: {demand:.2f} replicas, the floor is {given.floor}",
        )
    return Proposal(
        replicas=asked,
        policy=NAME,
        reason=Reason.FOLLOWS_DEMAND,
        message=f"{given.demand.message}: {demand:.2f} replicas and a fifth more",
    )
