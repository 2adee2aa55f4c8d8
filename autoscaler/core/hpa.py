"""The HorizontalPodAutoscaler's arithmetic after the metrics, exactly.

Stabilization and rate limits of an explicit `behavior` as kube-controller-manager has them. The engine
obeys a `behavior` with them, and the HPA among the simulations' peers is built on them; one set of
functions, so that what is proved on recorded decisions of the real controller is what runs.

Three facts that are easily got wrong, each found in recorded decisions:

- Windows end strictly inside: what happened exactly one window ago is outside. (The controller's
  syncs are a little more than their period apart, so a 300 s window holds 20 syncs of 15 s.)
- What is remembered is the proposal before stabilization; remembering the stabilized number would
  let one peak hold itself up for ever.
- Memory is slots: a new entry takes the place of one that is too old, else is appended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from autoscaler.core.contract.reasons import ConditionReason, Reason
from autoscaler.core.contract.spec import PolicyType, ScalingPolicy, ScalingRules, SelectPolicy

DEFAULT_UP_POLICIES = (
    ScalingPolicy(type=PolicyType.PODS, value=4, period_s=15),
    ScalingPolicy(type=PolicyType.PERCENT, value=100, period_s=15),
)
"""What the API server fills in where a behavior has no policies for scaling up."""
DEFAULT_DOWN_POLICIES = (ScalingPolicy(type=PolicyType.PERCENT, value=100, period_s=15),)

Slot: TypeAlias = tuple[float, int]
"""A moment (seconds) and a number: of a recommendation, or of replicas added or removed."""


@dataclass(slots=True, kw_only=True)
class HpaMemory:
    """What the controller remembers of one autoscaler, in its process."""

    recommendations: list[Slot] = field(default_factory=list)
    """Proposals before stabilization."""
    scale_ups: list[Slot] = field(default_factory=list)
    """Replicas added by own rescales that were accepted. Kept only with a behavior."""
    scale_downs: list[Slot] = field(default_factory=list)
    """Replicas removed, as positive numbers."""
    blind_since: float | None = None
    """Since when no tick could tell what to propose; None: the last one could."""


class Limited(NamedTuple):
    """A number after one stage, and the controller's word for what bound it."""

    replicas: int
    reason: Reason | ConditionReason
    """Stabilization: `ReadyForNewScale`, `ScaleUpStabilized`, `ScaleDownStabilized`. Limits:
    `DesiredWithinRange`, `ScaleUpLimit`, `ScaleDownLimit`."""


def within_tolerance(ratio: float, *, up_ratio: float, down_ratio: float) -> bool:
    """Tell whether a usage ratio (metric over target) changes nothing. Both edges are inside."""
    return 1.0 - down_ratio <= ratio <= 1.0 + up_ratio


def stabilize(
    recommendations: list[Slot],
    *,
    at: float,
    current: int,
    proposal: int,
    up_window_s: float = 0.0,
    down_window_s: float,
    remember: int | None = None,
) -> Limited:
    """Stabilize with a behavior, which has a window for each direction.

    The lowest proposal of one window bounds a scale-up, the highest of the other a scale-down.

    Args:
        recommendations: changed: the raw proposal is remembered.
        at: now, seconds.
        current: spec.replicas.
        proposal: before stabilization.
        up_window_s: look-back for scaling up.
        down_window_s: look-back for scaling down.
        remember: what to remember where that is not `proposal`.
    """
    up_cutoff = at - up_window_s
    down_cutoff = at - down_window_s
    oldest = min(up_cutoff, down_cutoff)
    lowest = highest = proposal
    free: int | None = None
    for index, (moment, replicas) in enumerate(recommendations):
        if moment > up_cutoff and replicas < lowest:
            lowest = replicas
        if moment > down_cutoff and replicas > highest:
            highest = replicas
        if moment <= oldest:
            free = index
    _store(recommendations, (at, proposal if remember is None else remember), free)
    stabilized = min(max(current, lowest), highest)
    if stabilized == proposal:
        return Limited(stabilized, ConditionReason.READY_FOR_NEW_SCALE)
    reason = Reason.SCALE_UP_STABILIZED if stabilized < proposal else Reason.SCALE_DOWN_STABILIZED
    return Limited(stabilized, reason)


