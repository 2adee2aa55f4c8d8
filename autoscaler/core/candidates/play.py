"""Play every rule on the model's own traffic, and say what the one that decides asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from autoscaler.core.candidates.capacity import CapacityMemory, Fleet
from autoscaler.core.candidates.choice import ChoiceMemory, Standing
from autoscaler.core.candidates.fleet_model import most_load, replicas_for_one
from autoscaler.core.candidates.fleets import FleetsMemory
from autoscaler.core.candidates.peaks import PeakMemory
from autoscaler.core.candidates.rules import RULES, SHARES, Rule
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.tuning import ROUNDING, TUNING


class Limits(NamedTuple):
    """What rules are held to."""

    cold_start_s: float
    ttft_s: float
    attainment_ratio: float
    target: float
    """In-flight requests of one replica, as told."""
    replicas_min: int
    replicas_max: int


def limits_of(spec: ModelSpec, *, cold_start_s: float) -> Limits:
    """Return what rules are held to: the model's objective, and its bounds."""
    return Limits(
        cold_start_s=cold_start_s,
        ttft_s=spec.objective.ttft_s,
        attainment_ratio=spec.objective.attainment_ratio,
        target=spec.targets.in_flight_requests,
        replicas_min=max(spec.min_replicas, spec.warm_floor.replicas),
        replicas_max=spec.max_replicas,
    )


class TickTraffic(NamedTuple):
    """What was seen since the last tick."""

    arrivals_per_s: float
    load: float
    """Offered, in replicas of the whole target."""
    ready: int
    service_s: float
    """What a request takes alone, seconds."""
    missed: float
    """Requests that ended, or began to answer, outside the objective."""
    judged: float
    """Requests of which that is known."""


class Played(NamedTuple):
    """What the rule that decides asks for, and why it is that one."""

    rule: Rule
    replicas: int
    load: float
    """The highest of its window, in replicas of the whole target."""
    load_from: float
    """From which load on it asks for that many and no fewer; 0: it never asks for fewer."""
    load_to: float
    """Up to which it asks for no more; infinite: it never asks for more."""
    carried_ratio: float
    """Of the in-flight target as told: what a replica is held to carry."""
    sureness_ratio: float
    """Probability that it is within a fifth of that."""
    since: float | None
    """When the rule was chosen, seconds; None: none was yet, the careful one decides."""
    standing: Standing | None
    """None: not known."""
    runner_up: Rule | None
    runner_up_standing: Standing | None
    settled: bool
    """Enough was played for it to decide, enough seen of what was missed, and what replicas are held to carry explains it."""


@dataclass(slots=True, kw_only=True)
class StepTotals:
    """What was seen since the last step of the play. Part of the engine's memory."""

    begun_at: float | None = None
    """Seconds; None: nothing was seen."""
    arrivals: float = 0.0
    load_s: float = 0.0
    """Replicas of load, times seconds."""
    ready_s: float = 0.0
    """Ready replicas, times seconds."""
    missed: float = 0.0
    judged: float = 0.0


@dataclass(slots=True, kw_only=True)
class CandidatesMemory:
    """Of one model. Part of the engine's memory."""

    at: float | None = None
    """The last tick."""
    step: StepTotals = field(default_factory=StepTotals)
    peaks: PeakMemory = field(default_factory=PeakMemory)
    capacity: CapacityMemory = field(default_factory=CapacityMemory)
    fleets: FleetsMemory = field(default_factory=FleetsMemory)
    choice: ChoiceMemory = field(default_factory=ChoiceMemory)
    played_s: float = 0.0
    """Seconds, under whatever hypothesis."""
    settled: bool = False
    """See `Played.settled`; what it once was it stays."""


