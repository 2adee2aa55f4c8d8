"""Rows against their bound: valid for every policy there is, and a row that beats it is a bug."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.errors import InvariantBroken
from simulations.agenda import NS
from simulations.bounds import bound as bound_module
from simulations.bounds.figures import bound_figures, trace_bound, unlimited_attainment
from simulations.peers.rules.registry import BASELINES
from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.results.scorecard import score
from simulations.serving.columns import RequestColumns
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import PROFILES
from simulations.traces.trace import read_trace
from simulations.world.cold_start import cold_start

PROFILE = PROFILES["llama-3.1-8b/1xL40S"]


@pytest.fixture(scope="module")
def conditions():
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


# What a start costs


def two_bursts() -> RequestColumns:
    """More than one replica can do in half a minute, and the same again half an hour later."""
    burst = np.linspace(600.0, 630.0, 300)
    arrival_s = np.concatenate([burst, burst + 1800.0, [3600.0]])
    return RequestColumns(
        arrival_ns=(arrival_s * 1e9).astype(np.int64),
        prompt_tokens=np.full(len(arrival_s), 3000),
        output_tokens=np.full(len(arrival_s), 2),
    )


def check_starts_are_paid() -> None:
    """Nobody is kept over half an hour: the second burst needs a start, and it is in the bound."""
    costs = [
        trace_bound(
            two_bursts(),
            PROFILE,
            RequestObjective(),
            end_ns=3600 * NS,
            start_s=start_s,
            spot=None,
        ).at_attainment(1.0)
        for start_s in (0.0, 300.0)
    ]
    one_s = PROFILE.usd_per_hour / 3600
    # at least one more replica than the one that is always kept, for one start
    assert costs[1] - costs[0] > 250.0 * one_s
    assert costs[0] >= 3600.0 * one_s * 0.999


@pytest.mark.slow
def test_starts_are_paid_by_the_bound():
    check_starts_are_paid()


@pytest.mark.slow
def test_a_bound_that_pays_no_starts_is_noticed(monkeypatch):
    kept = bound_module.BoundPool
    monkeypatch.setattr(
        bound_module, "BoundPool", lambda **terms: kept(**(terms | {"start_steps": 0}))
    )
    with pytest.raises(AssertionError):
        check_starts_are_paid()


# One queue


@pytest.fixture(scope="module")
def one_replica():
    """Rows of one replica, from idle to hopeless, with the bounds of their traces."""
    rows = []
    for seed, rate in enumerate((0.3, 1.0, 2.5, 6.0)):
        trace = read_trace(
            f"generate:bursty,hours=0.3,rate={rate},input=1500,output=40,seed={seed}"
        )
        conditions = Conditions(profile=PROFILE, cold_start=cold_start("60"), replicas_max=1)
        row = score(run(trace, "static-mean", seed=0, conditions=conditions))
        least = trace_bound(
            trace.requests,
            PROFILE,
            conditions.objective,
            end_ns=trace.end_ns,
            start_s=conditions.cold_start.shortest_s,
            spot=None,
            replicas_max=4,
        )
        rows.append((row, least))
    return rows


def held(row, least):
    return bound_figures(
        name="one replica",
        cost_usd=row.cost_usd,
        attainment=row.attainment,
        requests=row.requests,
        bound=least,
        replicas_most=row.replicas_max,
    )


@pytest.mark.slow
def test_one_replica_is_never_below_one_queue(one_replica):
    attained = [row.attainment for row, _ in one_replica]
    assert attained[0] > 0.95
    assert attained[-1] < 0.5
    for row, least in one_replica:
        assert row.replicas_max == 1
        figures = held(row, least)
        assert figures.queue_usd is not None
        assert figures.cost_usd == max(least.at_attainment(row.attainment), figures.queue_usd)
        assert row.cost_usd >= figures.cost_usd * (1 - 1e-6)


@pytest.mark.slow
def test_what_one_replica_missed_costs_more_to_attain(one_replica):
    """The program says that one replica could; in its queue it cannot."""
    row, least = one_replica[-1]
    assert least.queue is not None
    assert least.queue.at(0.02 * row.requests) > 1.3 * row.cost_usd


@pytest.mark.slow
def test_a_row_of_one_replica_below_the_queues_fails_and_one_of_several_refutes_it(one_replica):
    row, least = one_replica[-1]
    assert least.queue is not None
    wrong = replace(least, queue=replace(least.queue, least_usd=least.queue.least_usd * 3))
    with pytest.raises(InvariantBroken, match="of one replica is below"):
        held(row, wrong)
    several = held(replace(row, replicas_max=2), wrong)
    assert several.queue_usd is None
    assert several.cost_usd == least.at_attainment(row.attainment)


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
