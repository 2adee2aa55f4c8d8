"""Interruption: the on-demand fallback for doomed replicas (see `promises`).

It comes last and may exceed the maximum, by the promised replicas: they stand in for replicas that
are within it and about to be gone.
"""

from __future__ import annotations

from autoscaler.core.pools.placement import at_level
from autoscaler.core.pools.promises import plan_promises
from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Add the promised replicas that are in force."""
    if s.doom is None and s.promised == 0 and not any(pool.fallback for pool in s.pools):
        return None
    plan = plan_promises(s, wanted)
    asked = wanted.asked
    if plan.raised and wanted.stand_ins:
        # What a new promise covers needs no other stand-in.
        asked = min(asked, at_level(s, wanted, wanted.level, promised=plan.total).asked)
    if plan.raised:
        nodes = ", ".join([promise.node for promise in plan.raised])
        reason, message = "FallbackRaised", f"promised for {nodes}: {plan.in_force} on on-demand"
    elif plan.released:
        reason = "FallbackReleased"
        message = f"spot is back for {plan.released}; {plan.in_force} stay on on-demand"
    else:
        reason, message = "FallbackActive", f"{plan.in_force} on on-demand stand in for spot"
    return Verdict(wanted._replace(asked=asked, plan=plan), reason, message)
