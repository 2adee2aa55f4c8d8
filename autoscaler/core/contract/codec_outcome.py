"""Outcomes (decisions and commands) to plain builtins and back."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from autoscaler.core.contract.codec_fleet import target_from_builtins, target_to_builtins
from autoscaler.core.contract.commands import (
    Annotate,
    Command,
    CordonNode,
    DeletePod,
    EvictPod,
    SetReplicas,
    UncordonNode,
)
from autoscaler.core.contract.decision import (
    Condition,
    Decision,
    Direction,
    Measures,
    Outcome,
    PoolDecision,
    Step,
)
from autoscaler.core.contract.plain import (
    Plain,
    plain_float,
    read_float,
    read_int,
    read_list,
    read_optional_float,
    read_record,
)
from autoscaler.errors import InvariantBroken

Record: TypeAlias = dict[str, Plain]

_MEASURES_FLOATS = (
    "demand_replicas",
    "offered_replicas",
    "waiting_requests",
    "running_requests",
    "kv_usage_ratio",
    "forecast_replicas",
    "forecast_low_replicas",
    "forecast_high_replicas",
    "forecast_error_ratio",
    "forecast_pinball_loss_replicas",
    "forecast_coverage_ratio",
    "observation_age_s",
)


def outcome_to_builtins(outcome: Outcome) -> Record:
    """Write an outcome."""
    return {
        "decisions": [decision_to_builtins(decision) for decision in outcome.decisions],
        "commands": [command_to_builtins(command) for command in outcome.commands],
    }


def outcome_from_builtins(value: Plain) -> Outcome:
    """Read back what `outcome_to_builtins` wrote."""
    record = read_record(value)
    return Outcome(
        decisions=tuple([decision_from_builtins(item) for item in read_list(record["decisions"])]),
        commands=tuple([command_from_builtins(item) for item in read_list(record["commands"])]),
    )


def command_to_builtins(command: Command) -> Record:
    """Write a command; `command` names its class."""
    record: Record = {
        "command": type(command).__name__,
        "id": command.id,
        "model": command.model,
        "expires_at": command.expires_at,
        "after": command.after,
    }
    match command:
        case SetReplicas():
            record["scale_target"] = target_to_builtins(command.scale_target)
            record["replicas"] = command.replicas
        case Annotate():
            record["scale_target"] = target_to_builtins(command.scale_target)
            record["key"] = command.key
            record["value"] = command.value
        case CordonNode() | UncordonNode():
            record["node"] = command.node
        case EvictPod() | DeletePod():
            record["namespace"] = command.namespace
            record["pod"] = command.pod
            record["grace_s"] = command.grace_s
        case _:
            assert_never(command)
    return record


def command_from_builtins(value: Plain) -> Command:
    """Read back what `command_to_builtins` wrote."""
    record = read_record(value)
    name, after = record["command"], record["after"]
    number, model = str(record["id"]), str(record["model"])
    expires_at = read_float(record["expires_at"])
    follows = None if after is None else str(after)
    if name == "SetReplicas":
        return SetReplicas(
            id=number,
            model=model,
            expires_at=expires_at,
            after=follows,
            scale_target=target_from_builtins(record["scale_target"]),
            replicas=read_int(record["replicas"]),
        )
    if name == "Annotate":
        text = record["value"]
        return Annotate(
            id=number,
            model=model,
            expires_at=expires_at,
            after=follows,
            scale_target=target_from_builtins(record["scale_target"]),
            key=str(record["key"]),
            value=None if text is None else str(text),
        )
    if name in {"CordonNode", "UncordonNode"}:
        about_node = CordonNode if name == "CordonNode" else UncordonNode
        return about_node(
            id=number,
            model=model,
            expires_at=expires_at,
            after=follows,
            node=str(record["node"]),
        )
    if name in {"EvictPod", "DeletePod"}:
        about_pod = EvictPod if name == "EvictPod" else DeletePod
        return about_pod(
            id=number,
            model=model,
            expires_at=expires_at,
            after=follows,
            namespace=str(record["namespace"]),
            pod=str(record["pod"]),
            grace_s=read_int(record["grace_s"]),
        )
    raise InvariantBroken(f"reading a command: there is none called {name!r}")


def decision_to_builtins(decision: Decision) -> Record:
    """Write a decision."""
    measures: Record = {
        name: plain_float(getattr(decision.measures, name)) for name in _MEASURES_FLOATS
    }
    measures["cold_start_s"] = decision.measures.cold_start_s
    measures["warm_floor_replicas"] = decision.measures.warm_floor_replicas
    return {
        "event": decision.event,
        "at": decision.at,
        "model": decision.model,
        "direction": decision.direction.value,
        "reason": decision.reason,
        "policy": decision.policy,
        "current_replicas": decision.current_replicas,
        "proposal_replicas": decision.proposal_replicas,
        "desired_replicas": decision.desired_replicas,
        "pools": [
            {
                "pool": pool.pool,
                "current_replicas": pool.current_replicas,
                "ready_replicas": pool.ready_replicas,
                "starting_replicas": pool.starting_replicas,
                "doomed_replicas": pool.doomed_replicas,
                "desired_replicas": pool.desired_replicas,
                "fallback_replicas": pool.fallback_replicas,
            }
            for pool in decision.pools
        ],
        "trail": [
            {
                "by": step.by,
                "before": step.before,
                "after": step.after,
                "reason": step.reason,
                "message": step.message,
            }
            for step in decision.trail
        ],
        "conditions": [
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
            }
            for condition in decision.conditions
        ],
        "measures": measures,
    }


def decision_from_builtins(value: Plain) -> Decision:
    """Read back what `decision_to_builtins` wrote."""
    record = read_record(value)
    measures = read_record(record["measures"])
    floats = {name: read_optional_float(measures[name]) for name in _MEASURES_FLOATS}
    return Decision(
        event=read_int(record["event"]),
        at=read_float(record["at"]),
        model=str(record["model"]),
        direction=Direction(str(record["direction"])),
        reason=str(record["reason"]),
        policy=str(record["policy"]),
        current_replicas=_read_optional_int(record["current_replicas"]),
        proposal_replicas=_read_optional_int(record["proposal_replicas"]),
        desired_replicas=_read_optional_int(record["desired_replicas"]),
        pools=tuple([_pool_from_builtins(item) for item in read_list(record["pools"])]),
        trail=tuple([_step_from_builtins(item) for item in read_list(record["trail"])]),
        conditions=tuple(
            [_condition_from_builtins(item) for item in read_list(record["conditions"])]
        ),
        measures=Measures(
            **floats,
            cold_start_s=read_float(measures["cold_start_s"]),
            warm_floor_replicas=read_int(measures["warm_floor_replicas"]),
        ),
    )


def _pool_from_builtins(value: Plain) -> PoolDecision:
    record = read_record(value)
    return PoolDecision(
        pool=str(record["pool"]),
        current_replicas=_read_optional_int(record["current_replicas"]),
        ready_replicas=read_int(record["ready_replicas"]),
        starting_replicas=read_int(record["starting_replicas"]),
        doomed_replicas=read_int(record["doomed_replicas"]),
        desired_replicas=_read_optional_int(record["desired_replicas"]),
        fallback_replicas=read_int(record["fallback_replicas"]),
    )


def _step_from_builtins(value: Plain) -> Step:
    record = read_record(value)
    return Step(
        by=str(record["by"]),
        before=read_int(record["before"]),
        after=read_int(record["after"]),
        reason=str(record["reason"]),
        message=str(record["message"]),
    )


def _condition_from_builtins(value: Plain) -> Condition:
    record = read_record(value)
    return Condition(
        type=str(record["type"]),
        status=str(record["status"]),
        reason=str(record["reason"]),
        message=str(record["message"]),
    )


def _read_optional_int(value: Plain) -> int | None:
    return None if value is None else read_int(value)
