"""Play the fleets of others on what came, step by step, and say what each would have cost and attained.

All have the arrivals of the fleet that really runs, and its replicas: what these take alone, what slows them, how many
requests they run at once, how long they start, and what is missed by chance, as the rules of `candidates` learnt it. What
is seen of the real fleet and is not in that model, noise above all, is taken to be seen of every other one too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from autoscaler.core.candidates.capacity import CapacityMemory
from autoscaler.core.candidates.fleet_model import chance_ratio
from autoscaler.core.contract.hindsight import WindowHindsight
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.hindsight.figures import COLUMNS, HindsightTerms, bounds, static_sizes, tell
from autoscaler.core.hindsight.imagined import ImaginedFleet
from autoscaler.core.hindsight.recipes import (
    KEDA_BEHAVIOR,
    Replicas,
    hpa_proposal,
    keda_proposal,
    sync,
)
from autoscaler.core.hindsight.seats import SeatsMemory
from autoscaler.core.hindsight.serving import Serving, serve_crowds
from autoscaler.core.hindsight.windows import HindsightWindows
from autoscaler.core.hpa import HpaMemory
from autoscaler.core.tuning import ROUNDING, TUNING

_CALM_WAITING_RATIO = 0.1
"""Of the requests that run: where more wait, the real fleet queues, and what it holds says nothing of another's noise."""
_RATIO_MOST = 4.0
"""By how much misses by chance are put right at most, either way. Judgement."""
_OWN, _HPA, _KEDA = range(3)
_FLEETS = 3
"""These have crowds of old and of new replicas; static ones have but one."""
_TOLD_S = 60.0
"""Once in so many seconds it is said how they stand."""


class FleetLook(NamedTuple):
    """What was seen of the fleet that really runs, since the last look."""

    arrivals_per_s: float
    load: float
    """Offered, in replicas of the whole target."""
    missed: float
    """Requests outside the objective, of those that were judged."""
    judged: float
    ready: int
    paid: int
    """Replicas on nodes, those that start and leave among them."""
    usd_per_hour: float | None
    """What these cost together; None: some pool has no price."""
    one_usd_per_hour: float
    """What one of them does, on average."""
    in_flight: float
    """Requests that wait or run."""
    waiting: float
    start_s: float
    """Mean of the cold starts that were measured, seconds."""
    serving: Serving


@dataclass(slots=True, kw_only=True)
class LookTotals:
    """What was seen since the last step. Part of the engine's memory."""

    begun_at: float
    """Seconds."""
    arrivals: float = 0.0
    load_s: float = 0.0
    missed: float = 0.0
    judged: float = 0.0
    paid_s: float = 0.0
    paid_usd: float = 0.0
    """NaN: of some of it the price is not known."""
    one_usd: float = 0.0


@dataclass(slots=True, kw_only=True)
class ForetoldMisses:
    """Misses of the real fleet beside those that the play foretold of it, decayed. Part of the engine's memory."""

    seen: float = 0.0
    foretold: float = 0.0
    allowed: float = 0.0
    """Misses that the objective allows of the same requests."""

    @property
    def ratio(self) -> float:
        """Of the misses by chance that are foretold: those that come."""
        doubt = 0.1 * self.allowed + 0.5
        ratio = (max(0.0, self.seen) + doubt) / (self.foretold + doubt)
        return min(_RATIO_MOST, max(1.0 / _RATIO_MOST, ratio))

    def learn(self, *, seen: float, foretold: float, allowed: float, passed_s: float) -> None:
        """Take in one step."""
        if allowed <= 0.0:
            return  # nothing says what was missed
        left = math.pow(0.5, passed_s / TUNING.capacity_half_life_s)
        self.seen = self.seen * left + seen
        self.foretold = self.foretold * left + foretold
        self.allowed = self.allowed * left + allowed


@dataclass(slots=True, kw_only=True)
class HindsightMemory:
    """Of one model. Part of the engine's memory."""

    at: float | None = None
    """The last look."""
    played_at: float | None = None
    """The end of the last step; None: none was played."""
    terms: HindsightTerms | None = None
    step: LookTotals | None = None
    """None: nothing was seen."""
    fleets: list[ImaginedFleet] = field(default_factory=list)
    """The one that really runs, the HPA's, KEDA's; empty: none was played yet, or what came was not seen."""
    static_held: FloatArray = field(default_factory=lambda: np.zeros(0))
    """By size: requests."""
    noise: float = 0.0
    """Requests that the real fleet held more than it would by the play."""
    foretold: ForetoldMisses = field(default_factory=ForetoldMisses)
    seats: SeatsMemory = field(default_factory=SeatsMemory)
    windows: HindsightWindows = field(default_factory=HindsightWindows)


