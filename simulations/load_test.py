"""What an operator's load test would say: how many requests in flight one replica carries.

How much that is depends on the traffic as much as on the GPU: with long prompts and short answers a
replica is full at four requests, with short chats at a hundred. Every policy needs the figure (as a
target of scaling), so it is measured once per trace, on the trace's own requests at a steady rate,
and given to all alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autoscaler.core.spec import Objective
from simulations.rng import stream
from simulations.scorecard import latencies, meets
from simulations.serving.columns import Outcome, RequestColumns
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.profiles import Profile

REQUESTS = 500
"""Of one probe: at 99 % that is five misses."""
RATE_MIN = 0.02
"""Requests per second at which the search begins."""
BISECTIONS = 6
"""After the last doubling: the rate is then known to 1.1 %."""


def measured(profile: Profile, requests: RequestColumns, objective: Objective) -> Profile:
    """The profile with the in-flight target that meets the objective on these requests.

    A trace that no rate serves (its prompts alone take longer than the objective allows) gets 1.
    """
    if not len(requests):
        return profile
    sample = _sample(requests)
    rate, in_flight = RATE_MIN, 1.0
    failed = None
    while failed is None and rate < 1e4:
        attainment, carried = _probe(profile, sample, objective, rate=rate)
        if attainment < objective.attainment_ratio:
            failed = rate
        else:
            in_flight = carried
            rate *= 2.0
    low, high = rate / 2.0, rate
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        attainment, carried = _probe(profile, sample, objective, rate=middle)
        if attainment < objective.attainment_ratio:
            high = middle
        else:
            low, in_flight = middle, carried
    return replace(profile, in_flight_target=max(1, round(in_flight)))


def _sample(requests: RequestColumns) -> RequestColumns:
    """A stretch from the middle: neighbours share prefixes, as they will in the replay."""
    count = min(REQUESTS, len(requests))
    first = (len(requests) - count) // 2
    rows = slice(first, first + count)
    blocks, ends = requests.blocks, requests.block_ends
    if blocks is not None and ends is not None:
        begin = int(ends[first - 1]) if first else 0
        blocks = blocks[begin : int(ends[first + count - 1])]
        ends = ends[rows] - begin
    return RequestColumns(
        arrival_ns=requests.arrival_ns[rows],
        prompt_tokens=requests.prompt_tokens[rows],
        output_tokens=requests.output_tokens[rows],
        block_tokens=requests.block_tokens,
        blocks=blocks,
        block_ends=ends,
    )


def _probe(
    profile: Profile, sample: RequestColumns, objective: Objective, *, rate: float
) -> tuple[float, float]:
    """(attainment, mean requests in flight) of one replica at a steady Poisson rate."""
    gaps = stream(0, "load-test").exponential(1.0 / rate, len(sample))
    arrival_ns = (np.cumsum(gaps) * 1e9).astype(np.int64)
    requests = replace(sample, arrival_ns=arrival_ns)
    fleet = ServingFleet(profile, requests, timeout_ns=TIMEOUT_NS)
    fleet.add_replica(0, 0)
    fleet.run_until(int(arrival_ns[-1]) + TIMEOUT_NS + 1)
    results = fleet.results
    ttft_s, tpot_s = latencies(requests, results)
    completed = results.outcome == Outcome.COMPLETED
    met = completed & meets(ttft_s, tpot_s, objective)
    stayed_ns = float((results.finished_ns - arrival_ns).sum())
    return float(met.mean()), stayed_ns / float(arrival_ns[-1])
