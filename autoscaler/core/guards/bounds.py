"""Bounds: minimum and maximum of what is asked for over all pools.

The maximum also binds stand-ins: then the preferred pool, whose stuck replicas they stand in for,
is asked for fewer.
"""

from __future__ import annotations

from autoscaler.core.pools.placement import at_level
from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Keep within the bounds; the user's word is stronger than what is seen or not seen."""
    low, high = s.spec.min_replicas, s.spec.max_replicas
    if wanted.level < low:
        wanted = at_level(s, wanted, low)
        wanted = wanted._replace(asked=min(wanted.asked, high))
        return Verdict(wanted, "TooFewReplicas", f"the minimum is {low}")
    if wanted.asked > high:
        wanted = wanted._replace(level=min(wanted.level, high), asked=high)
        return Verdict(wanted, "TooManyReplicas", f"the maximum is {high}")
    return None
