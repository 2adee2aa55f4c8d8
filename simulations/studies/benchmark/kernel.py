"""Requests per second of CPU time of a static fleet, beside the naive reference on the same requests."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from simulations.results.text import text_table
from simulations.serving.columns import RequestColumns, RequestOutcome
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.profiles.profiles import PROFILES
from simulations.serving.reference.fleet import ReferenceFleet
from simulations.studies.benchmark.traffic import PROFILE, REQUESTS_PER_S, conversations

NAIVE_REQUESTS = 4_000
"""Enough for a minute and more of traffic to 32 replicas; the reference needs seconds for them."""
SETTLE_NS = 2 * TIMEOUT_NS
"""After the last arrival; by then every request has its outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRow:
    """One size of fleet."""

    replicas: int
    requests: int
    cpu_s: float
    """Of the fastest of the repetitions."""
    requests_per_cpu_s: float
    naive_requests_per_cpu_s: float
    rss_bytes: int
    """The most that the process held, columns and results included."""


def kernel_row(replicas: int, requests: int, repetitions: int) -> KernelRow:
    """Serve that many requests with that many replicas, and a few of them naively."""
    columns = conversations(requests, requests_per_s=REQUESTS_PER_S * replicas)
    _serve_fast(conversations(100, requests_per_s=REQUESTS_PER_S), 1)  # compiled, or loaded
    cpu_s = min(_serve_fast(columns, replicas) for _ in range(repetitions))
    few = conversations(min(requests, NAIVE_REQUESTS), requests_per_s=REQUESTS_PER_S * replicas)
    naive = ReferenceFleet(
        PROFILES[PROFILE], few, routing="least-outstanding", timeout_ns=TIMEOUT_NS, retries=0
    )
    naive_s = _cpu_s(naive, few, replicas)
    return KernelRow(
        replicas=replicas,
        requests=requests,
        cpu_s=cpu_s,
        requests_per_cpu_s=requests / cpu_s,
        naive_requests_per_cpu_s=len(few) / naive_s,
        rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _serve_fast(columns: RequestColumns, replicas: int) -> float:
    fleet = ServingFleet(PROFILES[PROFILE], columns)
    cpu_s = _cpu_s(fleet, columns, replicas)
    decided = int(np.count_nonzero(fleet.results.outcome != RequestOutcome.PENDING))
    assert decided == len(columns), f"{len(columns) - decided} requests have no outcome"
    return cpu_s


def _cpu_s(fleet: ServingFleet | ReferenceFleet, columns: RequestColumns, replicas: int) -> float:
    """CPU time from the first arrival until everything has its outcome."""
    for replica in range(replicas):
        fleet.add_replica(0, replica)
    began = time.process_time()
    fleet.run_until(int(columns.arrival_ns[-1]) + SETTLE_NS)
    return time.process_time() - began


def kernel_table(rows: list[KernelRow]) -> Table:
    """For people."""
    heads = ("replicas", "requests", "CPU s", "requests/CPU s", "naive", "times", "MB")
    cells = (
        (
            str(row.replicas),
            f"{row.requests:,}",
            f"{row.cpu_s:.2f}",
            f"{row.requests_per_cpu_s:,.0f}",
            f"{row.naive_requests_per_cpu_s:,.0f}",
            f"{row.requests_per_cpu_s / row.naive_requests_per_cpu_s:,.0f}",
            f"{row.rss_bytes / 1e6:,.0f}",
        )
        for row in rows
    )
    return text_table(heads, cells)
