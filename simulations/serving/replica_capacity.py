"""How much one replica carries within an objective, found by serving requests at rising rates.

The target of an autoscaler (requests in flight per replica) depends on the requests: a
replica that holds thirty conversations holds four long documents. Giving every policy the target that is
right for the trace makes a replay judge the policy, not the choice of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.rng import stream
from simulations.serving.columns import RequestColumns, RequestOutcome
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import Profile

SAMPLE = 1_500
"""Requests of one attempt for each replica: enough for a share of 99 % to mean fifteen requests, and for a
rate to last. Fewer are all there before a queue can grow, and then any rate holds."""
RATE_MAX = 1e5
"""Requests per second at which the search ends: nothing meets the objective, at any rate."""
HALVINGS = 7
"""Of the interval between a rate that holds and twice that: to within one per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCapacity:
    """What one replica does at the highest rate that it carries within the objective."""

    requests_per_s: float
    in_flight_requests: float
    """Mean, from the first arrival to the last."""
    alone_s: float
    """Mean time that a request takes on a replica that is nearly idle."""

    @property
    def linear_target(self) -> float:
        """The in-flight target that asks for the right number of replicas at any load below.

        Requests take longer where more run together. So the mean in flight at the limit, taken as a
        target, asks for too few replicas at lower rates, and the fleet ends up beyond its limit.
        """
        return self.requests_per_s * self.alone_s


def written_target(requests: float) -> float:
    """An in-flight target as one would write it: whole from 10 on, to a tenth below.

    Where a replica carries two or three long prompts, a whole number would be off by a quarter.
    """
    return float(round(requests)) if requests >= 10.0 else max(0.1, round(requests, 1))


def replica_capacity(
    profile: Profile,
    requests: RequestColumns,
    *,
    ttft_s: float | FloatArray,
    tpot_s: float,
    attainment_ratio: float,
    replicas: int = 1,
) -> ReplicaCapacity:
    """The highest Poisson rate of such requests at which one replica meets the objective.

    Args:
        profile: Of the replica.
        requests: Their lengths and prefixes count, every n-th of them; their times do not. Where they are
            too few they come several times, unless they have prefixes, which would then be known.
        ttft_s: Time to the first token that is good enough, of all requests or of each.
        tpot_s: The same for the mean time between the others.
        attainment_ratio: Share of requests that must meet both, of those that do on an idle replica:
            a prompt that takes longer than the objective even alone says nothing about the rate.
        replicas: Behind one router; several even out what one cannot. The figures are of one.
    """
    rows = _sampled_rows(requests, SAMPLE * replicas)
    sample = _sample(requests, rows)
    limits = ttft_s[rows] if isinstance(ttft_s, np.ndarray) else ttft_s

    def attempt(rate: float) -> tuple[float, float]:
        return _attempt(profile, sample, rate=rate, replicas=replicas, ttft_s=limits, tpot_s=tpot_s)

    low = _slowest_rate(profile, sample)
    slowest = low
    share, in_flight = attempt(slowest)
    share_needed = attainment_ratio * share
    while attempt(2 * low)[0] >= share_needed and 2 * low < RATE_MAX:
        low *= 2
    high = 2 * low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if attempt(middle)[0] >= share_needed:
            low = middle
        else:
            high = middle
    return ReplicaCapacity(
        requests_per_s=low, in_flight_requests=attempt(low)[1], alone_s=in_flight / slowest
    )


def _sampled_rows(requests: RequestColumns, wanted: int) -> IntArray:
    """Return about as many rows as are wanted, from all over the requests."""
    rows = np.arange(0, len(requests), max(1, len(requests) // wanted))
    return rows if requests.blocks is not None else np.resize(rows, max(wanted, len(rows)))


def _sample(requests: RequestColumns, rows: IntArray) -> RequestColumns:
    """The chosen requests, all of them arriving at once, with their prefixes."""
    blocks = ends = None
    if requests.blocks is not None and requests.block_ends is not None:
        starts = np.concatenate(([0], requests.block_ends[:-1]))
        parts = [requests.blocks[starts[row] : requests.block_ends[row]] for row in rows]
        blocks = np.concatenate(parts)
        ends = np.cumsum([len(part) for part in parts])
    return RequestColumns(
        arrival_ns=np.zeros(len(rows), dtype=np.int64),
        prompt_tokens=requests.prompt_tokens[rows],
        output_tokens=requests.output_tokens[rows],
        block_tokens=requests.block_tokens,
        blocks=blocks,
        block_ends=ends,
    )


def _slowest_rate(profile: Profile, sample: RequestColumns) -> float:
    """A rate that leaves a replica nearly idle: one request in ten times the time that one takes."""
    steps = sample.output_tokens + sample.prompt_tokens / profile.step_tokens_max
    alone_ns = steps * profile.step_ns + sample.prompt_tokens * float(profile.token_ns)
    return 1e9 / (10 * float(np.mean(alone_ns)))


def _attempt(
    profile: Profile,
    sample: RequestColumns,
    *,
    rate: float,
    replicas: int,
    ttft_s: float | FloatArray,
    tpot_s: float,
) -> tuple[float, float]:
    """Share of requests within the objective, and mean in flight a replica, at this rate of one."""
    gaps = stream(0, "carrying").exponential(1e9 / (rate * replicas), len(sample))
    arrival_ns = np.cumsum(gaps).astype(np.int64)
    fleet = ServingFleet(
        profile,
        RequestColumns(
            arrival_ns=arrival_ns,
            prompt_tokens=sample.prompt_tokens,
            output_tokens=sample.output_tokens,
            block_tokens=sample.block_tokens,
            blocks=sample.blocks,
            block_ends=sample.block_ends,
        ),
    )
    for number in range(replicas):
        fleet.add_replica(0, number)
    fleet.run_until(int(arrival_ns[-1]) + 2 * fleet.timeout_ns)
    results = fleet.results
    first = (results.first_token_ns - arrival_ns) / 1e9
    following = (results.finished_ns - results.first_token_ns) / 1e9
    tpot = following / np.maximum(1, sample.output_tokens - 1)
    good = (results.outcome == RequestOutcome.COMPLETED) & (first <= ttft_s) & (tpot <= tpot_s)
    in_flight = float(np.sum(results.finished_ns - arrival_ns)) / float(arrival_ns[-1])
    return float(np.mean(good)), in_flight / replicas
