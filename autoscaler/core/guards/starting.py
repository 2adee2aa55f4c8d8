"""Capacity on its way, with an expiry: who waits for a node, or hangs, is asked for elsewhere.

Starting replicas are supply (the policy counts them); an unschedulable or
expired one is not, and its level is asked for again in another pool that can have it, never in its own, where
it is asked for already. Where no pool can, the number holds and a condition says so.
"""

from __future__ import annotations

from autoscaler.core.pools.placement import arrange
from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Add the stand-ins for what is stuck, and keep those whose principals are not back."""
    if s.quiet or len(s.pools) == 1:
        return Verdict(Wanted(wanted.level, wanted.asked, True, wanted.plan), "", "")
    arrangement = arrange(s, level=wanted.level, promised=s.promised)
    asked = wanted.level + arrangement.stand_ins
    message = ""
    if arrangement.stand_ins:
        stuck = sum([pool.stuck for pool in s.pools])
        message = (
            f"{arrangement.stand_ins} stand in for replicas of other pools that are not back yet "
            f"({stuck} stuck: no node, or not ready in time)"
        )
    return Verdict(Wanted(wanted.level, asked, stand_ins=True), "StandsIn", message)
