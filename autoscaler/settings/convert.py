"""From the resource to what the rooms behind it need, in their units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoscaler.core.contract.commands import PAUSED_ANNOTATION
from autoscaler.core.contract.spec import (
    Behavior,
    FleetSpec,
    ModelSpec,
    Objective,
    Pause,
    PoolSpec,
    ScaleTarget,
    ScalingPolicy,
    ScalingRules,
    Spot,
    Targets,
    WarmFloor,
)
from autoscaler.settings.resource import (
    BehaviorSection,
    EngineType,
    InferenceAutoscaler,
    MetricsSource,
    OnDemandFallback,
    PoolSection,
    ScalingRulesSection,
)

_PERIOD_S = {MetricsSource.PODS: 5, MetricsSource.PROMETHEUS: 15}
_SAMPLE_AGE_S_MIN = {MetricsSource.PODS: 15.0, MetricsSource.PROMETHEUS: 60.0}
"""Prometheus adds its own scrape interval, commonly 30 s, to the age of what it answers."""
_PAUSE = {"true": Pause.ALL, "scale-down": Pause.SCALE_DOWN, "false": Pause.NO}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """The server to ask for signals."""

    server_address: str
    """URL without a trailing slash."""
    bearer_token_file: str
    """Empty: none."""
    ca_file: str
    """Empty: the system's."""
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """How one model's signals are read: the sources' part of the resource."""

    model: str
    """`namespace/name` of the resource: `ModelSpec.key`."""
    namespace: str
    """Where its pods run."""
    engine: EngineType
    model_names: frozenset[str]
    """As the pods report them; empty takes all."""
    source: MetricsSource
    port: int
    path: str
    """Begins with `/`."""
    period_s: float
    prometheus: PrometheusSettings | None
    """Set where `source` is Prometheus."""


def to_core(resource: InferenceAutoscaler) -> ModelSpec:
    """Convert a validated resource."""
    metadata, spec = resource.metadata, resource.spec
    source = spec.metrics.source
    return ModelSpec(
        namespace=metadata.namespace,
        name=metadata.name,
        mode=spec.mode,
        pause=_PAUSE[(metadata.annotations or {}).get(PAUSED_ANNOTATION, "false")],
        pools=tuple(_pool(pool, metadata.namespace) for pool in spec.pools),
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        warm_floor=WarmFloor(**spec.warm_floor.model_dump()),
        objective=Objective(
            ttft_s=spec.objective.time_to_first_token_milliseconds / 1000,
            tpot_s=spec.objective.time_per_output_token_milliseconds / 1000,
            attainment_ratio=spec.objective.attainment_percent / 100,
        ),
        targets=Targets(
            in_flight_requests=spec.targets.in_flight_requests_per_replica,
            waiting_requests=float(spec.targets.waiting_requests_per_replica),
            kv_usage_ratio=spec.targets.kv_cache_usage_percent / 100,
        ),
        cold_start_prior_s=float(spec.cold_start.prior_seconds),
        forecast_mode=spec.forecast.mode,
        behavior=_behavior(spec.behavior),
        spot=Spot(
            on_demand_fallback=spec.spot.on_demand_fallback is OnDemandFallback.ENABLED,
            return_after_s=float(spec.spot.return_after_seconds),
            drain_margin_s=float(spec.spot.drain_margin_seconds),
        ),
        priority=spec.priority,
        sample_age_s_max=max(_SAMPLE_AGE_S_MIN[source], 4 * _period_s(resource)),
    )


def to_fleet(resources: Iterable[InferenceAutoscaler], *, gpu_budget: int | None) -> FleetSpec:
    """Convert all resources into the fleet of one engine, in order of key."""
    models = sorted((to_core(resource) for resource in resources), key=lambda model: model.key)
    return FleetSpec(models=tuple(models), gpu_budget=gpu_budget)


def metrics_settings(resource: InferenceAutoscaler) -> MetricsSettings:
    """Take the sources' part of a validated resource."""
    metrics = resource.spec.metrics
    prometheus: PrometheusSettings | None = None
    if metrics.source is MetricsSource.PROMETHEUS and metrics.prometheus is not None:
        prometheus = PrometheusSettings(
            server_address=metrics.prometheus.server_address.rstrip("/"),
            bearer_token_file=metrics.prometheus.bearer_token_file,
            ca_file=metrics.prometheus.ca_file,
            headers=tuple(sorted(metrics.prometheus.headers.items())),
        )
    return MetricsSettings(
        model=resource.key,
        namespace=resource.metadata.namespace,
        engine=resource.spec.engine,
        model_names=frozenset(resource.spec.model_names or ()),
        source=metrics.source,
        port=metrics.port,
        path=metrics.path,
        period_s=_period_s(resource),
        prometheus=prometheus,
    )


def _period_s(resource: InferenceAutoscaler) -> float:
    metrics = resource.spec.metrics
    return float(metrics.period_seconds or _PERIOD_S[metrics.source])


def _pool(pool: PoolSection, namespace: str) -> PoolSpec:
    return PoolSpec(
        name=pool.name,
        target=ScaleTarget(namespace=namespace, **pool.scale_target_ref.model_dump()),
        capacity_type=pool.capacity_type,
        price_usd_per_hour=pool.price_usd_per_hour,
    )


def _behavior(section: BehaviorSection) -> Behavior | None:
    if section.scale_up is None and section.scale_down is None:
        return None
    return Behavior(scale_up=_rules(section.scale_up), scale_down=_rules(section.scale_down))


def _rules(section: ScalingRulesSection | None) -> ScalingRules | None:
    if section is None:
        return None
    policies = tuple(
        ScalingPolicy(type=policy.type, value=policy.value, period_s=policy.period_seconds)
        for policy in section.policies or ()
    )
    return ScalingRules(
        stabilization_window_s=section.stabilization_window_seconds,
        select_policy=section.select_policy,
        policies=policies or None,
        tolerance_ratio=section.tolerance,
    )
