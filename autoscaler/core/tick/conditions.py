"""Conditions: what is said of a model on every tick, in the form that Kubernetes gives a status.

They are shown on `/debug/models`, logged as they change, and written to the status of a resource where resources are
watched. Observations, not a state machine; the names are HPA's where people
know them. A condition is set on every tick, `Unknown` if need be.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from autoscaler.core.contract.decision import Attainment, Condition, Step
from autoscaler.core.contract.reasons import (
    ConditionReason,
    ConditionType,
    FindingReason,
    Reason,
)
from autoscaler.core.contract.spec import Mode, Pause
from autoscaler.core.contract.state import CapacityType
from autoscaler.core.guards.pause import paused_text
from autoscaler.core.memory import ModelMemory, VictimMemory
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation
from autoscaler.core.pools.slots import Placement
from autoscaler.core.tick.attainment_condition import describe_attainment
from autoscaler.core.tick.condition import condition
from autoscaler.core.tick.conflict_condition import describe_conflict, unable
from autoscaler.core.tuning import TUNING

_LIMITS = {
    Reason.TOO_FEW_REPLICAS,
    Reason.TOO_MANY_REPLICAS,
    Reason.SCALE_UP_LIMIT,
    Reason.SCALE_DOWN_LIMIT,
    Reason.GPU_BUDGET,
}
_STABILIZED = {Reason.SCALE_UP_STABILIZED, Reason.SCALE_DOWN_STABILIZED}

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
SOUND = condition(
    ConditionType.TARGETS_SOUND,
    True,
    ConditionReason.NOTHING_FOUND,
    "its Deployments let replicas start and end without losing requests, as far as their pod templates "
    "tell; disruption budgets are read by `autoscaler check --targets CLUSTER` alone",
)
_START_SHARE = 0.5
"""Of a cold start: what probes allow below it is surely too short (see `kube/soundness/starts.py`)."""

NO_SCALE_DOWN = condition(
    ConditionType.VICTIMS_CHOSEN,
    None,
    ConditionReason.NO_SCALE_DOWN,
    "no scale-down was decided since the start",
)
CHOSEN = condition(
    ConditionType.VICTIMS_CHOSEN,
    True,
    ConditionReason.COSTS_ACCEPTED,
    "a scale-down takes the replicas with the least in flight",
)
NOT_NEEDED = condition(
    ConditionType.VICTIMS_CHOSEN,
    True,
    ConditionReason.COSTS_NOT_NEEDED,
    "the ReplicaSet's own order took those with the least in flight; no cost was set yet",
)

NO_FAULT = condition(
    ConditionType.GPUS_HEALTHY,
    True,
    ConditionReason.NO_FAULT_SEEN,
    "no GPU of its replicas reports a fault",
)
UNTOLD = condition(
    ConditionType.GPUS_HEALTHY,
    None,
    ConditionReason.GPU_HEALTH_UNKNOWN,
    "no DCGM exporter says how the GPUs of its replicas are",
)


def describe(
    situation: Situation,
    count: ReplicaCount,
    *,
    placement: Placement,
    trail: Sequence[Step],
    memory: ModelMemory,
    attainment: Attainment | None,
) -> tuple[Condition, ...]:
    """Describe one model at one tick.

    Args:
        situation: the facts.
        count: what the guards let through.
        placement: of that.
        trail: of the decision.
        memory: of the model: what was refused last, and what is known of the deletion costs.
        attainment: of the model; None: no engine tells.
    """
    return (
        READY,
        unable(situation) or _able(situation, trail, memory.refusals),
        _active(situation),
        _limited(unplaced=placement.unplaced, trail=trail),
        _metrics(situation),
        _warm_pool(situation),
        _interrupted(situation),
        _fallback(situation, count),
        _victims(memory.victims),
        _targets(situation),
        _gpus(situation),
        describe_attainment(attainment, situation.spec.objective),
        describe_conflict(situation),
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


def _able(
    situation: Situation, trail: Sequence[Step], refusals: dict[str, tuple[str, str]]
) -> Condition:
    if refusals:
        target, (reason, message) = next(iter(refusals.items()))
        return condition(
            ConditionType.ABLE_TO_SCALE, False, reason, f"{target}: {message or reason}"
        )
    for step in trail:
        if step.reason in _STABILIZED:
            return condition(ConditionType.ABLE_TO_SCALE, True, step.reason, step.message)
    if situation.overdue_rollouts:
        return condition(
            ConditionType.ABLE_TO_SCALE,
            True,
            ConditionReason.ROLLOUT_OVERDUE,
            f"the rollout of {', '.join(situation.overdue_rollouts)} does not come to its end; it holds "
            "no scale-down any more: look at the pods of its new ReplicaSet",
        )
    return ABLE


def _active(situation: Situation) -> Condition:
    spec = situation.spec
    if spec.pause is Pause.ALL:
        return condition(ConditionType.SCALING_ACTIVE, False, Reason.PAUSED, paused_text(spec))
    if spec.mode is Mode.OBSERVE:
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
            f"{unplaced} replicas wait for a node, hang or are on a GPU that can carry none, "
            "and no other pool can have them",
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
    if situation.still:
        return condition(
            ConditionType.METRICS_AVAILABLE,
            False,
            ConditionReason.REPLICAS_STAND_STILL,
            f"{situation.still} replicas hold requests or KV blocks and have moved no counter for "
            f"{TUNING.still_s:.0f} s; what they say counts for nothing: restart them if clients wait",
        )
    if situation.mute:
        return condition(
            ConditionType.METRICS_AVAILABLE,
            False,
            ConditionReason.REPLICAS_MUTE,
            f"{situation.mute} ready replicas have not answered for {TUNING.mute_s:.0f} s; each is "
            "counted as full, and the others are decided on",
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
    due = situation.floor.due_replicas
    if due == 0:
        return NO_FLOOR
    return _floor(situation.floor_ready, due, situation.spec.warm_floor.capacity_type)


@lru_cache(maxsize=256)
def _floor(ready: int, due: int, capacity_type: CapacityType | None) -> Condition:
    """Describe a warm floor; written out once, for it seldom changes."""
    where = "any capacity" if capacity_type is None else capacity_type.value
    satisfied = ready >= due
    return condition(
        ConditionType.WARM_POOL_SATISFIED,
        satisfied,
        ConditionReason.FLOOR_READY if satisfied else ConditionReason.FLOOR_NOT_READY,
        f"{ready} of {due} warm replicas are ready on {where}",
    )


def _interrupted(situation: Situation) -> Condition:
    if situation.doom is None:
        return CALM
    doomed = sum([pool.doomed for pool in situation.pools])
    at_risk = sum([len(rows) for rows in situation.stock.risky_rows.values()])
    if doomed:
        names = [node.name for node in situation.doom.nodes if not node.at_risk]
        reason, said = ConditionReason.NODES_DOOMED, f"{doomed} replicas are doomed"
    elif at_risk:
        names = [node.name for node in situation.doom.nodes if node.at_risk]
        reason = ConditionReason.NODES_AT_RISK
        said = f"{at_risk} replicas are on nodes that may be taken away"
    else:
        return CALM
    return condition(
        ConditionType.CAPACITY_INTERRUPTED, True, reason, f"{said}; nodes: {_some(names)}"
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


def _victims(told: VictimMemory) -> Condition:
    """Tell whether scale-downs take those with the least in flight; without the right, nobody knows whom."""
    if told.forbidden_at is not None:
        return condition(
            ConditionType.VICTIMS_CHOSEN,
            False,
            ConditionReason.COSTS_FORBIDDEN,
            "the ReplicaSet chooses whom a scale-down takes, busy or not, for deletion costs may not be "
            f"set: {told.forbidden}; grant deploy/components/deletion-cost",
        )
    if told.untold:
        return condition(
            ConditionType.VICTIMS_CHOSEN,
            False,
            ConditionReason.IN_FLIGHT_UNKNOWN,
            f"of the {told.chosen} replicas that the last scale-down took, {told.untold} had not said, or "
            "not recently, what they had in flight",
        )
    if told.accepted:
        return CHOSEN
    return NOT_NEEDED if told.chosen else NO_SCALE_DOWN


def _targets(situation: Situation) -> Condition:
    """Say which scale targets lose requests by what is written in them."""
    said: list[str] = []
    reasons: list[FindingReason] = []
    for pool in situation.observation.pools:
        found = list(pool.unsound)
        most_s = pool.start_s_max
        if most_s is not None and most_s < _START_SHARE * situation.cold_start_s:
            found.append(FindingReason.START_CUT)
        if found:
            reasons += found
            said.append(f"{pool.name}: {', '.join(found)}")
    if not reasons:
        return SOUND
    return condition(
        ConditionType.TARGETS_SOUND,
        False,
        reasons[0],
        f"{'; '.join(said)}; `autoscaler check --targets CLUSTER` says where and what to write",
    )


def _gpus(situation: Situation) -> Condition:
    stock = situation.stock
    if not stock.unhealthy_rows:
        return NO_FAULT if stock.health_known else UNTOLD
    ready = sum([pool.ready_unhealthy for pool in stock.supply.pools])
    starting = sum([pool.unhealthy for pool in stock.supply.pools])
    names = [situation.observation.replicas.name[row] for row in stock.unhealthy_rows]
    return condition(
        ConditionType.GPUS_HEALTHY,
        False,
        ConditionReason.GPUS_UNHEALTHY,
        f"{ready} ready and {starting} starting replicas are on GPUs that can carry none: {_some(names)}; no "
        "start is counted on there; empty their nodes and reset the GPUs",
    )


def _some(names: Sequence[str]) -> str:
    """List the first few."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
