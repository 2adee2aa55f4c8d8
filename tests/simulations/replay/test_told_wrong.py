"""A fleet that was told a wrong in-flight target: too high must not take the service down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.state import CapacityType
from autoscaler.core.engine import EngineSettings
from simulations.agenda import NS
from simulations.replay.conditions import Conditions
from simulations.replay.engine_loop import EngineLoop, model_spec
from simulations.replay.stage import ON_DEMAND, make_stage, new_deployment
from simulations.results.scorecard import Score, latencies
from simulations.serving.columns import RequestColumns
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import PROFILES
from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace
from simulations.world.cold_start import cold_start
from tests.simulations.replay import taught

RECIPE = Recipe(
    shape="diurnal", hours=1.5, rate_per_s=24.0, input_tokens=1200, output_tokens=30, seed=1
)
TRACE = Trace(name="generated", requests=generate(RECIPE))
TAUGHT_S = 1800.0
"""A first part, in which the first queue teaches, is played and not scored."""


def played(told: str) -> Score:
    return taught.played(TRACE, taught_s=TAUGHT_S, in_flight_target=told)


@pytest.fixture(scope="module")
def right() -> Score:
    return played("x1")


@pytest.mark.slow
@pytest.mark.parametrize("told", ["x4", "x13", "default"])
def test_a_target_that_is_too_high_is_found_out(told, right):
    wrong = played(told)
    assert wrong.attainment > right.attainment - 0.02
    assert wrong.cost_usd < 1.3 * right.cost_usd
    assert wrong.aborted == 0


@pytest.mark.slow
@pytest.mark.parametrize("told", ["x0.5", "x0.25"])
def test_a_target_that_is_too_low_costs_and_harms_nobody(told, right):
    wrong = played(told)
    assert wrong.attainment > right.attainment - 0.005
    assert wrong.cost_usd < 1.2 / float(told[1:]) * right.cost_usd


SEATS, START_S, OBJECTIVE_S = 8, 10, 2.5


def steady(seconds: int, *, seed: int) -> RequestColumns:
    """Five requests a second of three seconds each: two replicas' seats, and less than one of three times as many."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(0.2, size=5 * seconds))
    return RequestColumns(
        arrival_ns=(arrivals * NS).astype(np.int64),
        prompt_tokens=np.full(len(arrivals), 64),
        output_tokens=np.full(len(arrivals), 100),
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 5, 7, 11])
def test_starts_of_seconds_do_not_keep_a_queue_from_teaching(seed):
    """The replicas that a queue brings are there before it is old, and without one go at once, as the target says."""
    trace = Trace(name="steady", requests=steady(1200, seed=seed))
    conditions = Conditions(
        profile=replace(
            PROFILES["llama-3.1-8b/1xL40S"], requests_max=SEATS, in_flight_target=3.0 * SEATS
        ),
        cold_start=cold_start(str(START_S)),
        objective=RequestObjective(ttft_s=OBJECTIVE_S, ttft_per_prefill=0.0, tpot_s=0.1),
        replicas_max=6,
        routing="round-robin",
    )
    stage = make_stage(
        trace,
        conditions,
        [new_deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=1)],
        seed=0,
        on_demand_kept=1,
    )
    spec = model_spec(conditions, trace.requests)
    EngineLoop(
        replace(
            spec,
            cold_start_prior_s=float(START_S),
            objective=replace(spec.objective, attainment_ratio=0.95),
        ),
        EngineSettings(),
        world=stage.world,
        agenda=stage.agenda,
        end_ns=stage.end_ns,
    ).start()
    stage.agenda.run_until(stage.end_ns)
    results = stage.world.fleet.results
    first_tokens_s, _ = latencies(trace.requests, results)
    scored = (trace.requests.arrival_ns >= 600 * NS) & (results.first_token_ns >= 0)
    assert np.count_nonzero(scored) > 2500
    assert np.mean(first_tokens_s[scored] <= OBJECTIVE_S) >= 0.95
