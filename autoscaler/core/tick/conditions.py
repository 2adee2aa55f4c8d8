"""Conditions: what is said of a model on every tick, in the form that Kubernetes gives a status.

They are shown on `/debug/models` and logged as they change; they are not written to a resource's status,
for there is no custom resource yet. Observations, not a state machine; the names are HPA's where people
know them. A condition is set on every tick, `Unknown` if need be.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from autoscaler.core.contract.decision import Condition, Step
from autoscaler.core.contract.reasons import ConditionReason, ConditionType, Reason
from autoscaler.core.contract.spec import Mode, Pause, WarmFloor
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation
from autoscaler.core.pools.slots import Placement

_LIMITS = {
    Reason.TOO_FEW_REPLICAS,
    Reason.TOO_MANY_REPLICAS,
    Reason.SCALE_UP_LIMIT,
    Reason.SCALE_DOWN_LIMIT,
    Reason.GPU_BUDGET,
}
_STABILIZED = {Reason.SCALE_UP_STABILIZED, Reason.SCALE_DOWN_STABILIZED}


def condition(kind: ConditionType, status: bool | None, reason: str, message: str) -> Condition:  # noqa: FBT001  the status is the condition
    """Build a condition; a status of None is Unknown."""
    word = "Unknown" if status is None else "True" if status else "False"
    return Condition(type=kind, status=word, reason=reason, message=message)


READY = condition(ConditionType.READY, True, ConditionReason.DECIDED, "decides on every tick")
ABLE = condition(
    ConditionType.ABLE_TO_SCALE,
    True,
    ConditionReason.READY_FOR_NEW_SCALE,
    "the scale targets can be read",
)
ACTIVE = condition(
    ConditionType.SCALING_ACTIVE,
    True,
    ConditionReason.VALID_SIGNALS,
    "decisions rest on current signals",
)
WITHIN = condition(
    ConditionType.SCALING_LIMITED,
    False,
    ConditionReason.DESIRED_WITHIN_RANGE,
    "nothing limits the proposal",
)
SAMPLED = condition(
    ConditionType.METRICS_AVAILABLE,
    True,
    ConditionReason.SAMPLES_FRESH,
    "every ready replica answers",
)
NO_FLOOR = condition(
    ConditionType.WARM_POOL_SATISFIED, True, ConditionReason.NO_FLOOR, "no warm floor is asked for"
)
CALM = condition(
    ConditionType.CAPACITY_INTERRUPTED,
    False,
    ConditionReason.NO_INTERRUPTION,
    "no node of its is doomed",
)
NO_FALLBACK = condition(
    ConditionType.FALLBACK_ACTIVE, False, ConditionReason.NO_FALLBACK, "nothing is promised"
)


def describe(
    situation: Situation,
    count: ReplicaCount,
    *,
    placement: Placement,
    trail: Sequence[Step],
    refusals: dict[str, tuple[str, str]],
) -> tuple[Condition, ...]:
    """Describe one model at one tick.

    Args:
        situation: the facts.
        count: what the guards let through.
        placement: of that.
        trail: of the decision.
        refusals: by target, the last refusal of a command.
    """
    return (
        READY,
        _able(trail, refusals),
        _active(situation),
        _limited(unplaced=placement.unplaced, trail=trail),
        _metrics(situation),
        _warm_pool(situation),
        _interrupted(situation),
        _fallback(situation, count),
    )


def describe_hold(reason: Reason, message: str) -> tuple[Condition, ...]:
    """Describe a model about which nothing can be said."""
    known_false = {
        ConditionType.READY,
        ConditionType.ABLE_TO_SCALE,
        ConditionType.SCALING_ACTIVE,
    }
    return tuple(
        [
            condition(kind, False if kind in known_false else None, reason, message)
            for kind in ConditionType
        ]
    )


def _able(trail: Sequence[Step], refusals: dict[str, tuple[str, str]]) -> Condition:
    if refusals:
        target, (reason, message) = next(iter(refusals.items()))
        return condition(
            ConditionType.ABLE_TO_SCALE, False, reason, f"{target}: {message or reason}"
        )
    for step in trail:
        if step.reason in _STABILIZED:
            return condition(ConditionType.ABLE_TO_SCALE, True, step.reason, step.message)
    return ABLE


def _active(situation: Situation) -> Condition:
    if situation.spec.pause is Pause.ALL:
        return condition(ConditionType.SCALING_ACTIVE, False, Reason.PAUSED, "paused by annotation")
    if situation.spec.mode is Mode.OBSERVE:
        return condition(
            ConditionType.SCALING_ACTIVE,
            False,
            ConditionReason.OBSERVING,
            "mode is Observe: decides, never acts",
        )
    if situation.proposal is None:
        return condition(
            ConditionType.SCALING_ACTIVE,
            False,
            Reason.DEMAND_UNKNOWN,
            "the policy cannot tell; it holds",
        )
    return ACTIVE


def _limited(*, unplaced: int, trail: Sequence[Step]) -> Condition:
    if unplaced:
        return condition(
            ConditionType.SCALING_LIMITED,
            True,
            ConditionReason.CAPACITY_UNAVAILABLE,
            f"{unplaced} replicas wait for a node or hang, and no other pool can have them",
        )
    for step in reversed(trail):
        if step.reason in _LIMITS:
            return condition(ConditionType.SCALING_LIMITED, True, step.reason, step.message)
    return WITHIN


def _metrics(situation: Situation) -> Condition:
    if situation.blind is not None:
        return condition(
            ConditionType.METRICS_AVAILABLE,
            False,
            situation.blind.reason,
            situation.blind.message,
        )
    if situation.stock.supply.ready == 0:
        return condition(
            ConditionType.METRICS_AVAILABLE,
            None,
            ConditionReason.NO_READY_REPLICA,
            "no ready replica to read",
        )
    return SAMPLED


def _warm_pool(situation: Situation) -> Condition:
    floor = situation.spec.warm_floor
    if floor.replicas == 0:
        return NO_FLOOR
    return _floor(situation.floor_ready, floor)


@lru_cache(maxsize=256)
def _floor(ready: int, floor: WarmFloor) -> Condition:
    """Describe a warm floor; written out once, for it seldom changes."""
    where = "any capacity" if floor.capacity_type is None else floor.capacity_type.value
    satisfied = ready >= floor.replicas
    return condition(
        ConditionType.WARM_POOL_SATISFIED,
        satisfied,
        ConditionReason.FLOOR_READY if satisfied else ConditionReason.FLOOR_NOT_READY,
        f"{ready} of {floor.replicas} warm replicas are ready on {where}",
    )


def _interrupted(situation: Situation) -> Condition:
    if situation.doom is None:
        return CALM
    doomed = sum([pool.doomed for pool in situation.pools])
    if doomed == 0:
        return CALM
    nodes = ", ".join([node.name for node in situation.doom.nodes[:5]])
    if len(situation.doom.nodes) > 5:
        nodes += f" and {len(situation.doom.nodes) - 5} more"
    return condition(
        ConditionType.CAPACITY_INTERRUPTED,
        True,
        ConditionReason.NODES_DOOMED,
        f"{doomed} replicas are doomed; nodes: {nodes}",
    )


def _fallback(situation: Situation, count: ReplicaCount) -> Condition:
    if situation.pinned and not all(pool.promises_readable for pool in situation.observation.pools):
        return condition(
            ConditionType.FALLBACK_ACTIVE,
            None,
            ConditionReason.PROMISES_UNREADABLE,
            "the fallback annotation does not parse; it is left alone, remove or repair it",
        )
    if count.plan is not None and count.plan.total:
        return condition(
            ConditionType.FALLBACK_ACTIVE,
            True,
            ConditionReason.SPOT_INTERRUPTED,
            f"{count.plan.in_force} of {count.plan.total} promised replicas in force on on-demand",
        )
    if situation.doom is None:
        return NO_FALLBACK
    doomed = sum([situation.pools[index].doomed for index in situation.order.interruptible])
    if doomed and situation.order.fallback is None:
        return condition(
            ConditionType.FALLBACK_ACTIVE,
            False,
            ConditionReason.NO_ON_DEMAND_POOL,
            f"{doomed} doomed, and no on-demand pool",
        )
    if doomed and not situation.spec.spot.on_demand_fallback:
        return condition(
            ConditionType.FALLBACK_ACTIVE,
            False,
            ConditionReason.FALLBACK_DISABLED,
            "disabled in the spec",
        )
    return NO_FALLBACK
