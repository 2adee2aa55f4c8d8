"""Budget: what the fleet's GPUs leave this model (see `fleet`)."""

from __future__ import annotations

from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Keep within what was granted."""
    if s.granted is None or wanted.asked <= s.granted:
        return None
    wanted = wanted._replace(level=min(wanted.level, s.granted), asked=s.granted)
    message = f"the GPU budget leaves {s.granted} replicas at priority {s.spec.priority}"
    if s.unseen:
        message += f"; what {', '.join(s.unseen)} has of it is unknown, so nobody grows"
    return Verdict(wanted, "GpuBudget", message)
