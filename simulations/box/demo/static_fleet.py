"""The static fleet that the demo is compared with: the same requests, replayed.

It is on demand, sized with hindsight, and never scaled: the smallest number of replicas with which the
serving model keeps the objective for these very requests. Nobody can size a fleet that well before
the load is there, so this errs in its favour.
"""

from __future__ import annotations

import numpy as np

from simulations.box.demo.scenario import ATTAINMENT, profile
from simulations.box.demo.summary import Served, served
from simulations.serving.columns import RequestColumns, RequestOutcome
from simulations.serving.fleet import ServingFleet

REPLICAS_MAX = 32


def smallest(requests: RequestColumns, *, ramp_s: float) -> tuple[int, Served]:
    """The smallest fleet that keeps the objective, and what it serves; the largest if none does."""
    for replicas in range(1, REPLICAS_MAX + 1):
        result = served_by(replicas, requests, ramp_s=ramp_s)
        if result.attainment >= ATTAINMENT:
            break
    return replicas, result


def served_by(replicas: int, requests: RequestColumns, *, ramp_s: float) -> Served:
    """Replay the requests on a fleet that is there from the beginning."""
    # a few hundred requests are not worth half a minute of compiling
    fleet = ServingFleet(profile(), requests, engine="reference")
    for replica in range(replicas):
        fleet.add_replica(0, replica)
    # with the last arrival's patience over, every request has an outcome
    fleet.run_until(int(requests.arrival_ns[-1]) + 121_000_000_000)
    results = fleet.results
    completed = results.outcome == RequestOutcome.COMPLETED
    further = np.maximum(requests.output_tokens - 1, 1)
    return served(
        sent_at_s=requests.arrival_ns / 1e9,
        ttft_s=np.where(completed, (results.first_token_ns - requests.arrival_ns) / 1e9, np.nan),
        tpot_s=(results.finished_ns - results.first_token_ns) / 1e9 / further,
        ramp_s=ramp_s,
    )