def play(
    memory: CandidatesMemory, *, at: float, seen: TickTraffic | None, limits: Limits
) -> Played | None:
    """Take in one tick, and play a step where one is due.

    Args:
        memory: of the model; changed.
        at: now, seconds; never before the last call.
        seen: since the last tick; None: nothing can be told of it.
        limits: what rules are held to.

    Returns:
        None: nothing is known of this moment, or nothing was played yet.
    """
    passed_s = 0.0 if memory.at is None else at - memory.at
    memory.at = at
    if seen is None or passed_s > TUNING.play_gap_s:
        memory.step = StepTotals()  # what came before a gap says nothing about what came in it
    if seen is None:
        return None
    step = memory.step
    if step.begun_at is None:
        step.begun_at = at
    else:
        step.arrivals += seen.arrivals_per_s * passed_s
        step.load_s += seen.load * passed_s
        step.ready_s += seen.ready * passed_s
        step.missed += seen.missed
        step.judged += seen.judged
        if at - step.begun_at >= TUNING.play_s - ROUNDING * at:
            _play_step(
                memory, at=at, step_s=at - step.begun_at, service_s=seen.service_s, limits=limits
            )
            memory.step = StepTotals(begun_at=at)
    return _played(memory, limits) if memory.peaks.steps else None


def _play_step(
    memory: CandidatesMemory, *, at: float, step_s: float, service_s: float, limits: Limits
) -> None:
    step, capacity, fleets, peaks = memory.step, memory.capacity, memory.fleets, memory.peaks
    budget = 1.0 - limits.attainment_ratio
    slack_s = TUNING.slack_ratio * limits.ttft_s
    peaks.add(step.load_s / step_s, cold_start_s=limits.cold_start_s)
    fleet = Fleet(
        arrivals=step.arrivals,
        load=peaks.now,
        ready=step.ready_s / step_s,
        service_s=service_s,
        step_s=step_s,
    )
    capacity.foresee(fleet, at=at, target=limits.target, slack_s=slack_s, budget_ratio=budget)
    ended_s = min(TUNING.ended_s_max, max(TUNING.play_s, service_s))
    capacity.compare(until=at - ended_s, missed=step.missed, judged=step.judged, passed_s=step_s)
    fleets.play_around(capacity.believed)
    played = fleets.play(
        fleet,
        peaks=peaks,
        cold_start_s=limits.cold_start_s,
        seats=limits.target * capacity.seats_ratio,
        slack_s=slack_s,
        budget_ratio=budget,
        replicas_min=limits.replicas_min,
        replicas_max=limits.replicas_max,
    )
    memory.played_s += step_s
    if memory.played_s >= TUNING.played_s_min:
        place = (capacity.believed - fleets.first, *divmod(memory.choice.chosen, len(SHARES)))
        calm, queued = capacity.factors(budget)
        late, by_chance = played.of(place)
        memory.choice.remember(
            missed=max(0.0, step.missed - capacity.base_ratio * step.judged),
            judged=step.judged,
            foreseen=min(1.0, late * queued + by_chance * calm) * step.arrivals,
            passed_s=step_s,
        )
    memory.settled = memory.settled or (
        memory.played_s >= TUNING.played_s_min
        and capacity.judged >= TUNING.base_requests
        and capacity.factors(budget)[0] <= TUNING.unexplained_max
    )
    memory.choice.choose(
        fleets,
        capacity,
        at=at,
        budget_ratio=budget,
        request_s=service_s / (limits.target * capacity.ratio),
    )


def _played(memory: CandidatesMemory, limits: Limits) -> Played:
    choice, capacity = memory.choice, memory.capacity
    rule, ratio = RULES[choice.chosen], capacity.ratio
    peak = float(memory.peaks.asked[choice.chosen // len(SHARES)])
    each = ratio * rule.share
    replicas = replicas_for_one(peak / each)
    replicas = min(max(replicas, limits.replicas_min), limits.replicas_max)
    return Played(
        rule=rule,
        replicas=replicas,
        load=peak,
        load_from=each * most_load(replicas - 1) if replicas > limits.replicas_min else 0.0,
        load_to=each * most_load(replicas) if replicas < limits.replicas_max else math.inf,
        carried_ratio=ratio,
        sureness_ratio=capacity.sureness_ratio,
        since=choice.since,
        standing=choice.standing,
        runner_up=None if choice.runner_up is None else RULES[choice.runner_up],
        runner_up_standing=choice.runner_up_standing,
        settled=memory.settled,
    )
