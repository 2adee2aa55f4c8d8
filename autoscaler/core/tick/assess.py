"""From one model's observation to a proposal and the situation that the guards look at.

Here all of the model's memory learns, once a tick.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.decision import Measures, Step
from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.contract.spec import ForecastMode, ModelSpec, Pause
from autoscaler.core.contract.state import BoolArray, FloatArray, ModelObservation
from autoscaler.core.demand.demand import Demand, measure_demand
from autoscaler.core.forecast import Forecast, forecast, learn, scores
from autoscaler.core.guards.freshness import find_blindness
from autoscaler.core.guards.stabilization import down_window_s, watch_window
from autoscaler.core.guards.warm_floor import count_ready
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import PolicyInput, Proposal
from autoscaler.core.policy.replica_value import steps_ahead
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation, assess_pools, is_quiet
from autoscaler.core.pools.stand_ins import count_stand_ins
from autoscaler.core.supply.cold_starts import (
    ColdStartMemory,
    cold_start_s,
    finished_cold_start_s,
    observe_starts,
)
from autoscaler.core.supply.stock import Stock, take_stock
from autoscaler.core.tick.facts import Draft, TickFacts
from autoscaler.core.tuning import TUNING


class Learnt(NamedTuple):
    """What this tick's observation says of a model."""

    demand: Demand
    stock: Stock
    answering: int
    """Ready, not doomed replicas that say what they hold."""
    sample_age_s: float | None
    """Of the oldest sample of these; None: none answers."""
    cold_start_s: float
    """Of the preferred pool, to which the next start would go."""
    forecast: Forecast | None
    """None: no history yet, or switched off."""


def assess(
    facts: TickFacts,
    spec: ModelSpec,
    observation: ModelObservation,
    *,
    order: PoolOrder,
    memory: ModelMemory,
) -> Draft:
    """Learn from the observation, take stock, and let the policy propose.

    Args:
        facts: of the tick.
        spec: of the model.
        observation: of the model, its pools those of the spec.
        order: of its pools.
        memory: of the model; changed.
    """
    learnt = _learn(facts, spec, observation, order=order, memory=memory)
    situation, proposal = _propose(facts, spec, observation, learnt, order=order, memory=memory)
    serving = situation.serving_replicas if proposal.replicas is None else proposal.replicas
    step = Step(
        by=StepBy.POLICY,
        before=sum([pool.current for pool in situation.pools]),
        after=serving,
        reason=proposal.reason,
        message=proposal.message,
    )
    return Draft(
        situation=situation,
        count=ReplicaCount(serving, serving),
        trail=[step],
        proposal=proposal,
        measures=_measure(spec, learnt, memory=memory),
    )


def _learn(
    facts: TickFacts,
    spec: ModelSpec,
    observation: ModelObservation,
    *,
    order: PoolOrder,
    memory: ModelMemory,
) -> Learnt:
    """Measure demand, count replicas by what can be expected of them, and look ahead."""
    at, replicas = facts.at, observation.replicas
    expected_s = _learn_cold_starts(facts, spec, observation, memory=memory)
    ages_s = at - replicas.sampled_at
    fresh: BoolArray = ages_s <= spec.sample_age_s_max  # NaN, never sampled, is not
    demand = measure_demand(
        memory.demand, at=at, replicas=replicas, fresh=fresh, targets=spec.targets
    )
    stock = take_stock(
        memory.stock,
        at=at,
        spec=spec,
        observation=observation,
        doom=facts.doom,
        cold_starts_s=expected_s,
        gpus=facts.gpus,
    )
    answering, age_s = _count_answering(
        facts, observation, demand=demand, ready=stock.ready, fresh=fresh, ages_s=ages_s
    )
    preferred = memory.cold_starts[spec.pools[order.preferred].name]
    start_s = cold_start_s(preferred, prior_s=spec.cold_start_prior_s)
    return Learnt(
        demand=demand,
        stock=stock,
        answering=answering,
        sample_age_s=age_s,
        cold_start_s=start_s,
        forecast=_look_ahead(facts, spec, demand, memory=memory, start_s=start_s),
    )


def _learn_cold_starts(
    facts: TickFacts, spec: ModelSpec, observation: ModelObservation, *, memory: ModelMemory
) -> list[float]:
    """Return, by pool, what a start is expected to take by those that are finished."""
    expected = []
    for index, pool in enumerate(spec.pools):
        kept = memory.cold_starts.get(pool.name)
        if kept is None:
            kept = memory.cold_starts[pool.name] = ColdStartMemory()
        observe_starts(kept, at=facts.at, replicas=observation.replicas, pool=index)
        expected.append(finished_cold_start_s(kept, prior_s=spec.cold_start_prior_s))
    return expected


def _count_answering(
    facts: TickFacts,
    observation: ModelObservation,
    *,
    demand: Demand,
    ready: BoolArray,
    fresh: BoolArray,
    ages_s: FloatArray,
) -> tuple[int, float | None]:
    """Return how many ready, not doomed replicas answer, and the age of their oldest sample."""
    if facts.doom is None and demand.answering == len(ages_s):
        # every replica there is: almost every tick
        return demand.answering, float(np.maximum.reduce(ages_s)) if demand.answering else None
    replicas = observation.replicas
    # A page that has no such series is fresh and says nothing: NaN is not >= 0.
    in_flight = replicas.waiting_requests + replicas.running_requests
    used: BoolArray = ready & fresh & (in_flight >= 0.0)
    answering = int(np.count_nonzero(used))
    return answering, float(np.maximum.reduce(ages_s[used])) if answering else None


