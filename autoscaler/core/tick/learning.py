"""What one observation teaches of a model: demand, stock, starts, what is ahead, and what rules would have done."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autoscaler.core.candidates import Played, TickTraffic, limits_of, play
from autoscaler.core.contract.spec import ForecastMode, ModelSpec, RampMode
from autoscaler.core.contract.state import BoolArray, FloatArray, ModelObservation
from autoscaler.core.demand.demand import Demand, measure_demand
from autoscaler.core.demand.sample_age import sample_age_s_max
from autoscaler.core.forecast import Forecast, forecast, learn
from autoscaler.core.forecast.ramp import learn_ramp
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import candidates
from autoscaler.core.policy.replica_value import steps_ahead
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.supply.cold_starts import (
    ColdStartMemory,
    cold_start_s,
    finished_cold_start_s,
    observe_starts,
)
from autoscaler.core.supply.stock import Stock, take_stock
from autoscaler.core.tick.facts import TickFacts
from autoscaler.core.tuning import TUNING


class Learnt(NamedTuple):
    """What this tick's observation says of a model."""

    demand: Demand
    stock: Stock
    answering: int
    """Ready, not doomed replicas that say what they hold."""
    mute: int
    """Ready, not doomed replicas that have not answered for long, and are counted as full."""
    sample_age_s: float | None
    """Of the oldest sample of these; None: none answers."""
    sample_age_s_max: float
    """The greatest that any of the samples may have."""
    cold_start_s: float
    """Of the preferred pool, to which the next start would go."""
    forecast: Forecast | None
    """None: no history yet, or switched off."""
    traffic: TickTraffic | None
    """Since the last tick; None: unknown."""
    played: Played | None
    """None: no rule was played."""


def learn_tick(
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
    limits_s = sample_age_s_max(replicas, asked_s=spec.sample_age_s_max)
    fresh: BoolArray = ages_s <= limits_s  # NaN, never sampled, is not
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
    ahead = _look_ahead(facts, spec, demand, memory=memory, start_s=start_s)
    traffic = _traffic(demand, memory=memory, ready=stock.supply.ready)
    played = _play(facts, spec, traffic, memory=memory, start_s=start_s)
    if played is not None and played.settled:
        # what misses taught takes the place of what queues did
        demand = demand._replace(carried_ratio=played.carried_ratio)
    elif played is None and memory.known_until is not None and memory.candidates.settled:
        # An earlier process had learnt it; that the first look cannot tell what arrives refutes nothing.
        demand = demand._replace(carried_ratio=memory.candidates.capacity.ratio)
    return Learnt(
        demand=demand,
        stock=stock,
        answering=answering,
        mute=0 if demand.mute is None else int(np.count_nonzero(stock.ready & demand.mute)),
        sample_age_s=age_s,
        sample_age_s_max=float(np.maximum.reduce(limits_s, initial=spec.sample_age_s_max)),
        cold_start_s=start_s,
        forecast=ahead,
        traffic=traffic,
        played=played,
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
        service_s=demand.service_s,
    )
    if spec.warm_floor.ramp is RampMode.AUTO:
        learn_ramp(
            memory.ramp,
            memory.forecast.history,
            cold_start_s=start_s,
            mean_slots=memory.forecast.mean_slots,
            attainment_ratio=spec.objective.attainment_ratio,
            carried_ratio=demand.carried_ratio,
        )
    return forecast(memory.forecast, at=facts.at, cold_start_s=start_s)


def _traffic(demand: Demand, *, memory: ModelMemory, ready: int) -> TickTraffic | None:
    """Return what came since the last tick; None: it cannot be told."""
    if demand.offered_replicas is None or demand.arrivals_per_s is None or demand.service_s is None:
        return None
    came = memory.attainment.came
    return TickTraffic(
        arrivals_per_s=demand.arrivals_per_s,
        load=demand.offered_replicas,
        ready=ready,
        service_s=demand.service_s,
        missed=came.missed,
        judged=came.judged,
    )


def _play(
    facts: TickFacts,
    spec: ModelSpec,
    traffic: TickTraffic | None,
    *,
    memory: ModelMemory,
    start_s: float,
) -> Played | None:
    """Play the rules on what was seen; None: nothing was, or none of them is to decide."""
    if facts.settings.policy != candidates.NAME or spec.forecast_mode is ForecastMode.OFF:
        return None
    return play(
        memory.candidates,
        at=facts.at,
        seen=traffic,
        limits=limits_of(spec, cold_start_s=start_s),
    )
