"""Specifications to plain builtins and back, for recordings and checkpoints."""

from __future__ import annotations

from autoscaler.core.contract.plain import (
    Plain,
    read_float,
    read_int,
    read_list,
    read_optional_float,
    read_record,
)
from autoscaler.core.contract.spec import (
    Behavior,
    FleetSpec,
    ForecastMode,
    Mode,
    ModelSpec,
    Objective,
    Pause,
    PolicyType,
    PoolSpec,
    ScaleTarget,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
    Spot,
    Targets,
    WarmFloor,
)
from autoscaler.core.contract.state import CapacityType


def fleet_to_builtins(fleet: FleetSpec) -> Plain:
    """Write a fleet's specification."""
    return {
        "gpu_budget": fleet.gpu_budget,
        "models": [_model_to_builtins(model) for model in fleet.models],
    }


def fleet_from_builtins(value: Plain) -> FleetSpec:
    """Read back what `fleet_to_builtins` wrote."""
    record = read_record(value)
    budget = record["gpu_budget"]
    return FleetSpec(
        gpu_budget=None if budget is None else read_int(budget),
        models=tuple([_model_from_builtins(item) for item in read_list(record["models"])]),
    )


def target_to_builtins(target: ScaleTarget) -> Plain:
    """Write a scale target."""
    return {
        "api_version": target.api_version,
        "kind": target.kind,
        "namespace": target.namespace,
        "name": target.name,
    }


def target_from_builtins(value: Plain) -> ScaleTarget:
    """Read back what `target_to_builtins` wrote."""
    record = read_record(value)
    return ScaleTarget(
        api_version=str(record["api_version"]),
        kind=str(record["kind"]),
        namespace=str(record["namespace"]),
        name=str(record["name"]),
    )


def _model_to_builtins(model: ModelSpec) -> Plain:
    objective, targets, spot = model.objective, model.targets, model.spot
    return {
        "namespace": model.namespace,
        "name": model.name,
        "generation": model.generation,
        "mode": model.mode.value,
        "pause": model.pause.value,
        "pools": [
            {
                "name": pool.name,
                "target": target_to_builtins(pool.target),
                "capacity_type": pool.capacity_type.value,
                "price_usd_per_hour": pool.price_usd_per_hour,
            }
            for pool in model.pools
        ],
        "min_replicas": model.min_replicas,
        "max_replicas": model.max_replicas,
        "warm_floor": {
            "replicas": model.warm_floor.replicas,
            "capacity_type": _optional_value(model.warm_floor.capacity_type),
        },
        "objective": {
            "ttft_s": objective.ttft_s,
            "tpot_s": objective.tpot_s,
            "attainment_ratio": objective.attainment_ratio,
        },
        "targets": {
            "in_flight_requests": targets.in_flight_requests,
            "waiting_requests": targets.waiting_requests,
            "kv_usage_ratio": targets.kv_usage_ratio,
        },
        "cold_start_prior_s": model.cold_start_prior_s,
        "forecast_mode": model.forecast_mode.value,
        "behavior": None if model.behavior is None else _behavior_to_builtins(model.behavior),
        "spot": {
            "on_demand_fallback": spot.on_demand_fallback,
            "return_after_s": spot.return_after_s,
            "drain_margin_s": spot.drain_margin_s,
        },
        "priority": model.priority,
        "sample_age_s_max": model.sample_age_s_max,
    }


def _model_from_builtins(value: Plain) -> ModelSpec:
    record = read_record(value)
    objective, targets = read_record(record["objective"]), read_record(record["targets"])
    floor, spot = read_record(record["warm_floor"]), read_record(record["spot"])
    behavior = record["behavior"]
    return ModelSpec(
        namespace=str(record["namespace"]),
        name=str(record["name"]),
        generation=read_int(record["generation"]),
        mode=Mode(str(record["mode"])),
        pause=Pause(str(record["pause"])),
        pools=tuple([_pool_from_builtins(item) for item in read_list(record["pools"])]),
        min_replicas=read_int(record["min_replicas"]),
        max_replicas=read_int(record["max_replicas"]),
        warm_floor=WarmFloor(
            replicas=read_int(floor["replicas"]),
            capacity_type=_optional_capacity_type(floor["capacity_type"]),
        ),
        objective=Objective(
            ttft_s=read_float(objective["ttft_s"]),
            tpot_s=read_float(objective["tpot_s"]),
            attainment_ratio=read_float(objective["attainment_ratio"]),
        ),
        targets=Targets(
            in_flight_requests=read_float(targets["in_flight_requests"]),
            waiting_requests=read_float(targets["waiting_requests"]),
            kv_usage_ratio=read_float(targets["kv_usage_ratio"]),
        ),
        cold_start_prior_s=read_float(record["cold_start_prior_s"]),
        forecast_mode=ForecastMode(str(record["forecast_mode"])),
        behavior=None if behavior is None else _behavior_from_builtins(behavior),
        spot=Spot(
            on_demand_fallback=bool(spot["on_demand_fallback"]),
            return_after_s=read_float(spot["return_after_s"]),
            drain_margin_s=read_float(spot["drain_margin_s"]),
        ),
        priority=read_int(record["priority"]),
        sample_age_s_max=read_float(record["sample_age_s_max"]),
    )


def _pool_from_builtins(value: Plain) -> PoolSpec:
    record = read_record(value)
    return PoolSpec(
        name=str(record["name"]),
        target=target_from_builtins(record["target"]),
        capacity_type=CapacityType(str(record["capacity_type"])),
        price_usd_per_hour=read_optional_float(record["price_usd_per_hour"]),
    )


def _behavior_to_builtins(behavior: Behavior) -> Plain:
    return {
        "scale_up": _rules_to_builtins(behavior.scale_up),
        "scale_down": _rules_to_builtins(behavior.scale_down),
    }


def _behavior_from_builtins(value: Plain) -> Behavior:
    record = read_record(value)
    return Behavior(
        scale_up=_rules_from_builtins(record["scale_up"]),
        scale_down=_rules_from_builtins(record["scale_down"]),
    )


def _rules_to_builtins(rules: ScalingRules | None) -> Plain:
    if rules is None:
        return None
    policies: Plain = None
    if rules.policies is not None:
        policies = [
            {"type": policy.type.value, "value": policy.value, "period_s": policy.period_s}
            for policy in rules.policies
        ]
    return {
        "stabilization_window_s": rules.stabilization_window_s,
        "select_policy": rules.select_policy.value,
        "policies": policies,
        "tolerance_ratio": rules.tolerance_ratio,
    }


def _rules_from_builtins(value: Plain) -> ScalingRules | None:
    if value is None:
        return None
    record = read_record(value)
    window, policies = record["stabilization_window_s"], record["policies"]
    return ScalingRules(
        stabilization_window_s=None if window is None else read_int(window),
        select_policy=SelectPolicy(str(record["select_policy"])),
        policies=None
        if policies is None
        else tuple([_policy_from_builtins(item) for item in read_list(policies)]),
        tolerance_ratio=read_optional_float(record["tolerance_ratio"]),
    )


def _policy_from_builtins(value: Plain) -> ScalingPolicy:
    record = read_record(value)
    return ScalingPolicy(
        type=PolicyType(str(record["type"])),
        value=read_int(record["value"]),
        period_s=read_int(record["period_s"]),
    )


def _optional_value(kind: CapacityType | None) -> str | None:
    return None if kind is None else kind.value


def _optional_capacity_type(value: Plain) -> CapacityType | None:
    return None if value is None else CapacityType(str(value))
