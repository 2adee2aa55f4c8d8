"""Demand of one model, in replicas, from the samples of its replicas.

Two quantities, kept apart because they answer different questions:

- the *offered load*: what would be in flight if nobody had to wait. The forecast is of this one: if
  it were of what is in flight, every backlog would look like demand to come, and the replicas that a
  late start had made necessary would be asked for again;
- the *demand* of this moment: the offered load, more while requests wait, never less than what the
  KV caches hold.

Unknown is never zero: a ready replica that does not answer is taken to be like those that do, and
where nobody serves, nobody can see arrivals: the last offered load stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.spec import Targets
from autoscaler.core.contract.state import BoolArray, ReplicaColumns
from autoscaler.core.demand.carried import CarriedMemory, watch_queue
from autoscaler.core.demand.readings import LastReadings, Readings, read_replicas
from autoscaler.core.demand.service_time import (
    ServiceTimeMemory,
    choose_service_time,
    measure_service_time,
)
from autoscaler.core.tuning import TUNING


class Demand(NamedTuple):
    """Work asked for at one moment, in replicas of the whole in-flight target. None is unknown, never zero."""

    replicas: float | None
    """What this moment asks for."""
    offered_replicas: float | None
    """The load without its backlog: what the forecast learns from."""
    waiting_requests: float | None
    """Summed over the replicas that answer."""
    running_requests: float | None
    """Likewise."""
    kv_usage_ratio: float | None
    """Mean over the ready replicas that answer."""
    backlog_replica_s: float | None
    """What one replica would need to serve all that wait, seconds; None: the service time is not
    known."""
    basis: str
    """Which term decided: `OfferedLoad`, `InFlight` (the service time is not known yet), `Waiting`,
    `KVCache`, `Remembered` (nobody serves) or `Unknown`."""
    message: str
    service_s: float | None = None
    """How long a request takes, seconds; None: not known."""
    arrivals_per_s: float | None = None
    """Over all replicas; None: unknown."""
    answering: int = 0
    """Ready replicas, doomed ones among them, that say what they hold."""
    still: int = 0
    """Replicas that hold something and do not get on with it; it is in no number above."""
    mute: BoolArray | None = None
    """Rows of ready replicas that have not answered for long and are each counted as full. None: no row."""
    carried_ratio: float = 1.0
    """Of the in-flight target: what a replica was seen to carry."""


@dataclass(slots=True, kw_only=True)
class DemandMemory:
    """What demand has to remember of one model. Part of the engine's memory."""

    at: float | None = None
    """The last measurement; None: there was none."""
    last: LastReadings = field(default_factory=LastReadings.none)
    """What each replica said last."""
    service_time: ServiceTimeMemory = field(default_factory=ServiceTimeMemory)
    carried: CarriedMemory = field(default_factory=CarriedMemory)
    offered_requests: float | None = None
    """u, the requests that would be in flight without waiting; None: not known yet."""


class _Sums(NamedTuple):
    """Sums over the replicas at one moment."""

    ready: int
    """Ready and not deleting; those that do not answer are among them."""
    unknown: int
    """Of those, how many do not answer."""
    in_flight: float
    """Waiting and running, with an estimate for those that do not answer."""
    arrivals_per_s: float | None
    """Likewise; None: of no replica is it known."""
    waiting: float
    running: float
    kv_usage: float | None
    mute: int
    """Of those that do not answer, the ones that are taken to be full: in no estimate."""


def measure_demand(
    memory: DemandMemory,
    *,
    at: float,
    replicas: ReplicaColumns,
    fresh: BoolArray,
    targets: Targets,
) -> Demand:
    """Measure demand, once a tick.

    Args:
        memory: of this model; changed.
        at: now, seconds; never before the last call.
        replicas: all pods of the model, also those that start, drain or do not answer.
        fresh: rows whose engine sample is recent enough to be used.
        targets: what one replica carries.

    Returns:
        The demand. Its `replicas` is None where no replica can be read and nothing is remembered;
        its `offered_replicas` also where it is only remembered, for nothing is learnt from that.
    """
    readings, memory.last = read_replicas(
        memory.last, at=at, last_look=memory.at, replicas=replicas, fresh=fresh
    )
    elapsed = 0.0 if memory.at is None else at - memory.at
    memory.at = at
    running = math.fsum(readings.running)
    crowded = TUNING.crowded_ratio * targets.in_flight_requests * max(1, len(readings.serving))
    measure_service_time(
        memory.service_time,
        at=at,
        busy_s=0.5 * math.fsum(readings.busy),
        completed=math.fsum(readings.completed),
        crowded=running > crowded,
        replica_s=elapsed * len(readings.serving),
        tokens=math.fsum(readings.tokens),
    )
    if not readings.serving:
        unseen = _without_samples(memory, blind=readings.ready > 0, targets=targets)
        return unseen._replace(carried_ratio=memory.carried.ratio)
    sums = _sum_up(readings, running=running)
    service_s = choose_service_time(
        memory.service_time,
        arrivals_per_s=sums.arrivals_per_s,
        running_requests=running,
        ready=sums.ready,
        targets=targets,
    )
    _advance_offered(memory, sums=sums, elapsed_s=elapsed, service_s=service_s)
    demand = _conclude(memory, sums=sums, targets=targets, service_s=service_s)
    demand = _hold_to_account(memory, demand, at=at, readings=readings, targets=targets)
    if readings.still:
        message = (
            f"{demand.message}; {readings.still} of {sums.ready} hold requests or KV blocks and have "
            f"moved no token for {TUNING.still_s:.0f} s: not counted"
        )
        demand = demand._replace(still=readings.still, message=message)
    return demand._replace(mute=readings.mute) if sums.mute else demand


