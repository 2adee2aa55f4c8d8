"""Conditions: what a user reads in the resource's status.

Observations, not a state machine; the names are HPA's where people know them. A condition is set on
every tick, `Unknown` if need be.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from autoscaler.core.contract.decision import Condition, Step
from autoscaler.core.contract.spec import Mode, Pause, WarmFloor
from autoscaler.core.pools.situation import Situation, Wanted

_LIMITS = {
    "TooFewReplicas",
    "TooManyReplicas",
    "ScaleUpLimit",
    "ScaleDownLimit",
    "GpuBudget",
}
_STABILIZED = {"ScaleUpStabilized", "ScaleDownStabilized"}


def condition(kind: str, status: bool | None, reason: str, message: str) -> Condition:  # noqa: FBT001  the status is the condition
    """Build a condition; a status of None is Unknown."""
    word = "Unknown" if status is None else "True" if status else "False"
    return Condition(type=kind, status=word, reason=reason, message=message)


READY = condition("Ready", True, "Decided", "decides on every tick")
ABLE = condition("AbleToScale", True, "ReadyForNewScale", "the scale targets can be read")
ACTIVE = condition("ScalingActive", True, "ValidSignals", "decisions rest on current signals")
WITHIN = condition("ScalingLimited", False, "DesiredWithinRange", "nothing limits the proposal")
SAMPLED = condition("MetricsAvailable", True, "SamplesFresh", "every ready replica answers")
NO_FLOOR = condition("WarmPoolSatisfied", True, "NoFloor", "no warm floor is asked for")
CALM = condition("CapacityInterrupted", False, "NoInterruption", "no node of its is doomed")
NO_FALLBACK = condition("FallbackActive", False, "NoFallback", "nothing is promised")


def describe(
    s: Situation,
    *,
    wanted: Wanted,
    unplaced: int,
    trail: Sequence[Step],
    refusals: dict[str, tuple[str, str]],
) -> tuple[Condition, ...]:
    """Describe one model at one tick.

    Args:
        s: the facts.
        wanted: what the guards let through.
        unplaced: stuck replicas for which no other pool can be had.
        trail: of the decision.
        refusals: by target, the last refusal of a command.
    """
    free = len(trail) == 1 and not unplaced
    return (
        READY,
        ABLE if free and not refusals else _able(trail, refusals),
        _active(s),
        WITHIN if free else _limited(unplaced=unplaced, trail=trail),
        _metrics(s),
        _warm_pool(s),
        CALM if s.doom is None else _interrupted(s),
        NO_FALLBACK if s.quiet and wanted.plan is None and not s.pinned else _fallback(s, wanted),
    )


def describe_hold(reason: str, message: str) -> tuple[Condition, ...]:
    """Describe a model about which nothing can be said."""
    return (
        condition("Ready", False, reason, message),
        condition("AbleToScale", False, reason, message),
        condition("ScalingActive", False, reason, message),
        condition("ScalingLimited", None, reason, message),
        condition("MetricsAvailable", None, reason, message),
        condition("WarmPoolSatisfied", None, reason, message),
        condition("CapacityInterrupted", None, reason, message),
        condition("FallbackActive", None, reason, message),
    )


def _able(trail: Sequence[Step], refusals: dict[str, tuple[str, str]]) -> Condition:
    if refusals:
        target, (reason, message) = next(iter(refusals.items()))
        return condition("AbleToScale", False, reason, f"{target}: {message or reason}")
    for step in trail:
        if step.reason in _STABILIZED:
            return condition("AbleToScale", True, step.reason, step.message)
    return ABLE


def _active(s: Situation) -> Condition:
    if s.spec.pause is Pause.ALL:
        return condition("ScalingActive", False, "Paused", "paused by annotation")
    if s.spec.mode is Mode.OBSERVE:
        return condition(
            "ScalingActive", False, "Observing", "mode is Observe: decides, never acts"
        )
    if s.proposal is None:
        return condition(
            "ScalingActive", False, "DemandUnknown", "the policy cannot tell; it holds"
        )
    return ACTIVE


def _limited(*, unplaced: int, trail: Sequence[Step]) -> Condition:
    if unplaced:
        return condition(
            "ScalingLimited",
            True,
            "CapacityUnavailable",
            f"{unplaced} replicas wait for a node or hang, and no other pool can have them",
        )
    for step in reversed(trail):
        if step.reason in _LIMITS:
            return condition("ScalingLimited", True, step.reason, step.message)
    return WITHIN


def _metrics(s: Situation) -> Condition:
    if s.blind:
        return condition("MetricsAvailable", False, s.blind, s.blind_message)
    if s.stock.supply.ready == 0:
        return condition("MetricsAvailable", None, "NoReadyReplica", "no ready replica to read")
    return SAMPLED


def _warm_pool(s: Situation) -> Condition:
    floor = s.spec.warm_floor
    if floor.replicas == 0:
        return NO_FLOOR
    return _floor(s.floor_ready, floor)


@lru_cache(maxsize=256)
def _floor(ready: int, floor: WarmFloor) -> Condition:
    """Describe a warm floor; written out once, for it seldom changes."""
    where = "any capacity" if floor.capacity_type is None else floor.capacity_type.value
    satisfied = ready >= floor.replicas
    return condition(
        "WarmPoolSatisfied",
        satisfied,
        "FloorReady" if satisfied else "FloorNotReady",
        f"{ready} of {floor.replicas} warm replicas are ready on {where}",
    )


def _interrupted(s: Situation) -> Condition:
    doomed = sum([pool.doomed for pool in s.pools])
    if s.doom is None or doomed == 0:
        return CALM
    nodes = ", ".join([node.name for node in s.doom.nodes[:5]])
    if len(s.doom.nodes) > 5:
        nodes += f" and {len(s.doom.nodes) - 5} more"
    return condition(
        "CapacityInterrupted", True, "NodesDoomed", f"{doomed} replicas are doomed; nodes: {nodes}"
    )


def _fallback(s: Situation, wanted: Wanted) -> Condition:
    if any(not pool.promises_readable for pool in s.observation.pools):
        return condition(
            "FallbackActive",
            None,
            "PromisesUnreadable",
            "the fallback annotation does not parse; it is left alone, remove or repair it",
        )
    if wanted.plan is not None and wanted.plan.total:
        return condition(
            "FallbackActive",
            True,
            "SpotInterrupted",
            f"{wanted.plan.in_force} of {wanted.plan.total} promised replicas in force on on-demand",
        )
    doomed = sum([s.pools[index].doomed for index in s.layout.interruptible])
    if doomed and s.layout.fallback is None:
        return condition(
            "FallbackActive", False, "NoOnDemandPool", f"{doomed} doomed, and no on-demand pool"
        )
    if doomed and not s.spec.spot.on_demand_fallback:
        return condition("FallbackActive", False, "FallbackDisabled", "disabled in the spec")
    return NO_FALLBACK
