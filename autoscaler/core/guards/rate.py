"""Rate: the scaling policies of an explicit `behavior`, exactly as HPA has them.

Without a `behavior` there is no limit: a rate that is right for a web server starves a model whose
replicas take minutes to load.
"""

from __future__ import annotations

from autoscaler.core import hpa
from autoscaler.core.pools.placement import at_level
from autoscaler.core.pools.situation import Situation, Verdict, Wanted


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Bound a change by the policies of its direction."""
    behavior = s.spec.behavior
    if behavior is None:
        return None
    limited = hpa.limit_rate(
        s.hpa,
        at=s.at,
        current=s.level,
        proposal=wanted.level,
        up=behavior.scale_up,
        down=behavior.scale_down,
    )
    if limited.replicas == wanted.level:
        return None
    return Verdict(
        at_level(s, wanted, limited.replicas),
        limited.reason,
        f"the behavior allows {limited.replicas} now, from {s.level}",
    )