def watch(
    memory: HindsightMemory,
    *,
    at: float,
    look: FleetLook | None,
    spec: ModelSpec,
    capacity: CapacityMemory,
) -> tuple[WindowHindsight, ...] | None:
    """Take in one look, and play a step where one is due.

    Args:
        memory: of the model; changed.
        at: now, seconds; never before the last call.
        look: since the last one; None: nothing can be told of that time.
        spec: of the model.
        capacity: what its replicas are held to carry.

    Returns:
        What each fleet would have cost and attained, once a minute; None: not now, or nothing was played yet.
    """
    passed_s = 0.0 if memory.at is None else at - memory.at
    before, memory.at = memory.at, at
    terms = HindsightTerms(spec.objective, spec.targets.in_flight_requests, static_sizes(spec))
    if memory.terms != terms:
        memory.terms, memory.fleets, memory.step = terms, [], None
        memory.static_held = np.zeros(len(terms.sizes))
        memory.windows.begin(len(COLUMNS) + len(terms.sizes))
    if look is None or passed_s > TUNING.play_gap_s:
        memory.step = None  # what came before a gap says nothing about what came in it
    if look is not None:
        step = memory.step
        if step is None:
            _begin(memory, at=at, look=look)
        else:
            _add(step, look, passed_s=passed_s)
            if at - step.begun_at >= TUNING.play_s - ROUNDING * at:
                _play(memory, step, at=at, look=look, spec=spec, capacity=capacity)
                memory.step, memory.played_at = LookTotals(begun_at=at), at
    if before is None or math.floor(at / _TOLD_S) == math.floor(before / _TOLD_S):
        return None
    return tell(memory.windows, terms, at=at)


def _begin(memory: HindsightMemory, *, at: float, look: FleetLook) -> None:
    """Begin a step; where it is the first, or what came before was not seen, from what the real fleet holds."""
    memory.step = LookTotals(begun_at=at)
    if not memory.fleets:
        first = HpaMemory(recommendations=[(at, max(1, look.ready))])
        memory.fleets = [ImaginedFleet(old=look.ready)]
        memory.fleets += [
            ImaginedFleet(
                old=max(1, look.ready), hpa=HpaMemory(recommendations=[*first.recommendations])
            )
            for _ in (_HPA, _KEDA)
        ]
    elif memory.played_at is not None and at - memory.played_at <= TUNING.play_gap_s:
        return
    for fleet in memory.fleets:
        fleet.begin(at=at)
        room = fleet.ready * look.serving.seats
        fleet.take(old_held=min(look.in_flight, room), new_held=0.0)
    sizes = np.array(memory.terms.sizes if memory.terms else ())
    memory.static_held = np.minimum(look.in_flight, sizes * look.serving.seats)
    memory.noise = 0.0


def _add(step: LookTotals, look: FleetLook, *, passed_s: float) -> None:
    step.arrivals += look.arrivals_per_s * passed_s
    step.load_s += look.load * passed_s
    step.missed += look.missed
    step.judged += look.judged
    step.paid_s += look.paid * passed_s
    usd_per_hour = math.nan if look.usd_per_hour is None else look.usd_per_hour
    step.paid_usd += usd_per_hour * passed_s / 3600.0
    step.one_usd += look.one_usd_per_hour * passed_s / 3600.0


def _play(
    memory: HindsightMemory,
    step: LookTotals,
    *,
    at: float,
    look: FleetLook,
    spec: ModelSpec,
    capacity: CapacityMemory,
) -> None:
    fleets = memory.fleets
    own = fleets[_OWN]
    if look.ready > own.ready:
        own.new += look.ready - own.ready
    else:
        own.give_up(own.ready - look.ready)
    for fleet in fleets[_HPA:]:
        fleet.begin(at=at)
    step_s = at - step.begun_at
    missed, service_s = _serve(memory, step, step_s=step_s, look=look, spec=spec, capacity=capacity)
    if look.waiting <= _CALM_WAITING_RATIO * max(1.0, look.in_flight - look.waiting):
        memory.noise = look.in_flight - own.old_held - own.new_held
    paid_s = [
        _sync(fleet, which, memory, at=at, step_s=step_s, look=look, spec=spec, service_s=each)
        for fleet, which, each in zip(
            fleets[_HPA:], (_HPA, _KEDA), service_s[_HPA:_FLEETS], strict=True
        )
    ]
    sums = (
        step_s,
        step.arrivals,
        step.judged,
        step.missed,
        missed[_OWN],
        step.paid_s,
        paid_s[0],
        missed[_HPA],
        paid_s[1],
        missed[_KEDA],
        step.paid_usd,
        step.one_usd,
    )
    memory.windows.add(np.concatenate((sums, missed[_FLEETS:])), at=at)


