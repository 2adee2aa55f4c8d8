"""From the resource to what the rooms behind it need, in their units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autoscaler.core.contract.commands import PAUSED_ANNOTATION, PAUSED_REPLICAS_ANNOTATION
from autoscaler.core.contract.schedules import DAY_S, FloorSchedule
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
from autoscaler.settings.floor_schedules import days_text, time_text
from autoscaler.settings.resource import (
    BehaviorSection,
    EngineType,
    FloorScheduleSection,
    InferenceAutoscaler,
    MetricsSource,
    OnDemandFallback,
    PoolSection,
    ScalingRulesSection,
    WarmFloorSection,
)
from autoscaler.settings.time_zones import read_time_zone

_PERIOD_S = {MetricsSource.PODS: 5, MetricsSource.PROMETHEUS: 15}
_SAMPLE_AGE_S_MIN = {MetricsSource.PODS: 15.0, MetricsSource.PROMETHEUS: 60.0}
"""Prometheus adds its own scrape interval, commonly 30 s, to the age of what it answers."""
_PAUSE = {
    "true": Pause.ALL,
    "scale-down": Pause.SCALE_DOWN,
    "scale-up": Pause.SCALE_UP,
    "false": Pause.NO,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Whom to trust of a model's pods."""

    ca: str = ""
    """PEM certificates; empty: the system's authorities."""
    server_name: str = ""
    """That the certificate must be of; empty: the pod's IP."""
    insecure_skip_verify: bool = False


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
    ports: tuple[int, ...]
    """One or more pages of each pod, which are added up."""
    scheme: str
    """`http` or `https`."""
    tls: TlsSettings
    path: str
    """Begins with one `/`; with its query."""
    period_s: float
    deadline_s: float
    """Of one read."""
    server: str = ""
    """Name of the Prometheus to ask, where `source` is Prometheus."""
    matchers: tuple[tuple[str, str], ...] = ()
    """(label, value) that series there must have."""


def to_core(resource: InferenceAutoscaler) -> ModelSpec:
    """Convert a validated resource."""
    metadata, spec = resource.metadata, resource.spec
    annotations = metadata.annotations or {}
    paused_replicas = annotations.get(PAUSED_REPLICAS_ANNOTATION)
    return ModelSpec(
        namespace=metadata.namespace,
        name=metadata.name,
        mode=spec.mode,
        pause=_PAUSE[annotations.get(PAUSED_ANNOTATION, "false")],
        paused_replicas=None if paused_replicas is None else int(paused_replicas),
        pools=tuple(_pool(pool, metadata.namespace) for pool in spec.pools),
        min_replicas=spec.min_replicas,
        max_replicas=spec.max_replicas,
        warm_floor=_warm_floor(spec.warm_floor),
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
        sample_age_s_max=_sample_age_s_max(resource),
        manual_scale_hold_s=float(spec.manual_scale.hold_seconds),
    )


def to_fleet(
    resources: Iterable[InferenceAutoscaler], *, gpu_budget: int | None, complete: bool = True
) -> FleetSpec:
    """Convert all resources into the fleet of one engine, in order of key."""
    models = sorted((to_core(resource) for resource in resources), key=lambda model: model.key)
    return FleetSpec(models=tuple(models), gpu_budget=gpu_budget, complete=complete)


def metrics_settings(resource: InferenceAutoscaler) -> MetricsSettings:
    """Take the sources' part of a validated resource."""
    metrics = resource.spec.metrics
    prometheus = metrics.prometheus if metrics.source is MetricsSource.PROMETHEUS else None
    return MetricsSettings(
        model=resource.key,
        namespace=resource.metadata.namespace,
        engine=resource.spec.engine,
        model_names=frozenset(resource.spec.model_names or ()),
        source=metrics.source,
        ports=metrics.ports or (metrics.port,),
        scheme=metrics.scheme.lower(),
        tls=TlsSettings(**metrics.tls.model_dump()) if metrics.tls else TlsSettings(),
        path=metrics.path,
        period_s=_period_s(resource),
        deadline_s=_deadline_s(resource),
        server=prometheus.server if prometheus else "",
        matchers=tuple(sorted(prometheus.matchers.items())) if prometheus else (),
    )


def _period_s(resource: InferenceAutoscaler) -> float:
    metrics = resource.spec.metrics
    return float(metrics.period_seconds or _PERIOD_S[metrics.source])


def _deadline_s(resource: InferenceAutoscaler) -> float:
    """Of one read: two periods, as a page is slowest just when load is highest."""
    return float(resource.spec.metrics.deadline_seconds or 2 * _period_s(resource))


def _sample_age_s_max(resource: InferenceAutoscaler) -> float:
    """Of a sample that is believed: some reads may fail, and the slowest that is allowed is none of them."""
    period_s = _period_s(resource)
    source = resource.spec.metrics.source
    return max(_SAMPLE_AGE_S_MIN[source], 4 * period_s, _deadline_s(resource) + 2 * period_s)


def _pool(pool: PoolSection, namespace: str) -> PoolSpec:
    return PoolSpec(
        name=pool.name,
        target=ScaleTarget(namespace=namespace, **pool.scale_target_ref.model_dump()),
        capacity_type=pool.capacity_type,
        price_usd_per_hour=pool.price_usd_per_hour,
    )


def _warm_floor(section: WarmFloorSection) -> WarmFloor:
    return WarmFloor(
        replicas=section.replicas,
        capacity_type=section.capacity_type,
        ramp=section.ramp,
        schedules=tuple(_floor_schedule(schedule) for schedule in section.schedules),
    )


def _floor_schedule(section: FloorScheduleSection) -> FloorSchedule:
    to_s = section.to if section.to > section.from_ else section.to + DAY_S
    times = f"{time_text(section.from_)}-{time_text(section.to)}"
    return FloorSchedule(
        days=section.days,
        from_s=section.from_,
        to_s=to_s,
        time_zone=read_time_zone(section.time_zone),
        replicas=section.replicas,
        text=f"{days_text(section.days)} {times} {section.time_zone}",
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
