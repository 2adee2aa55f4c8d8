"""Freshness: blind means hold or up, never down.

Blind is a cluster state that may be old, or a ready replica whose engine does not answer: what it
holds is unknown, and unknown is never zero. A scale-down is also held while a target rolls out: the
pods that go are then not the ones that were counted.
"""

from __future__ import annotations

from autoscaler.core.pools.placement import at_level
from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Hold a scale-down that rests on what cannot be seen."""
    if wanted.level >= s.level:
        return None
    if s.blind:
        return Verdict(at_level(s, wanted, s.level), s.blind, s.blind_message)
    if s.rolling_out:
        return Verdict(
            at_level(s, wanted, s.level),
            "RolloutInProgress",
            "a scale target rolls out; nothing is scaled down until it has",
        )
    return None
