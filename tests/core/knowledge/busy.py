"""A model of which as much is remembered as there can be, in numbers that nothing foretells."""

from __future__ import annotations

import json

import numpy as np

from autoscaler.core.attainment.windows import SPANS_S
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.demand.carried import CarriedMemory
from autoscaler.core.engine import Engine, build_engine
from autoscaler.core.forecast import learn
from autoscaler.core.memory import ModelMemory
from autoscaler.core.supply.cold_starts import ColdStartMemory
from autoscaler.core.supply.drains import FinishedDrain
from tests.builders import model, on_demand, specified, spot

WEEK_S = 7 * 86_400.0
WRITTEN_AT = 1_700_000_000.0
SPEC = model(pools=[spot("a"), spot("b"), spot("c"), on_demand()], maximum=100)


def engine_of(spec: ModelSpec = SPEC, *, at: float = WRITTEN_AT) -> Engine:
    """An engine that knows nothing."""
    engine = build_engine()
    engine.handle(specified(spec, at=at))
    return engine


def memory_of(engine: Engine, spec: ModelSpec = SPEC) -> ModelMemory:
    return engine._memory.models[spec.key]


def busy(seed: int, spec: ModelSpec = SPEC) -> Engine:
    """An engine that has watched for a week: each sum that it keeps has some number."""
    engine = engine_of(spec)
    rng = np.random.default_rng(seed)
    memory = memory_of(engine, spec)
    memory.learnt_from = memory.first_at = WRITTEN_AT - WEEK_S
    for pool in spec.pools:
        starts = (100.0 + 200.0 * rng.random(20)).round(1).tolist()
        whole_s = [each + 10.0 for each in starts]
        memory.cold_starts[pool.name] = ColdStartMemory(measured_s=starts, whole_s=whole_s)
    memory.drains.measured = [
        FinishedDrain(float(held), float(took))
        for held, took in zip(rng.integers(1, 30, 50), 60.0 * rng.random(50), strict=True)
    ]
    service = memory.demand.service_time
    for name in ("window", "calm_window", "batch", "tokens"):
        getattr(service, name).add(WRITTEN_AT - 1.0, numerator=900.0, denominator=120.0)
    service.measured_s = 7.5
    memory.demand.carried = CarriedMemory(ratio=0.4, taught_at=WRITTEN_AT - 500.0)
    _fill_rules(memory, rng)
    _fill_forecast(memory, rng)
    _fill_budgets(memory, rng)
    return engine


def learnt_at(spec: ModelSpec, at: float) -> str:
    """What was learnt of a model within a day, as it was written at some moment."""
    text = busy(1, spec).remember(spec.key)
    assert text is not None
    return json.dumps({**json.loads(text), "writtenAt": at, "learntFrom": at - 86_400.0})


def _fill_rules(memory: ModelMemory, rng: np.random.Generator) -> None:
    rules = memory.candidates
    rules.played_s, rules.settled = WEEK_S, True
    rules.choice.chosen, rules.choice.since = 77, WRITTEN_AT - 9_000.0
    rules.choice.missed, rules.choice.judged, rules.choice.foreseen = 20.0, 90_000.0, 31.0
    capacity = rules.capacity
    capacity.hypothesis, capacity.judged = 50, 90_000.0
    capacity.likelihood = -40.0 * rng.random(len(capacity.likelihood))
    capacity.calm, capacity.queued = (3.0, 4.0), (5.0, 6.0)
    capacity.calm_missed = 10.0 * rng.random(len(capacity.calm_missed))
    capacity.calm_judged = 1_000.0 * rng.random(len(capacity.calm_judged))
    fleets = rules.fleets
    fleets.play_around(capacity.believed)
    for name, most in (("replica_s", 5e6), ("starts", 90.0), ("by_chance", 500.0), ("late", 900.0)):
        getattr(fleets, name)[:] = most * rng.random(fleets.late.shape)
    fleets.arrivals[:], fleets.played_s[:] = 1e6, 86_400.0
    rules.peaks.steps = 40_000
    rules.peaks.fine = 20.0 * rng.random(rules.peaks.fine.shape)
    rules.peaks.coarse = 20.0 * rng.random(rules.peaks.coarse.shape)


def _fill_forecast(memory: ModelMemory, rng: np.random.Generator) -> None:
    now = memory.forecast
    for tick in range(330):
        load = 20.0 * float(rng.random())
        learn(now, at=WRITTEN_AT - 5.0 * (329 - tick), offered_replicas=load, service_s=4.0)
    for state in (now.busy, now.idle):
        state.mass = rng.random(state.mass.shape)
        state.total = state.mass.sum(axis=2)[:, 0].copy()
        state.mass *= (state.total[:, None] / state.mass.sum(axis=2))[:, :, None]
        state.loss, state.seen = 10.0 * rng.random(state.loss.shape) + 1.0, np.full(12, 1e5)
    now.lead, now.score = 5, (10.0, 500.0, 3.0, 90.0, 100.0, -4.0, 95.0)
    ramp = memory.ramp
    ramp.risen = (500.0 * rng.random(len(ramp.risen))).tolist()
    ramp.load, ramp.watched_s, ramp.asked_s, ramp.replicas = 1e5, WEEK_S, 9_000.0, 3


def _fill_budgets(memory: ModelMemory, rng: np.random.Generator) -> None:
    windows = memory.attainment.windows
    memory.attainment.objective = SPEC.objective
    windows.numbers = [int(WRITTEN_AT * 12 / span_s) for span_s in SPANS_S]
    some = 1e6 * rng.random(windows.slots.shape)
    within = np.sort(rng.random((*some.shape[:2], 2, 3)), axis=3)
    for place, first in enumerate((0, 4)):
        some[:, :, first + 1 : first + 4] = some[:, :, first, None] * within[:, :, place]
    windows.slots = some
    windows.totals = some.sum(axis=1)
