"""Rows against their bound: valid for every policy there is, and a row that beats it is a bug."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.errors import InvariantBroken
from simulations.bounds.figures import bound_figures, trace_bound, unlimited_attainment
from simulations.peers.rules.registry import BASELINES
from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.results.scorecard import score
from simulations.serving.columns import RequestColumns
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import PROFILES
from simulations.traces.trace import read_trace

PROFILE = PROFILES["llama-3.1-8b/1xL40S"]


@pytest.fixture(scope="module")
def conditions():
    from simulations.world.cold_start import cold_start

    return Conditions(profile=PROFILE, cold_start=cold_start("60"))


@pytest.fixture(scope="module")
def bound(conditions):
    day = read_trace("generate:bursty")
    rows = int(np.searchsorted(day.requests.arrival_ns, 3600 * 10**9))
    hour = replace(
        day.requests,
        arrival_ns=day.requests.arrival_ns[:rows],
        prompt_tokens=day.requests.prompt_tokens[:rows],
        output_tokens=day.requests.output_tokens[:rows],
    )
    trace = replace(day, requests=hour)
    return trace, trace_bound(
        trace.requests,
        PROFILE,
        conditions.objective,
        end_ns=trace.end_ns,
        start_s=conditions.cold_start.shortest_s,
        spot=None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["inference-aware", "static-peak", "hpa", "knative-kpa"])
def test_s7_no_policy_beats_the_clairvoyant(policy, conditions, bound):
    assert policy == "inference-aware" or policy in BASELINES
    trace, least = bound
    row = score(run(trace, policy, seed=0, conditions=conditions))
    held = bound_figures(
        name=policy,
        cost_usd=row.cost_usd,
        attainment=row.attainment,
        requests=row.requests,
        bound=least,
    )
    assert held.relaxed_ratio is None or held.relaxed_ratio >= 1 - 1e-6


@pytest.mark.slow
def test_a_row_that_beats_it_fails_the_run(bound):
    trace, least = bound
    with pytest.raises(InvariantBroken, match="the serving model or the bound is wrong"):
        bound_figures(
            name="too good",
            cost_usd=least.relaxed(0) * 0.9,
            attainment=1.0,
            requests=len(trace.requests),
            bound=least,
        )


def test_an_unlimited_fleet_misses_only_what_no_replica_can_do():
    requests = RequestColumns(
        arrival_ns=np.array([0, 1, 2]),
        prompt_tokens=np.array([100, 100, 30_000]),
        output_tokens=np.array([10, 10, 10]),
    )
    strict = RequestObjective(ttft_s=1.0, ttft_per_prefill=0.0)
    assert unlimited_attainment(requests, PROFILE, strict) == pytest.approx(2 / 3)
    own = RequestObjective(ttft_s=1.0, ttft_per_prefill=2.0)
    assert unlimited_attainment(requests, PROFILE, own) == 1.0