def _hold_to_account(
    memory: DemandMemory, demand: Demand, *, at: float, readings: Readings, targets: Targets
) -> Demand:
    """Hold the queue to what was expected of it, and say what a replica was seen to carry."""
    calm_s = memory.service_time.calm_s
    watch_queue(
        memory.carried,
        at=at,
        queueing=readings.queueing,
        ready=len(readings.serving),
        offered=demand.offered_replicas,
        backlog_replica_s=demand.backlog_replica_s,
        service_s=demand.service_s if calm_s is None else calm_s,
        target=targets.in_flight_requests,
    )
    ratio = memory.carried.ratio
    if ratio > TUNING.carried_told_ratio:
        return demand
    message = f"{demand.message}; replicas were seen to carry {ratio:.2f} of that"
    return demand._replace(carried_ratio=ratio, message=message)


def _sum_up(readings: Readings, *, running: float) -> _Sums:
    """Sum up what the replicas say. Exact sums, so that their order does not matter.

    A ready replica that does not answer is taken to hold the mean of the others, or what it last
    held if that was more: the one that is overrun is the first to miss its scrape. Such an estimate
    may raise; the freshness guard keeps it from lowering.
    """
    waiting = math.fsum(readings.waiting)
    in_flight = waiting + running
    mute = 0
    if readings.mute is not None and 2 * len(readings.silent) < readings.ready:
        mute = int(np.count_nonzero(readings.mute))
    if len(readings.silent) > mute:
        mean = math.fsum(readings.serving) / len(readings.serving)
        # Where it is unknown (NaN) what one last held, `max` returns its first argument, the mean.
        estimates = [max(mean, last) for last in readings.silent]
        in_flight += math.fsum(estimates) * (1.0 - mute / len(estimates))
    kv = _known(readings.kv_usage)
    return _Sums(
        ready=readings.ready - mute,
        unknown=len(readings.silent) - mute,
        mute=mute,
        in_flight=in_flight,
        arrivals_per_s=_arrivals_per_s(readings, ready=readings.ready - mute),
        waiting=waiting,
        running=running,
        kv_usage=math.fsum(kv) / len(kv) if kv else None,
    )


def _arrivals_per_s(readings: Readings, *, ready: int) -> float | None:
    """Sum the arrivals; those that are unknown are the others' mean. None: of nobody known."""
    rates = _known(readings.rates)
    if not rates:
        return None
    total = math.fsum(rates)
    missing = ready - len(rates)
    return total + math.fsum(_known(readings.other_rates)) + missing * total / len(rates)


def _known(values: list[float]) -> list[float]:
    if not math.isnan(sum(values)):
        return values
    return [value for value in values if not math.isnan(value)]


def _advance_offered(
    memory: DemandMemory, *, sums: _Sums, elapsed_s: float, service_s: float | None
) -> None:
    """Advance the offered load: old requests leave as they are served, new ones come at a rate.

    `u = u * exp(-dt / S) + rate * S * (1 - exp(-dt / S))`: arrivals spread over the tick. Added in
    one piece at its end, as for a tick that is short against the service time, they would count in
    full though some have left: at dt = 5 s and S = 2 s, two and a half times the true load.
    """
    rate = sums.arrivals_per_s
    if service_s is None:
        memory.offered_requests = None
    elif memory.offered_requests is None or rate is None:
        # The first tick with a service time, or counters that went away: begin with what is there.
        memory.offered_requests = sums.in_flight
        measured_s = memory.service_time.measured_s
        if not elapsed_s and measured_s:
            # The first look of all, and how long requests take is known from before: they stay longer than they would alone.
            memory.offered_requests *= min(1.0, service_s / measured_s)
    else:
        left = math.exp(-elapsed_s / service_s)
        memory.offered_requests = memory.offered_requests * left + rate * service_s * (1.0 - left)