def limit_rate(
    memory: HpaMemory,
    *,
    at: float,
    current: int,
    proposal: int,
    up: ScalingRules | None,
    down: ScalingRules | None,
) -> Limited:
    """Bound a proposal by the policies of a behavior. A direction that is None is not limited."""
    if proposal > current and up is not None:
        highest = max(current, scale_up_limit(memory, at=at, current=current, rules=up))
        if proposal > highest:
            return Limited(replicas=highest, reason=Reason.SCALE_UP_LIMIT)
    elif proposal < current and down is not None:
        lowest = min(current, scale_down_limit(memory, at=at, current=current, rules=down))
        if proposal < lowest:
            return Limited(replicas=lowest, reason=Reason.SCALE_DOWN_LIMIT)
    return Limited(replicas=proposal, reason=ConditionReason.DESIRED_WITHIN_RANGE)


def scale_up_limit(memory: HpaMemory, *, at: float, current: int, rules: ScalingRules) -> int:
    """Return the most that scaling up may reach now; below `current` means not at all.

    Max takes the policy that allows the largest change, Min the smallest. A percentage is of the
    replicas at the start of its period, rounded up, or one replica could never become two.
    """
    if rules.select_policy is SelectPolicy.DISABLED:
        return current
    policies = DEFAULT_UP_POLICIES if rules.policies is None else rules.policies
    limits = []
    for policy in policies:
        start = _period_start(memory, at=at, current=current, period_s=policy.period_s)
        if policy.type is PolicyType.PODS:
            limits.append(start + policy.value)
        else:
            limits.append(math.ceil(start * (1.0 + policy.value / 100.0)))
    return min(limits) if rules.select_policy is SelectPolicy.MIN else max(limits)


def scale_down_limit(memory: HpaMemory, *, at: float, current: int, rules: ScalingRules) -> int:
    """Return the least that scaling down may reach now; above `current` means not at all.

    A percentage leaves the rest cut to a whole number towards zero: 50 % of 3 leaves 1.
    """
    if rules.select_policy is SelectPolicy.DISABLED:
        return current
    policies = DEFAULT_DOWN_POLICIES if rules.policies is None else rules.policies
    limits = []
    for policy in policies:
        start = _period_start(memory, at=at, current=current, period_s=policy.period_s)
        if policy.type is PolicyType.PODS:
            limits.append(start - policy.value)
        else:
            limits.append(int(start * (1.0 - policy.value / 100.0)))
    return max(limits) if rules.select_policy is SelectPolicy.MIN else min(limits)


def remember_rescale(
    memory: HpaMemory,
    *,
    at: float,
    before: int,
    after: int,
    up: ScalingRules | None,
    down: ScalingRules | None,
) -> None:
    """Remember an own rescale that was accepted; call it only where there is a behavior.

    Also those count that only brought replicas back between min and max.
    """
    if after > before:
        _store_event(memory.scale_ups, at=at, change=after - before, period_s=_longest(up, up=True))
    elif after < before:
        period_s = _longest(down, up=False)
        _store_event(memory.scale_downs, at=at, change=before - after, period_s=period_s)


def _period_start(memory: HpaMemory, *, at: float, current: int, period_s: float) -> int:
    """Return the replicas at the start of a period, by undoing its own rescales."""
    added = _change(memory.scale_ups, at=at, period_s=period_s)
    removed = _change(memory.scale_downs, at=at, period_s=period_s)
    return current - added + removed


def _change(events: Iterable[Slot], *, at: float, period_s: float) -> int:
    cutoff = at - period_s
    return sum(change for moment, change in events if moment > cutoff)


def _longest(rules: ScalingRules | None, *, up: bool) -> float:
    """Return the longest period of a direction, after which its events may be forgotten."""
    defaults = DEFAULT_UP_POLICIES if up else DEFAULT_DOWN_POLICIES
    policies = rules.policies if rules is not None and rules.policies is not None else defaults
    return float(max((policy.period_s for policy in policies), default=0))


def _store_event(events: list[Slot], *, at: float, change: int, period_s: float) -> None:
    cutoff = at - period_s
    free: int | None = None
    for index, (moment, _) in enumerate(events):
        if moment <= cutoff:
            free = index
    _store(events, (at, change), free)


def _store(slots: list[Slot], slot: Slot, free: int | None) -> None:
    if free is None:
        slots.append(slot)
    else:
        slots[free] = slot
