"""A load test lasts: however many replicas stand behind the router, its rate is one that a queue does not outgrow."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.profiles import PROFILES
from simulations.serving.replica_capacity import ReplicaCapacity, replica_capacity

PROFILE = PROFILES["llama-3.1-8b/1xL40S"]


def short_requests(rows: int) -> RequestColumns:
    return RequestColumns(
        arrival_ns=np.zeros(rows, dtype=np.int64),
        prompt_tokens=np.full(rows, 300, dtype=np.int64),
        output_tokens=np.full(rows, 20, dtype=np.int64),
    )


def measured(requests: RequestColumns, *, replicas: int) -> ReplicaCapacity:
    return replica_capacity(
        PROFILE, requests, ttft_s=1.0, tpot_s=0.1, attainment_ratio=0.99, replicas=replicas
    )


@pytest.mark.slow
@pytest.mark.parametrize("rows", [2_000, 100_000])
def test_a_large_fleet_carries_no_multiple_of_a_small_one(rows: int) -> None:
    small = measured(short_requests(rows), replicas=2)
    large = measured(short_requests(rows), replicas=32)
    assert small.requests_per_s <= large.requests_per_s < 1.25 * small.requests_per_s


@pytest.mark.slow
def test_prefixes_are_not_asked_for_twice() -> None:
    """Repeated, they would be known, and their prompts would cost nothing."""
    rows = 3_000
    plain = short_requests(rows)
    own = RequestColumns(
        arrival_ns=plain.arrival_ns,
        prompt_tokens=plain.prompt_tokens,
        output_tokens=plain.output_tokens,
        block_tokens=16,
        blocks=np.arange(rows * 18, dtype=np.int64),
        block_ends=18 * np.arange(1, rows + 1, dtype=np.int64),
    )
    carried = measured(own, replicas=8).requests_per_s
    assert carried < 1.25 * measured(plain, replicas=8).requests_per_s
