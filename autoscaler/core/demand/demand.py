"""Demand of one model, in replicas, from the samples of its replicas.

Two quantities, kept apart because they answer different questions:

- the *offered load*: what would be in flight if nobody had to wait. The forecast is of this one (a
  forecast of what is in flight learns, from every backlog, tails of its own making);
- the *demand* of this moment: the offered load, more while requests wait, never less than what the
  KV caches hold.

Unknown is never zero: a ready replica that does not answer is taken to be like those that do, and
where nobody serves, nobody can see arrivals: the last offered load stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from autoscaler.core.contract.spec import Targets
from autoscaler.core.contract.state import BoolArray, ReplicaColumns
from autoscaler.core.demand.arrivals import ArrivalMemory, read_replicas
from autoscaler.core.demand.readings import Reading


class Demand(NamedTuple):
    """Work asked for at one moment. None is unknown, never zero."""

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
    answering: int = 0
    """Ready replicas, doomed ones among them, that say what they hold."""


CROWDED = 1.5
"""Times the in-flight target: where replicas run more than that on average, they serve slowly."""


@dataclass(slots=True, kw_only=True)
class DemandMemory:
    """What demand has to remember of one model. Part of the engine's memory."""

    at: float | None = None
    """The last measurement."""
    arrivals: ArrivalMemory = field(default_factory=ArrivalMemory)
    offered_requests: float | None = None
    """u, the requests that would be in flight without waiting; None: not known yet."""


class _Levels(NamedTuple):
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
    reading = read_replicas(
        memory.arrivals,
        at=at,
        replicas=replicas,
        fresh=fresh,
        crowded_requests=CROWDED * targets.in_flight_requests,
    )
    elapsed = 0.0 if memory.at is None else at - memory.at
    memory.at = at
    if not reading.serving:
        return _without_samples(memory, blind=reading.ready > 0, targets=targets)
    level = _sum_up(reading)
    service_s = _service_s(memory.arrivals, level=level, targets=targets)
    _advance_offered(memory, level=level, elapsed_s=elapsed, service_s=service_s)
    return _conclude(memory, level=level, targets=targets, service_s=service_s)


def _service_s(arrivals: ArrivalMemory, *, level: _Levels, targets: Targets) -> float | None:
    """Choose the service time that says how much work arrives.

    Requests stay longer where more run together, so in an overload the measured one, times the
    arrivals, asks for up to twice the replicas that would serve them in time; and what the forecast
    learnt then would stay for hours. So it is that of calm times, as long as they are not long ago:
    but where it says that what is there suffices, and it is crowded all the same, the requests
    themselves have become longer, and the measured one holds.
    """
    measured, calm = arrivals.service_s, arrivals.calm_service_s
    rate = level.arrivals_per_s
    if measured is None or calm is None or rate is None or calm >= measured:
        return measured
    target = targets.in_flight_requests * level.ready
    longer = level.running > CROWDED * target and rate * calm <= target
    return measured if longer else calm


def _sum_up(reading: Reading) -> _Levels:
    """Sum up what the replicas say. Exact sums, so that their order does not matter.

    A ready replica that does not answer is taken to hold the mean of the others, or what it last
    held if that was more: the one that is overrun is the first to miss its scrape. Such an estimate
    may raise; the freshness guard keeps it from lowering.
    """
    waiting, running = math.fsum(reading.waiting), math.fsum(reading.running)
    in_flight = waiting + running
    if reading.silent:
        mean = math.fsum(reading.serving) / len(reading.serving)
        # The mean comes first: of a number and NaN, max takes the first.
        in_flight += math.fsum([max(mean, last) for last in reading.silent])
    kv = _known(reading.kv_usage)
    kv_usage = math.fsum(kv) / len(kv) if kv else None
    arrivals_per_s = _arrivals_per_s(reading)
    unknown = len(reading.silent)
    return _Levels(reading.ready, unknown, in_flight, arrivals_per_s, waiting, running, kv_usage)


def _arrivals_per_s(reading: Reading) -> float | None:
    """Sum the arrivals; those that are unknown are the others' mean. None: of nobody known."""
    rates = _known(reading.rates)
    if not rates:
        return None
    total = math.fsum(rates)
    missing = reading.ready - len(rates)
    return total + math.fsum(_known(reading.other_rates)) + missing * total / len(rates)


