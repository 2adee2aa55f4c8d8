"""Stabilization: the highest proposal of a window bounds a scale-down.

The window is the learnt cold start unless `behavior` gives one: what is given up now and missed
within a cold start could not be had back in time. What is remembered are the policy's raw
proposals. With an explicit `behavior` the arithmetic is HPA's, tolerance and scale-up window
included; a tick on which the policy cannot tell is then not remembered, as HPA does. Without one
such a tick is remembered as a wish to stay: after an outage the window has to fill again before
anything is scaled down. A blink (no longer than a sample may be old) is no outage: the last proposal is
taken to stand, or one page that is late now and then would keep a fleet for ever.
"""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import Behavior, ModelSpec
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.hpa import HpaMemory, stabilize, within_tolerance
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.replica_count import ReplicaCount, with_stand_ins
from autoscaler.core.pools.situation import Situation

_MESSAGES = {
    Reason.SCALE_DOWN_STABILIZED: "the highest proposal of the last {window:.0f} s was {replicas}",
    Reason.SCALE_UP_STABILIZED: "the lowest proposal of the last {window:.0f} s was {replicas}",
    Reason.WITHIN_TOLERANCE: "{proposal} is within the tolerance of {replicas}",
}


def down_window_s(spec: ModelSpec, *, cold_start_s: float) -> float:
    """Return the look-back for scaling down, seconds."""
    rules = None if spec.behavior is None else spec.behavior.scale_down
    if rules is None or rules.stabilization_window_s is None:
        return cold_start_s
    return float(rules.stabilization_window_s)


def watch_window(
    memory: ModelMemory, *, at: float, serving: int, window_s: float, start_without: bool
) -> bool:
    """Tell whether a whole window has been watched; at first sight, remember what is there.

    That first entry is how HPA keeps a restart from scaling down: what is asked for counts as proposed
    once.

    Args:
        memory: of the model; changed at first sight.
        at: now, seconds.
        serving: the replicas that are to serve, as they are now.
        window_s: look-back for scaling down.
        start_without: as if the windows were full from the start.
    """
    if memory.first_at is None:
        memory.first_at = at
        if memory.learnt_from is None:
            memory.learnt_from = at
        if not start_without:
            memory.hpa.recommendations.append((at, serving))
    return start_without or at - memory.first_at >= window_s


def adjust(situation: Situation, count: ReplicaCount, memory: ModelMemory, /) -> Verdict | None:
    """Bound a change by the proposals of the windows, and remember this one."""
    hpa = memory.hpa
    behavior, there = situation.spec.behavior, situation.serving_replicas
    proposal = situation.proposal
    if situation.blind is not None and proposal is not None and proposal < there:
        proposal = None  # it rests on what cannot be seen
    if proposal is not None:
        hpa.blind_since = None
    elif hpa.blind_since is None:
        hpa.blind_since = situation.at
    if proposal is None and behavior is not None:
        return None
    serving, raw = count.serving, proposal
    if raw is None:
        raw = _wished(hpa, situation, there=there)
    reason: Reason | None = None
    if behavior is not None and _tolerated(behavior, current=there, proposal=serving):
        serving = raw = there
        reason = Reason.WITHIN_TOLERANCE
    down_s = down_window_s(situation.spec, cold_start_s=situation.cold_start_s)
    up_s = 0.0
    if behavior is not None and behavior.scale_up is not None:
        up_s = float(behavior.scale_up.stabilization_window_s or 0)
    limited = stabilize(
        hpa.recommendations,
        at=situation.at,
        current=there,
        proposal=serving,
        up_window_s=up_s,
        down_window_s=down_s,
        remember=raw,
    )
    if limited.replicas == count.serving:
        return None
    if reason is None or limited.replicas != serving:
        reason = Reason(limited.reason)
    message = _MESSAGES[reason].format(
        window=up_s if reason is Reason.SCALE_UP_STABILIZED else down_s,
        replicas=limited.replicas,
        proposal=count.serving,
    )
    return Verdict(with_stand_ins(situation, limited.replicas), reason, message)


def _wished(hpa: HpaMemory, situation: Situation, *, there: int) -> int:
    """Return what is remembered of a tick on which nobody could tell."""
    blink_s = situation.spec.sample_age_s_max
    if hpa.blind_since is None or situation.at - hpa.blind_since > blink_s:
        return there
    recent = [slot for slot in hpa.recommendations if situation.at - slot[0] <= 2.0 * blink_s]
    return max(recent)[1] if recent else there


def _tolerated(behavior: Behavior, *, current: int, proposal: int) -> bool:
    """Tell whether an explicit tolerance swallows the change; it is relative to the replicas."""
    up = behavior.scale_up.tolerance_ratio if behavior.scale_up is not None else None
    down = behavior.scale_down.tolerance_ratio if behavior.scale_down is not None else None
    if current in {0, proposal}:
        return False
    return within_tolerance(
        proposal / current,
        up_ratio=0.0 if up is None else up,
        down_ratio=0.0 if down is None else down,
    )
