"""The on-demand fallback for doomed replicas (see `promises`). In the trail it is `interruption`.

It comes last and may exceed the maximum, by the promised replicas: they stand in for replicas that
are within it and about to be gone.
"""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.pools.promises import plan_promises
from autoscaler.core.pools.replica_count import ReplicaCount, with_stand_ins
from autoscaler.core.pools.situation import Situation


def adjust(situation: Situation, count: ReplicaCount, /) -> Verdict | None:
    """Add the promised replicas that are in force."""
    if situation.spec.paused_replicas is not None:
        return None  # that many, whoever of them is taken away
    if situation.doom is None and situation.promised == 0 and not _has_fallback(situation):
        return None
    plan = plan_promises(situation, serving=count.serving)
    asked = count.asked
    if plan.raised:
        # What a new promise covers needs no other stand-in.
        asked = min(asked, with_stand_ins(situation, count.serving, promised=plan.total).asked)
    if plan.raised:
        nodes = ", ".join([promise.node for promise in plan.raised])
        reason = Reason.FALLBACK_RAISED
        message = f"promised for {nodes}: {plan.in_force} on on-demand"
    elif plan.released:
        reason = Reason.FALLBACK_RELEASED
        message = f"spot is back for {plan.released}; {plan.in_force} stay on on-demand"
    else:
        reason = Reason.FALLBACK_ACTIVE
        message = f"{plan.in_force} on on-demand stand in for spot"
    return Verdict(ReplicaCount(count.serving, asked, plan), reason, message)


def _has_fallback(situation: Situation) -> bool:
    """Tell whether promised replicas are there although no promise can be read."""
    return any(pool.fallback for pool in situation.pools)