def _known(values: list[float]) -> list[float]:
    if not math.isnan(sum(values)):
        return values
    return [value for value in values if not math.isnan(value)]


def _advance_offered(
    memory: DemandMemory, *, level: _Levels, elapsed_s: float, service_s: float | None
) -> None:
    """Advance the offered load: old requests leave as they are served, new ones come at a rate.

    `u = u * exp(-dt / S) + rate * S * (1 - exp(-dt / S))`: arrivals spread over the tick. Added in
    one piece at its end, as for a tick that is short against the service time, they would count in
    full though some have left: at dt = 5 s and S = 2 s, two and a half times the true load.
    """
    rate = level.arrivals_per_s
    if service_s is None:
        memory.offered_requests = None
    elif memory.offered_requests is None or rate is None:
        # The first tick with a service time, or counters that went away: begin with what is there.
        memory.offered_requests = level.in_flight
    else:
        left = math.exp(-elapsed_s / service_s)
        memory.offered_requests = memory.offered_requests * left + rate * service_s * (1.0 - left)


def _conclude(
    memory: DemandMemory, *, level: _Levels, targets: Targets, service_s: float | None
) -> Demand:
    """Put the terms together; the largest one gives the demand its basis."""
    target = targets.in_flight_requests
    held = level.in_flight / target
    if memory.offered_requests is None:
        offered, basis = held, "InFlight"
        message = f"{level.in_flight:.1f} requests in flight over {target:g}"
    else:
        offered, basis = memory.offered_requests / target, "OfferedLoad"
        message = f"offered load {memory.offered_requests:.1f} requests over {target:g}"
    kv = _kv_replicas(level, targets)
    demand = offered
    backlog = _backlog_replicas(level, held=held, offered=max(offered, kv), targets=targets)
    if backlog > demand:
        demand, basis = backlog, "Waiting"
        message = f"{level.waiting:.0f} requests wait, {message}"
    if kv > demand:
        demand, basis = kv, "KVCache"
        message = f"KV cache {level.kv_usage:.3f} of {level.ready} over {targets.kv_usage_ratio:g}, {message}"
    if level.unknown:
        message = (
            f"{message}; {level.unknown} of {level.ready} do not answer, estimated by the rest"
        )
    backlog_replica_s = None if service_s is None else level.waiting * service_s / target
    return Demand(
        demand,
        max(offered, kv),
        level.waiting,
        level.running,
        level.kv_usage,
        backlog_replica_s,
        basis,
        message,
        level.ready - level.unknown,
    )


def _kv_replicas(level: _Levels, targets: Targets) -> float:
    """Replicas that the KV caches in use need at their target.

    A sum over replicas (their mean times their number), so one full cache among many is no cause:
    that is a matter of routing. And it is only ever proportional: a full cache that still flows is
    not overload, so it asks for 1 / target of what is there and does not open the backlog's larger
    bound; only requests that wait do that. It is not left out while requests flow, for on models
    whose contexts are long it is the cache that fills first, and waiting for the queue would cost
    a whole cold start of it.
    """
    if level.kv_usage is None:
        return 0.0
    return level.ready * level.kv_usage / targets.kv_usage_ratio


def _backlog_replicas(level: _Levels, *, held: float, offered: float, targets: Targets) -> float:
    """Replicas asked for while requests wait: enough to hold them all, within twice the load plus 1.

    Right after a burst has hit, what is in flight says what clears the queue; the bound keeps an
    old backlog from asking for a fleet that would stand idle when it is ready.

    Where more wait than the waiting target allows, what runs is evidently all that fits, whatever
    the in-flight target says (an engine with fewer slots than it, or KV caches full of long
    contexts): then N replicas that run R of R + W requests ask for N * (1 + W / R).
    """
    if level.waiting <= 0.0:
        return 0.0
    wanted = held
    if level.waiting > targets.waiting_requests * level.ready and level.running > 0.0:
        wanted = max(wanted, level.ready * (1.0 + level.waiting / level.running))
    return min(wanted, 2.0 * offered + 1.0)


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
