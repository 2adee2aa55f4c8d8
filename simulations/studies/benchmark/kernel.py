"""Requests per second of CPU time of a static fleet, beside the naive reference on the same requests."""

from __future__ import annotations

import numpy as np

from simulations.serving.columns import RequestColumns, RequestOutcome
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.profiles.profiles import PROFILES
from simulations.serving.reference.fleet import ReferenceFleet
from simulations.studies.benchmark.processes import Row, peak_rss_bytes, serve
from simulations.studies.benchmark.traffic import PROFILE, REQUESTS_PER_S, conversations

NAIVE_REQUESTS = 4_000
"""Enough for a minute and more of traffic to 32 replicas; the reference needs seconds for them."""


def kernel_row(replicas: int, requests: int, repetitions: int) -> Row:
    """Serve that many requests with that many replicas, and a few of them naively."""
    columns = conversations(requests, requests_per_s=REQUESTS_PER_S * replicas)
    _serve_fast(conversations(100, requests_per_s=REQUESTS_PER_S), 1)  # compiled, or loaded
    cpu_s = min(_serve_fast(columns, replicas) for _ in range(repetitions))
    few = conversations(min(requests, NAIVE_REQUESTS), requests_per_s=REQUESTS_PER_S * replicas)
    naive = ReferenceFleet(
        PROFILES[PROFILE], few, routing="least-outstanding", timeout_ns=TIMEOUT_NS, retries=0
    )
    naive_s = serve(naive, few, replicas=replicas)
    return {
        "replicas": replicas,
        "requests": requests,
        "cpu_s": cpu_s,
        "requests_per_cpu_s": requests / cpu_s,
        "naive_requests_per_cpu_s": len(few) / naive_s,
        "rss_bytes": peak_rss_bytes(),  # columns and results included
    }


def _serve_fast(columns: RequestColumns, replicas: int) -> float:
    fleet = ServingFleet(PROFILES[PROFILE], columns)
    cpu_s = serve(fleet, columns, replicas=replicas)
    decided = int(np.count_nonzero(fleet.results.outcome != RequestOutcome.PENDING))
    assert decided == len(columns), f"{len(columns) - decided} requests have no outcome"
    return cpu_s


def kernel_cells(row: Row) -> dict[str, str]:
    """Of a row, for people, by heading."""
    return {
        "replicas": str(row["replicas"]),
        "requests": f"{row['requests']:,}",
        "CPU s": f"{row['cpu_s']:.2f}",
        "requests/CPU s": f"{row['requests_per_cpu_s']:,.0f}",
        "naive": f"{row['naive_requests_per_cpu_s']:,.0f}",
        "times": f"{row['requests_per_cpu_s'] / row['naive_requests_per_cpu_s']:,.0f}",
        "MB": f"{row['rss_bytes'] / 1e6:,.0f}",
    }
