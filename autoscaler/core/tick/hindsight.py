"""After a decision: what others would have cost and attained on the traffic that was seen. Nothing that decides reads it."""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.hindsight import WindowHindsight
from autoscaler.core.contract.state import NO_NODE
from autoscaler.core.hindsight import FleetLook, watch
from autoscaler.core.hindsight.serving import Serving
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.situation import Situation


def look_back(
    situation: Situation, decision: Decision, *, memory: ModelMemory
) -> tuple[WindowHindsight, ...] | None:
    """Take in one model's tick.

    Args:
        situation: the facts that were decided on.
        decision: what came of them.
        memory: of the model; changed.

    Returns:
        What each fleet would have cost and attained, once a minute; None: not on this tick, or nothing is known.
    """
    return watch(
        memory.hindsight,
        at=situation.at,
        look=_look(situation, decision, memory=memory),
        spec=situation.spec,
        capacity=memory.candidates.capacity,
    )


def _look(situation: Situation, decision: Decision, *, memory: ModelMemory) -> FleetLook | None:
    traffic, measures = situation.traffic, decision.measures
    waiting, running = measures.waiting_requests, measures.running_requests
    if traffic is None or waiting is None or running is None or situation.blind is not None:
        return None
    paid, usd = _paid(situation)
    if usd and paid:
        one_usd = usd / paid
    else:
        one_usd = situation.spec.pools[situation.order.preferred].price_usd_per_hour or 0.0
    return FleetLook(
        arrivals_per_s=traffic.arrivals_per_s,
        load=traffic.load,
        missed=traffic.missed,
        judged=traffic.judged,
        ready=traffic.ready,
        paid=paid,
        usd_per_hour=usd,
        one_usd_per_hour=one_usd,
        in_flight=waiting + running,
        waiting=waiting,
        start_s=_start_s(situation, memory=memory),
        serving=_serving(situation, traffic.service_s, waiting, memory=memory),
    )


def _paid(situation: Situation) -> tuple[int, float | None]:
    """Return the replicas on nodes, and what they cost an hour, dollars; None: some pool has no price."""
    replicas, pools = situation.observation.replicas, situation.spec.pools
    placed = replicas.node != NO_NODE
    if len(pools) == 1:
        count, price = int(np.count_nonzero(placed)), pools[0].price_usd_per_hour
        return count, None if price is None else count * price
    count = int(np.count_nonzero(placed))
    on_nodes = replicas.pool if count == len(placed) else replicas.pool[placed]
    usd = []
    for each, pool in zip(np.bincount(on_nodes, minlength=len(pools)).tolist(), pools, strict=True):
        if pool.price_usd_per_hour is None:
            return count, None
        usd.append(each * pool.price_usd_per_hour)
    return count, math.fsum(usd)


def _start_s(situation: Situation, *, memory: ModelMemory) -> float:
    """Return the mean of the measured starts, where there are any; what a start is counted to take is longer."""
    pool = situation.spec.pools[situation.order.preferred].name
    starts = memory.cold_starts.get(pool)
    measured_s = [] if starts is None else starts.measured_s
    return math.fsum(measured_s) / len(measured_s) if measured_s else situation.cold_start_s


def _serving(
    situation: Situation, alone_s: float, waiting: float, *, memory: ModelMemory
) -> Serving:
    replicas = situation.observation.replicas
    learnt = memory.hindsight.seats
    serving = replicas.ready > replicas.deleting  # and not deleting
    learnt.learn(replicas, serving=serving, waiting=waiting)
    seats = learnt.seats
    if seats is None:
        capacity = memory.candidates.capacity
        target = situation.spec.targets.in_flight_requests
        seats = max(1.0, target * capacity.ratio * capacity.seats_ratio)
    service, tokens = memory.demand.service_time, 0.0
    if service.tokens.denominator > 0.0:
        tokens = service.tokens.numerator / service.tokens.denominator
    return Serving(alone_s, service.line.slope_s * tokens, seats)
