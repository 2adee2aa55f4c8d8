"""Work against what the serving model really spends, and the bound against fleets that run."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.bounds.bound import make_bound
from simulations.bounds.pools import PoolTerms
from simulations.bounds.work import least_work_s, shareable_tokens
from simulations.serving.columns import RequestColumns, RequestOutcome
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import PROFILES

PROFILE = PROFILES["llama-3.1-8b/1xL40S"]


def requests(rng, count, *, gap_s=0.0, prompt=600, output=120):
    arrival = np.sort(rng.uniform(0, gap_s * count, count)) * 1e9
    return RequestColumns(
        arrival_ns=arrival.astype(np.int64),
        prompt_tokens=rng.integers(1, prompt, count),
        output_tokens=rng.integers(1, output, count),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "output"), [(600, 120), (3000, 20), (50, 400)])
def test_no_backlog_is_done_in_less_than_its_work(prompt, output):
    """One replica with everything there at once is as efficient as a replica can be."""
    trace = requests(np.random.default_rng(5), 400, prompt=prompt, output=output)
    fleet = ServingFleet(PROFILE, trace, timeout_ns=10**15)
    fleet.add_replica(0, 0)
    fleet.run_until(10**14)
    assert (fleet.results.outcome == RequestOutcome.COMPLETED).all()
    took_s = fleet.results.finished_ns.max() / 1e9
    work_s = least_work_s(trace, PROFILE).sum()
    assert work_s <= took_s
    # the last requests of a backlog leave the batch half empty
    assert work_s >= 0.4 * took_s, "a bound so loose would say nothing"


def test_shared_prefixes_are_charged_once():
    trace = RequestColumns(
        arrival_ns=np.array([0, 1, 2]),
        prompt_tokens=np.array([1500, 1500, 1100]),
        output_tokens=np.array([5, 5, 5]),
        block_tokens=512,
        blocks=np.array([7, 8, 9, 7, 8, 10, 7, 11, 12]),
        block_ends=np.array([3, 6, 9]),
    )
    assert shareable_tokens(trace).tolist() == [0.0, 1024.0, 512.0]


def test_a_static_fleet_that_meets_the_objective_costs_at_least_the_bound():
    trace = requests(np.random.default_rng(11), 500, gap_s=0.4)
    fleet = ServingFleet(PROFILE, trace)
    for replica in range(3):
        fleet.add_replica(0, replica)
    span_s = trace.arrival_ns[-1] / 1e9
    fleet.run_until(int(span_s * 1e9) + 10**12)
    results = fleet.results
    due = trace.arrival_ns + 2 * 10**9 + (trace.output_tokens - 1) * 10**8
    missed = int((results.finished_ns > due).sum())
    bound = make_bound(
        trace,
        PROFILE,
        due_ns=due,
        span_s=span_s,
        start_s=30.0,
        pools=[PoolTerms(usd_per_hour=PROFILE.usd_per_hour, initial=3)],
        replicas_min=1,
    )
    cost = 3 * PROFILE.usd_per_hour * span_s / 3600
    assert bound.relaxed(missed) <= cost
    assert bound.relaxed(missed) <= bound.at_attainment(1 - missed / len(trace)) + 1e-9
    assert bound.at_attainment(1.0) >= PROFILE.usd_per_hour * span_s / 3600 * 0.999
