"""Engines of known coefficients, to be found again."""

from __future__ import annotations

import numpy as np

from simulations.field.calibrate.coefficients import Coefficients, floors_of, profile_with
from simulations.field.calibrate.request_log import ServedRequests
from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import PROFILES, Profile
from simulations.studies.benchmark.traffic import conversations

BASE = PROFILES["llama-3.1-8b/1xL40S"]
FLOORS = floors_of(BASE)
TRUTH = profile_with(
    BASE,
    FLOORS,
    Coefficients(
        step_ns=31_000_000,
        token_ns=81_000,
        kv_token_ns=240,
        pause_decode_ns=30_000,
        around_ns=25_000_000,
    ),
)
"""Slower to read, quicker to compute than the profile that a user would start from."""


def served_by(
    profile: Profile, *, requests: int, requests_per_s: float, seed: int
) -> ServedRequests:
    """What clients of one such replica see."""
    made = conversations(requests, requests_per_s=requests_per_s, seed=seed)
    columns = RequestColumns(
        arrival_ns=made.arrival_ns,
        prompt_tokens=made.prompt_tokens,
        output_tokens=made.output_tokens,
    )
    fleet = ServingFleet(profile, columns, timeout_ns=10**15)
    fleet.add_replica(0, 0)
    fleet.run_until(10**15)
    return ServedRequests(
        columns=columns,
        ttft_s=(fleet.results.first_token_ns - columns.arrival_ns) / 1e9,
        e2e_s=(fleet.results.finished_ns - columns.arrival_ns) / 1e9,
    )


def with_noise(served: ServedRequests, *, ratio: float) -> ServedRequests:
    """The same, each time off by a random factor."""
    random = np.random.default_rng(7)
    rows = len(served.columns)
    ttft = served.ttft_s * np.exp(random.normal(0, ratio, rows))
    rest = (served.e2e_s - served.ttft_s) * np.exp(random.normal(0, ratio, rows))
    return ServedRequests(columns=served.columns, ttft_s=ttft, e2e_s=ttft + rest)