def _conclude(
    memory: DemandMemory, *, sums: _Sums, targets: Targets, service_s: float | None
) -> Demand:
    """Put the terms together; the largest one gives the demand its basis."""
    target = targets.in_flight_requests
    held = sums.in_flight / target
    if memory.offered_requests is None:
        offered, basis = held, "InFlight"
        message = f"{sums.in_flight:.1f} requests in flight over {target:g}"
    else:
        offered, basis = memory.offered_requests / target, "OfferedLoad"
        message = f"offered load {memory.offered_requests:.1f} requests over {target:g}"
    kv = _kv_replicas(sums, targets)
    demand = offered
    backlog = _backlog_replicas(sums, held=held, offered=max(offered, kv), targets=targets)
    if backlog > demand:
        demand, basis = backlog, "Waiting"
        message = f"{sums.waiting:.0f} requests wait, {message}"
    if kv > demand:
        demand, basis = kv, "KVCache"
        message = f"KV cache {sums.kv_usage:.3f} of {sums.ready} over {targets.kv_usage_ratio:g}, {message}"
    if sums.unknown:
        message = f"{message}; {sums.unknown} of {sums.ready} do not answer, estimated by the rest"
    if sums.mute:
        message = f"{message}; {sums.mute} more have not answered for {TUNING.mute_s:.0f} s, taken as full"
    backlog_replica_s = None if service_s is None else sums.waiting * service_s / target
    return Demand(
        replicas=demand + sums.mute,
        offered_replicas=max(offered, kv) + sums.mute,
        waiting_requests=sums.waiting,
        running_requests=sums.running,
        kv_usage_ratio=sums.kv_usage,
        backlog_replica_s=backlog_replica_s,
        basis=basis,
        message=message,
        service_s=service_s,
        arrivals_per_s=sums.arrivals_per_s,
        answering=sums.ready - sums.unknown,
    )


def _kv_replicas(sums: _Sums, targets: Targets) -> float:
    """Replicas that the KV caches in use need at their target.

    A sum over replicas (their mean times their number), so one full cache among many is no cause:
    that is a matter of routing. And it is only ever proportional: a full cache that still flows is
    not overload, so it asks for 1 / target of the ready replicas and does not open the backlog's larger
    bound; only requests that wait do that. It is not left out while requests flow, for on models
    whose contexts are long it is the cache that fills first, and waiting for the queue would cost
    a whole cold start of it.
    """
    if sums.kv_usage is None:
        return 0.0
    return sums.ready * sums.kv_usage / targets.kv_usage_ratio


def _backlog_replicas(sums: _Sums, *, held: float, offered: float, targets: Targets) -> float:
    """Replicas asked for while requests wait: enough to hold them all, within twice the load plus 1.

    Right after a burst has hit, what is in flight says what clears the queue; the bound keeps an
    old backlog from asking for a fleet that would stand idle when it is ready.

    Where more wait than the waiting target allows, what runs is evidently all that fits, whatever
    the in-flight target says (an engine with fewer slots than it, or KV caches full of long
    contexts): then N replicas that run R of R + W requests ask for N * (1 + W / R).
    """
    if sums.waiting <= 0.0:
        return 0.0
    needed = held
    if sums.waiting > targets.waiting_requests * sums.ready and sums.running > 0.0:
        needed = max(needed, sums.ready * (1.0 + sums.waiting / sums.running))
    return min(needed, TUNING.backlog_ratio * offered + TUNING.backlog_replicas)


def _without_samples(memory: DemandMemory, *, blind: bool, targets: Targets) -> Demand:
    """Say what can be said where no ready replica answers.

    Blind (there are ready ones) is unknown. Where nobody serves, arrivals cannot be seen, and the
    last offered load stands: a fleet that died together must not come back as one replica.
    """
    remembered = memory.offered_requests
    if blind or remembered is None:
        found = "none of the ready replicas can be read" if blind else "no replica serves yet"
        return Demand(
            replicas=None,
            offered_replicas=None,
            waiting_requests=None,
            running_requests=None,
            kv_usage_ratio=None,
            backlog_replica_s=None,
            basis="Unknown",
            message=f"demand is unknown: {found}",
        )
    return Demand(
        replicas=remembered / targets.in_flight_requests,
        offered_replicas=None,
        waiting_requests=None,
        running_requests=None,
        kv_usage_ratio=None,
        backlog_replica_s=None,
        basis="Remembered",
        message=f"no replica serves: the last offered load stands, {remembered:.1f} requests",
    )
