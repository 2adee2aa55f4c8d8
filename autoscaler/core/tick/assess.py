"""From one model's observation to a proposal and the situation that the guards look at.

Here all of the model's memory learns, once a tick.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoscaler.core.attainment.attainment import measure_attainment
from autoscaler.core.contract.decision import Step
from autoscaler.core.contract.reasons import Reason, StepBy
from autoscaler.core.contract.spec import ForecastMode, ModelSpec, Pause
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.demand.demand import Demand
from autoscaler.core.guards.freshness import find_blindness
from autoscaler.core.guards.stabilization import down_window_s, watch_window
from autoscaler.core.guards.warm_floor import count_ready
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import PolicyInput, Proposal
from autoscaler.core.pools.floor import FloorNow, in_force
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.pools.pool_state import PoolState
from autoscaler.core.pools.replica_count import ReplicaCount
from autoscaler.core.pools.situation import Situation, assess_pools, is_quiet, scales
from autoscaler.core.pools.spread import Spread, make_spread
from autoscaler.core.pools.stand_ins import count_stand_ins
from autoscaler.core.supply.conflicts import watch_writers
from autoscaler.core.supply.cooldown import watch_places
from autoscaler.core.supply.departures import watch_departures
from autoscaler.core.supply.drains import learn_drains
from autoscaler.core.supply.rollouts import watch_rollouts
from autoscaler.core.tick.facts import Draft, TickFacts
from autoscaler.core.tick.floor import watch_floor, with_floor
from autoscaler.core.tick.learning import Learnt, learn_tick
from autoscaler.core.tick.measures import carried, measure


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
    floor = watch_floor(facts, spec, order, memory=memory)
    spec, order = in_force(spec, order, floor)
    departed = watch_departures(
        memory.departures,
        at=facts.at,
        observation=observation,
        doom=facts.doom,
        names=memory.demand.last.names,
        in_flight=memory.demand.last.in_flight,
    )
    learn_drains(memory.drains, departed)
    attainment = measure_attainment(
        memory.attainment,
        at=facts.at,
        replicas=observation.replicas,
        objective=spec.objective,
        lost=math.fsum([each.lost_requests or 0.0 for each in departed]),
    )
    learnt = learn_tick(facts, spec, observation, order=order, memory=memory)
    situation, proposal = _propose(
        facts, spec, observation, learnt, order=order, floor=floor, memory=memory
    )
    serving = situation.serving_replicas if proposal.replicas is None else proposal.replicas
    step = Step(
        by=StepBy.POLICY,
        before=sum([pool.current for pool in situation.pools]),
        after=serving,
        reason=proposal.reason,
        message=with_floor(proposal, spec, floor),
    )
    return Draft(
        situation=situation,
        count=ReplicaCount(serving, serving),
        trail=[step],
        proposal=proposal,
        measures=measure(facts, spec, observation, learnt, floor=floor, memory=memory),
        departed=departed,
        attainment=attainment,
    )


def _propose(
    facts: TickFacts,
    spec: ModelSpec,
    observation: ModelObservation,
    learnt: Learnt,
    *,
    order: PoolOrder,
    floor: FloorNow,
    memory: ModelMemory,
) -> tuple[Situation, Proposal]:
    """Count what is there, let the policy propose, and put the facts together."""
    stock = learnt.stock
    promised = 0
    if order.fallback is not None:
        promises = observation.pools[order.fallback].promises
        promised = sum([promise.replicas for promise in promises])
    rollouts = watch_rollouts(
        memory.rollouts, at=facts.at, observation=observation, cold_start_s=learnt.cold_start_s
    )
    pools = assess_pools(
        at=facts.at,
        spec=spec,
        order=order,
        observation=observation,
        stock=stock,
        placed=memory.placed,
        promised=promised,
        interrupted=facts.doom is not None,
        rolling_out=rollouts.holding,
    )
    asked = sum([pool.current - pool.fallback for pool in pools])
    spread = None
    if len(order.spot) > 1:
        spread = _spread(
            facts,
            spec,
            observation,
            learnt,
            order=order,
            pools=pools,
            memory=memory,
        )
    shared = (order.preferred,) if spread is None else spread.indices
    stand_ins = count_stand_ins(pools, shared=shared, remembered=memory.stand_ins)
    floor_stand_ins = memory.floor_stand_ins.count(sum([pools[index].current for index in shared]))
    serving = asked - stand_ins - floor_stand_ins
    blind = find_blindness(
        at=facts.at,
        replicas=observation.replicas,
        cluster_age_s=facts.at - facts.event.cluster_at,
        cluster_age_s_max=facts.settings.cluster_age_s_max,
        ready=stock.supply.ready,
        answering=learnt.answering + learnt.mute,
        sample_age_s_max=learnt.sample_age_s_max,
    )
    settled = watch_window(
        memory,
        at=facts.at,
        serving=serving,
        window_s=down_window_s(spec, cold_start_s=learnt.cold_start_s),
        start_without=facts.settings.start_without_windows,
    )
    conflict = watch_writers(
        memory.writers, at=facts.at, spec=spec, observation=observation, sent=facts.sent
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
        floor_stand_ins=floor_stand_ins,
        promised=promised,
        blind=blind,
        still=learnt.demand.still,
        mute=learnt.mute,
        may_shrink=settled
        and blind is None
        and spec.pause in {Pause.NO, Pause.SCALE_UP}
        and not (conflict is not None and scales(spec)),
        pinned=any(pool.pinned for pool in pools),
        overdue_rollouts=rollouts.overdue,
        spread=spread,
        quiet=is_quiet(pools, order=order, promised=promised, doom=facts.doom, spread=spread),
        floor=floor,
        floor_ready=count_ready(
            spec=spec, observation=observation, nodes=facts.event.nodes, stock=stock
        ),
        proposal=proposal.replicas,
        foresees=proposal.reason is not Reason.NO_HISTORY,
        needed=carried(learnt.demand.replicas, learnt.demand),
        counts_losses=proposal.reason is Reason.CHEAPEST_RULE,
        offered=carried(learnt.demand.offered_replicas, learnt.demand),
        offered_lately=carried(
            _recently_offered(learnt.demand, memory=memory, thirds=3), learnt.demand
        ),
        traffic=learnt.traffic,
        conflict=conflict,
        placements={},
    )
    return situation, proposal


def _spread(
    facts: TickFacts,
    spec: ModelSpec,
    observation: ModelObservation,
    learnt: Learnt,
    *,
    order: PoolOrder,
    pools: Sequence[PoolState],
    memory: ModelMemory,
) -> Spread | None:
    """Watch the places of several spot pools; None: nothing is known of where they are."""
    places = watch_places(
        memory.cooldown,
        at=facts.at,
        spec=spec,
        members=order.spot,
        nodes=facts.event.nodes,
        replicas=observation.replicas,
        supply=learnt.stock.supply.pools,
        doom=facts.doom,
        cold_start_s=learnt.cold_start_s,
    )
    if places is None:
        return None
    return make_spread(
        places, spec=spec, replicas=observation.replicas, pools=pools, doom=facts.doom
    )


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
            offered_replicas=_recently_offered(learnt.demand, memory=memory, thirds=1),
            supply=learnt.stock.supply.within(serving),
            cold_start_s=learnt.cold_start_s,
            floor=max(spec.min_replicas, spec.warm_floor.replicas),
            replicas_max=spec.max_replicas,
            attainment_ratio=spec.objective.attainment_ratio,
            tick_s=facts.settings.tick_s,
            carried_ratio=learnt.demand.carried_ratio,
            played=learnt.played,
            likely=memory.proposed,
        )
    )
    memory.proposed = proposal.replicas
    return proposal


def _recently_offered(demand: Demand, *, memory: ModelMemory, thirds: int) -> float | None:
    """Return the mean offered demand of the last thirds of a cold start, where it is remembered."""
    history = memory.forecast.history
    if demand.offered_replicas is None or history.slot < 0:
        return None
    return history.mean(thirds * memory.forecast.mean_slots)
