"""Stabilization: the highest proposal of a window bounds a scale-down.

The window is the learnt cold start unless `behavior` gives one: what is given up now and missed
within a cold start could not be had back in time. What is remembered are the policy's raw
proposals. With an explicit `behavior` the arithmetic is HPA's, tolerance and scale-up window
included; a tick on which the policy cannot tell is then not remembered, as HPA does. Without one
such a tick is remembered as a wish to stay: after an outage the window has to fill again before
anything is scaled down.
"""

from __future__ import annotations

from autoscaler.core import hpa
from autoscaler.core.contract.spec import Behavior, ModelSpec
from autoscaler.core.pools.placement import at_level
from autoscaler.core.pools.situation import Situation, Verdict, Wanted

_MESSAGES = {
    "ScaleDownStabilized": "the highest proposal of the last {window:.0f} s was {replicas}",
    "ScaleUpStabilized": "the lowest proposal of the last {window:.0f} s was {replicas}",
    "WithinTolerance": "{proposal} is within the tolerance of {replicas}",
}


def down_window_s(spec: ModelSpec, *, cold_start_s: float) -> float:
    """Return the look-back for scaling down, seconds."""
    rules = None if spec.behavior is None else spec.behavior.scale_down
    if rules is None or rules.stabilization_window_s is None:
        return cold_start_s
    return float(rules.stabilization_window_s)


def adjust(s: Situation, wanted: Wanted) -> Verdict | None:
    """Bound a change by the proposals of the windows, and remember this one."""
    behavior = s.spec.behavior
    level = wanted.level
    blind = s.proposal is None or (bool(s.blind) and s.proposal < s.level)
    if blind and behavior is not None:
        return None
    raw = s.level if blind or s.proposal is None else s.proposal
    reason = ""
    if behavior is not None and _tolerated(behavior, current=s.level, proposal=level):
        level = raw = s.level
        reason = "WithinTolerance"
    down_s = down_window_s(s.spec, cold_start_s=s.cold_start_s)
    up_s = 0.0
    if behavior is not None and behavior.scale_up is not None:
        up_s = float(behavior.scale_up.stabilization_window_s or 0)
    limited = hpa.stabilize(
        s.hpa.recommendations,
        at=s.at,
        current=s.level,
        proposal=level,
        up_window_s=up_s,
        down_window_s=down_s,
        remember=raw,
    )
    if limited.replicas == wanted.level:
        return None
    if limited.replicas != level:
        reason = limited.reason
    message = _MESSAGES[reason].format(
        window=up_s if reason == "ScaleUpStabilized" else down_s,
        replicas=limited.replicas,
        proposal=wanted.level,
    )
    return Verdict(at_level(s, wanted, limited.replicas), reason, message)


def _tolerated(behavior: Behavior, *, current: int, proposal: int) -> bool:
    """Tell whether an explicit tolerance swallows the change; it is relative to the replicas."""
    up = behavior.scale_up.tolerance_ratio if behavior.scale_up is not None else None
    down = behavior.scale_down.tolerance_ratio if behavior.scale_down is not None else None
    if current in {0, proposal}:
        return False
    return hpa.within_tolerance(
        proposal / current,
        up_ratio=0.0 if up is None else up,
        down_ratio=0.0 if down is None else down,
    )