def _look_ahead(
    facts: TickFacts, spec: ModelSpec, demand: Demand, *, memory: ModelMemory, start_s: float
) -> Forecast | None:
    """Learn from the offered demand and forecast it; None: no history yet, or switched off."""
    if spec.forecast_mode is ForecastMode.OFF or facts.settings.policy == "reactive":
        return None
    steps = steps_ahead(cold_start_s=start_s, tick_s=facts.settings.tick_s)
    learn(
        memory.forecast,
        at=facts.at,
        offered_replicas=demand.offered_replicas,
        mean_s=TUNING.mean_steps * steps.step_s,
    )
    return forecast(memory.forecast, at=facts.at, cold_start_s=start_s)


def _propose(
    facts: TickFacts,
    spec: ModelSpec,
    observation: ModelObservation,
    learnt: Learnt,
    *,
    order: PoolOrder,
    memory: ModelMemory,
) -> tuple[Situation, Proposal]:
    """Count what is there, let the policy propose, and put the facts together."""
    stock = learnt.stock
    promised = 0
    if order.fallback is not None:
        promises = observation.pools[order.fallback].promises
        promised = sum([promise.replicas for promise in promises])
    pools = assess_pools(
        at=facts.at,
        spec=spec,
        order=order,
        observation=observation,
        stock=stock,
        placed=memory.placed,
        promised=promised,
        interrupted=facts.doom is not None,
    )
    asked = sum([pool.current - pool.fallback for pool in pools])
    stand_ins = count_stand_ins(pools, preferred=order.preferred, remembered=memory.stand_ins)
    serving = asked - stand_ins
    blind = find_blindness(
        cluster_age_s=facts.at - facts.event.cluster_at,
        cluster_age_s_max=facts.settings.cluster_age_s_max,
        ready=stock.supply.ready,
        answering=learnt.answering,
        sample_age_s_max=spec.sample_age_s_max,
    )
    settled = watch_window(
        memory,
        at=facts.at,
        serving=serving,
        window_s=down_window_s(spec, cold_start_s=learnt.cold_start_s),
        start_without=facts.settings.start_without_windows,
    )
    proposal = _ask_policy(facts, spec, learnt, memory=memory, serving=serving)
    situation = Situation(
        at=facts.at,
        spec=spec,
        order=order,
        observation=observation,
        doom=facts.doom,
        stock=stock,
        pools=pools,
        cold_start_s=learnt.cold_start_s,
        asked_replicas=asked,
        serving_replicas=serving,
        stand_ins=stand_ins,
        promised=promised,
        blind=blind,
        may_shrink=settled and blind is None and spec.pause is Pause.NO,
        pinned=any(pool.pinned for pool in pools),
        quiet=is_quiet(pools, order=order, promised=promised, doom=facts.doom),
        floor_ready=count_ready(
            spec=spec, observation=observation, nodes=facts.event.nodes, stock=stock
        ),
        proposal=proposal.replicas,
        placements={},
    )
    return situation, proposal


def _ask_policy(
    facts: TickFacts, spec: ModelSpec, learnt: Learnt, *, memory: ModelMemory, serving: int
) -> Proposal:
    """Let the policy propose; it sees no more supply than the replicas that are to serve."""
    name = "reactive" if spec.forecast_mode is ForecastMode.OFF else facts.settings.policy
    propose = facts.parts.policies[name]
    proposal = propose(
        PolicyInput(
            at=facts.at,
            demand=learnt.demand,
            forecast=learnt.forecast,
            offered_replicas=_recently_offered(learnt.demand, memory=memory),
            supply=learnt.stock.supply.within(serving),
            cold_start_s=learnt.cold_start_s,
            floor=max(spec.min_replicas, spec.warm_floor.replicas),
            replicas_max=spec.max_replicas,
            attainment_ratio=spec.objective.attainment_ratio,
            tick_s=facts.settings.tick_s,
            likely=memory.proposed,
        )
    )
    memory.proposed = proposal.replicas
    return proposal


def _recently_offered(demand: Demand, *, memory: ModelMemory) -> float | None:
    """Return the mean offered demand of the last third of a cold start, where it is remembered."""
    history = memory.forecast.history
    if demand.offered_replicas is None or history.slot < 0:
        return None
    return history.mean(memory.forecast.mean_slots)


def _measure(spec: ModelSpec, learnt: Learnt, *, memory: ModelMemory) -> Measures:
    """Write down the numbers that the decision rests on."""
    demand, ahead, quality = learnt.demand, learnt.forecast, scores(memory.forecast)
    return Measures(
        demand_replicas=demand.replicas,
        offered_replicas=demand.offered_replicas,
        waiting_requests=demand.waiting_requests,
        running_requests=demand.running_requests,
        kv_usage_ratio=demand.kv_usage_ratio,
        forecast_replicas=None if ahead is None else ahead.mean_replicas,
        forecast_low_replicas=None if ahead is None else ahead.low_replicas,
        forecast_high_replicas=None if ahead is None else ahead.high_replicas,
        forecast_error_ratio=quality.error_ratio,
        forecast_pinball_loss_replicas=quality.pinball_loss_replicas,
        forecast_coverage_ratio=quality.coverage_ratio,
        cold_start_s=learnt.cold_start_s,
        warm_floor_replicas=spec.warm_floor.replicas,
        observation_age_s=learnt.sample_age_s,
    )