def _serve(
    memory: HindsightMemory,
    step: LookTotals,
    *,
    step_s: float,
    look: FleetLook,
    spec: ModelSpec,
    capacity: CapacityMemory,
) -> tuple[FloatArray, list[float]]:
    """Serve one step; return the requests that each fleet missed, and how long requests ran in its old replicas."""
    fleets, terms = memory.fleets, memory.terms
    assert terms is not None
    came = step.arrivals
    to_new = [fleet.share(came) for fleet in fleets]
    sizes = len(terms.sizes)
    # Old replicas, the static fleets, then new replicas.
    arrivals = np.array([*(came - each for each in to_new), *([came] * sizes), *to_new])
    ready = np.array(
        [*(float(fleet.old) for fleet in fleets), *terms.sizes, *(fleet.new for fleet in fleets)]
    )
    held = np.concatenate(
        (
            [fleet.old_held for fleet in fleets],
            memory.static_held,
            [fleet.new_held for fleet in fleets],
        )
    )
    budget = 1.0 - spec.objective.attainment_ratio
    crowds = serve_crowds(
        held,
        arrivals=arrivals,
        ready=ready,
        serving=look.serving,
        step_s=step_s,
        slack_s=TUNING.slack_ratio * spec.objective.ttft_s,
    )
    whole = _FLEETS + sizes
    after = crowds.held.tolist()
    for index, fleet in enumerate(fleets):
        fleet.take(old_held=after[index], new_held=after[whole + index])
    memory.static_held = crowds.held[_FLEETS:whole]
    late = crowds.late_ratio * arrivals
    late[:_FLEETS] += late[whole:]
    late = late[:whole]
    serving = ready[:whole]
    serving[:_FLEETS] += ready[whole:]
    calm, _ = capacity.factors(budget)
    told, base = memory.foretold, capacity.base_ratio
    chance = chance_ratio(
        step.load_s / step_s,
        ready=serving,
        carried_ratio=np.asarray(capacity.ratio),
        budget_ratio=budget,
    )
    others = (came - late) * (1.0 - base)
    by_chance = others * _corrected(chance, calm * told.ratio, budget_ratio=budget)
    missed = late + base * (came - late) + by_chance
    own = _corrected(chance[:1], calm, budget_ratio=budget)
    told.learn(
        seen=step.missed - base * step.judged,
        foretold=float(late[_OWN] + others[_OWN] * own[0]),
        allowed=budget * step.judged,
        passed_s=step_s,
    )
    return missed, crowds.service_s[:_FLEETS].tolist()


def _corrected(chance: FloatArray, factor: float, *, budget_ratio: float) -> FloatArray:
    """Return shares that miss by chance, put right by a factor.

    That more is missed than foretold is learnt at loads that the real fleet has, which carries them; it says by how much
    there, and no more of one that is overrun: there requests wait, which is counted apart.
    """
    if factor > 1.0:
        chance = chance + (factor - 1.0) * np.minimum(chance, budget_ratio)
    else:
        chance = chance * factor
    return np.minimum(chance, 1.0)


def _sync(
    fleet: ImaginedFleet,
    which: int,
    memory: HindsightMemory,
    *,
    at: float,
    step_s: float,
    look: FleetLook,
    spec: ModelSpec,
    service_s: float,
) -> float:
    """Let a fleet's rule decide on what it would see now; return the replica-seconds that are paid for the step."""
    replicas = Replicas(fleet.asked, fleet.ready)
    if which == _HPA:
        behavior = spec.behavior
        seen = max(0.0, fleet.old_held + fleet.new_held + memory.noise)
        target = spec.targets.in_flight_requests
        proposal = hpa_proposal(seen, replicas, target=target, behavior=behavior)
    else:
        behavior, seats = KEDA_BEHAVIOR, look.serving.seats
        waiting = max(0.0, fleet.old_held - fleet.old * seats)
        waiting += max(0.0, fleet.new_held - fleet.new * seats)
        proposal = keda_proposal(waiting, replicas)
    asked = sync(
        fleet.hpa,
        proposal,
        at=at,
        current=replicas.asked,
        behavior=behavior,
        bounds=bounds(max(spec.min_replicas, spec.warm_floor.replicas), spec),
    )
    left = fleet.resize(asked, at=at, start_s=look.start_s) if asked != replicas.asked else 0
    return replicas.asked * step_s + left * service_s
