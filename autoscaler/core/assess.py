"""From one model's observation to a proposal and the facts that the guards look at.

Pure: no I/O, no clock. Here all of the model's memory learns, once a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.coldstart import ColdStartMemory
from autoscaler.core.decision import Measures, Step
from autoscaler.core.demand import Demand
from autoscaler.core.doomed import Doom
from autoscaler.core.engine_settings import EngineSettings
from autoscaler.core.events import Observed
from autoscaler.core.forecast import Forecast, ForecastMemory
from autoscaler.core.free_gpus import FreeGpus
from autoscaler.core.guards.stabilization import down_window_s
from autoscaler.core.layout import Layout
from autoscaler.core.memory import ModelMemory
from autoscaler.core.parts import Parts
from autoscaler.core.placement import standing_in
from autoscaler.core.policy import PolicyInput, Proposal
from autoscaler.core.situation import (
    PoolState,
    Situation,
    Wanted,
    assess_pools,
    count_floor_ready,
    is_quiet,
)
from autoscaler.core.spec import ForecastMode, ModelSpec, Pause
from autoscaler.core.state import BoolArray, ModelObservation
from autoscaler.core.stock import Stock, take_stock


@dataclass(slots=True, kw_only=True)
class Draft:
    """A decision in the making."""

    situation: Situation
    wanted: Wanted
    trail: list[Step]
    proposal: Proposal
    measures: Measures


def assess(
    spec: ModelSpec,
    observation: ModelObservation,
    *,
    at: float,
    event: Observed,
    settings: EngineSettings,
    layout: Layout,
    memory: ModelMemory,
    doom: Doom | None,
    gpus: FreeGpus,
    parts: Parts,
) -> Draft:
    """Learn from an observation, take stock, and let the policy propose."""
    replicas = observation.replicas
    expected_s = _learn_cold_starts(spec, observation, at=at, memory=memory, parts=parts)
    ages_s = at - replicas.sampled_at
    fresh: BoolArray = ages_s <= spec.sample_age_s_max  # NaN, never sampled, is not
    demand = parts.measure_demand(
        memory.demand, at=at, replicas=replicas, fresh=fresh, targets=spec.targets
    )
    stock = take_stock(
        memory.stock,
        at=at,
        spec=spec,
        observation=observation,
        doom=doom,
        cold_starts_s=expected_s,
        gpus=gpus,
        watch=parts.watch_loading,
    )
    promised = 0
    if layout.fallback is not None:
        promised = sum([p.replicas for p in observation.pools[layout.fallback].promises])
    pools = assess_pools(
        at=at,
        spec=spec,
        layout=layout,
        observation=observation,
        stock=stock,
        placed=memory.placed,
        promised=promised,
        interrupted=doom is not None,
    )
    preferred = spec.pools[layout.preferred].name
    cold_start_s = parts.cold_start_s(
        memory.cold_starts[preferred], prior_s=spec.cold_start_prior_s
    )
    used: BoolArray = stock.ready & fresh
    answering = int(np.count_nonzero(used))
    blind, blind_message = _find_blindness(
        spec=spec,
        cluster_age_s=at - event.cluster_at,
        cluster_age_s_max=settings.cluster_age_s_max,
        ready=stock.supply.ready,
        answering=answering,
    )
    forecast = _look_ahead(
        memory.forecast, at=at, spec=spec, settings=settings, demand=demand,
        cold_start_s=cold_start_s, parts=parts,
    )  # fmt: skip
    current = sum([pool.current - pool.fallback for pool in pools])
    standing = standing_in(pools, preferred=layout.preferred, remembered=memory.standing)
    level = current - standing
    proposal = _propose(
        at=at, spec=spec, settings=settings, stock=stock, demand=demand, forecast=forecast,
        cold_start_s=cold_start_s, level=level, parts=parts,
    )  # fmt: skip
    settled = _settle(
        memory, at=at, settings=settings, spec=spec, level=level, cold_start_s=cold_start_s
    )
    situation = Situation(
        at=at,
        spec=spec,
        layout=layout,
        observation=observation,
        doom=doom,
        stock=stock,
        pools=pools,
        standing=standing,
        hpa=memory.hpa,
        cold_start_s=cold_start_s,
        current=current,
        level=level,
        promised=promised,
        proposal=proposal.replicas,
        blind=blind,
        blind_message=blind_message,
        may_shrink=settled and not blind and spec.pause is Pause.NO,
        pinned=any(pool.pinned for pool in pools),
        quiet=is_quiet(pools, layout=layout, promised=promised, doom=doom),
        floor_ready=count_floor_ready(
            spec=spec, observation=observation, nodes=event.nodes, stock=stock
        ),
    )  # fmt: skip
    asked = level if proposal.replicas is None else proposal.replicas
    step = Step(
        by="policy",
        before=_total(pools),
        after=asked,
        reason=proposal.reason,
        message=proposal.message,
    )
    return Draft(
        situation=situation,
        wanted=Wanted(asked, asked),
        trail=[step],
        proposal=proposal,
        measures=_measure(
            spec, demand=demand, forecast=forecast, memory=memory, cold_start_s=cold_start_s,
            age_s=float(ages_s[used].max()) if answering else None, parts=parts,
        ),
    )  # fmt: skip


def _learn_cold_starts(
    spec: ModelSpec,
    observation: ModelObservation,
    *,
    at: float,
    memory: ModelMemory,
    parts: Parts,
) -> list[float]:
    """Return, by pool, what a start is expected to take by those that are finished."""
    learnt = []
    for index, pool in enumerate(spec.pools):
        kept = memory.cold_starts.get(pool.name)
        if kept is None:
            kept = memory.cold_starts[pool.name] = ColdStartMemory()
        parts.observe_starts(kept, at=at, replicas=observation.replicas, pool=index)
        learnt.append(parts.finished_cold_start_s(kept, prior_s=spec.cold_start_prior_s))
    return learnt


def _look_ahead(
    memory: ForecastMemory,
    *,
    at: float,
    spec: ModelSpec,
    settings: EngineSettings,
    demand: Demand,
    cold_start_s: float,
    parts: Parts,
) -> Forecast | None:
    if spec.forecast_mode is ForecastMode.OFF or settings.policy == "reactive":
        return None
    parts.learn(memory, at=at, offered_replicas=demand.offered_replicas)
    return parts.forecast(memory, at=at, cold_start_s=cold_start_s)


def _propose(
    *,
    at: float,
    spec: ModelSpec,
    settings: EngineSettings,
    stock: Stock,
    demand: Demand,
    forecast: Forecast | None,
    cold_start_s: float,
    level: int,
    parts: Parts,
) -> Proposal:
    """Let the policy propose a level; it sees no more supply than the level that is asked for."""
    name = "reactive" if spec.forecast_mode is ForecastMode.OFF else settings.policy
    return parts.policies[name](
        PolicyInput(
            at=at,
            demand=demand,
            forecast=forecast,
            supply=stock.supply.within(level),
            cold_start_s=cold_start_s,
            floor=max(spec.min_replicas, spec.warm_floor.replicas),
            replicas_max=spec.max_replicas,
            attainment_ratio=spec.objective.attainment_ratio,
            tick_s=settings.tick_s,
        )
    )


def _find_blindness(
    *,
    spec: ModelSpec,
    cluster_age_s: float,
    cluster_age_s_max: float,
    ready: int,
    answering: int,
) -> tuple[str, str]:
    """Return why nothing may be scaled down: a reason and a message, empty where we can see."""
    if not cluster_age_s <= cluster_age_s_max:  # NaN is not either
        message = (
            f"the cluster was last in step {cluster_age_s:.0f} s ago, more than the "
            f"{cluster_age_s_max:.0f} s that are allowed"
        )
        return "ClusterStale", message
    if answering < ready:
        limit_s = spec.sample_age_s_max
        message = f"{ready - answering} of {ready} ready replicas have no sample younger than {limit_s:.0f} s"
        return "MetricsStale", message
    return "", ""


def _settle(
    memory: ModelMemory,
    *,
    at: float,
    settings: EngineSettings,
    spec: ModelSpec,
    level: int,
    cold_start_s: float,
) -> bool:
    """Tell whether a whole window has been watched; at first sight, remember what is there.

    That first entry is HPA's own way not to forget into a scale-down: what was asked for counts as
    proposed once.
    """
    if memory.first_at is None:
        memory.first_at = at
        if not settings.start_without_windows:
            memory.hpa.recommendations.append((at, level))
    if settings.start_without_windows:
        return True
    return at - memory.first_at >= down_window_s(spec, cold_start_s=cold_start_s)


def _measure(
    spec: ModelSpec,
    *,
    demand: Demand,
    forecast: Forecast | None,
    memory: ModelMemory,
    cold_start_s: float,
    age_s: float | None,
    parts: Parts,
) -> Measures:
    scores = parts.scores(memory.forecast)
    return Measures(
        demand_replicas=demand.replicas,
        offered_replicas=demand.offered_replicas,
        waiting_requests=demand.waiting_requests,
        running_requests=demand.running_requests,
        kv_usage_ratio=demand.kv_usage_ratio,
        forecast_replicas=None if forecast is None else forecast.mean_replicas,
        forecast_low_replicas=None if forecast is None else forecast.low_replicas,
        forecast_high_replicas=None if forecast is None else forecast.high_replicas,
        forecast_error_ratio=scores.error_ratio,
        forecast_pinball_loss_replicas=scores.pinball_loss_replicas,
        forecast_coverage_ratio=scores.coverage_ratio,
        cold_start_s=cold_start_s,
        warm_floor_replicas=spec.warm_floor.replicas,
        observation_age_s=age_s,
    )


def _total(pools: Sequence[PoolState]) -> int:
    return sum([pool.current for pool in pools])
