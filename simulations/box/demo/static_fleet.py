"""The static fleet that the demo is compared with: the same requests, replayed.

It is on demand, sized with hindsight, and never scaled: the smallest number of replicas with which the
serving model keeps the objective for these very requests. Nobody can size a fleet that well before
the load is there, so this errs in its favour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulations.serving.columns import NEVER, RequestColumns, RequestOutcome
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import Profile

REPLICAS_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFleet:
    """What a number of replicas would have done."""

    replicas: int
    completed: int
    attainment: float
    """Share of the requests that met both parts of the objective."""
    ttft_s_p95: float


def smallest(
    profile: Profile,
    requests: RequestColumns,
    *,
    ttft_s: float,
    tpot_s: float,
    attainment: float,
) -> StaticFleet:
    """The smallest fleet whose attainment is at least `attainment`; the largest if none is."""
    for replicas in range(1, REPLICAS_MAX + 1):
        fleet = served_by(replicas, profile, requests, ttft_s=ttft_s, tpot_s=tpot_s)
        if fleet.attainment >= attainment:
            return fleet
    return fleet


def served_by(
    replicas: int, profile: Profile, requests: RequestColumns, *, ttft_s: float, tpot_s: float
) -> StaticFleet:
    """Replay the requests on a fleet that is there from the beginning."""
    # a few hundred requests are not worth half a minute of compiling
    fleet = ServingFleet(profile, requests, engine="reference")
    for replica in range(replicas):
        fleet.add_replica(0, replica)
    # with the last arrival's patience over, every request has an outcome
    fleet.run_until(int(requests.arrival_ns[-1]) + 121_000_000_000)
    results = fleet.results
    completed = results.outcome == RequestOutcome.COMPLETED
    started = results.first_token_ns != NEVER
    ttft = np.where(started, (results.first_token_ns - requests.arrival_ns) / 1e9, np.inf)
    further = np.maximum(requests.output_tokens - 1, 1)
    tpot = (results.finished_ns - results.first_token_ns) / 1e9 / further
    met = completed & (ttft <= ttft_s) & (tpot <= tpot_s)
    return StaticFleet(
        replicas=replicas,
        completed=int(completed.sum()),
        attainment=float(met.mean()),
        ttft_s_p95=float(np.quantile(ttft, 0.95)),
    )
