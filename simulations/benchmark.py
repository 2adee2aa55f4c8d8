"""What the simulations cost: `python -m simulations.benchmark`.

`kernel` serves conversations with a static fleet and prints requests per second of CPU time, beside the
naive reference on the same requests in the same process. Every row is a process of its own, so that
its memory is its own.
"""

from __future__ import annotations

import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from simulations.rng import stream
from simulations.serving.columns import Outcome, RequestColumns
from simulations.serving.fleet import TIMEOUT_NS, ServingFleet
from simulations.serving.profiles import PROFILES
from simulations.serving.reference import ReferenceFleet

PROFILE = "llama-3.1-8b/1xL40S"
REQUESTS_PER_S = 3.0
"""To each replica: 85 % of what it carries within the objective."""
PREFIX_TOKENS = 512
"""Mooncake's prefix blocks."""
FAMILIES = 2_000
"""Of prompts; those of one share their first blocks."""
SHARED_BLOCKS = 2
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


def conversations(rows: int, *, requests_per_s: float, seed: int = 1) -> RequestColumns:
    """Poisson arrivals as long as Azure's conversations (1,155 in, 211 out), in prompt families."""
    random = stream(seed, "benchmark")
    prompt = np.maximum(1, random.lognormal(np.log(1155) - 0.245, 0.7, rows)).astype(np.int64)
    output = np.maximum(1, random.lognormal(np.log(211) - 0.245, 0.7, rows)).astype(np.int64)
    gaps = random.exponential(1e9 / requests_per_s, rows)
    family = random.integers(0, FAMILIES, rows)
    count = prompt // PREFIX_TOKENS
    ends = np.cumsum(count)
    depth = (np.arange(ends[-1]) - np.repeat(ends - count, count)).astype(np.int32)
    shared = np.repeat(family.astype(np.int32) * SHARED_BLOCKS, count) + depth
    own = np.arange(ends[-1], dtype=np.int32) + FAMILIES * SHARED_BLOCKS
    return RequestColumns(
        arrival_ns=np.cumsum(gaps).astype(np.int64),
        prompt_tokens=prompt,
        output_tokens=output,
        block_tokens=PREFIX_TOKENS,
        blocks=np.where(depth < SHARED_BLOCKS, shared, own).astype(np.int64),
        block_ends=ends,
    )


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
    decided = int(np.count_nonzero(fleet.results.outcome != Outcome.PENDING))
    assert decided == len(columns), f"{len(columns) - decided} requests have no outcome"
    return cpu_s


def _cpu_s(fleet: ServingFleet | ReferenceFleet, columns: RequestColumns, replicas: int) -> float:
    """CPU time from the first arrival until everything has its outcome."""
    for replica in range(replicas):
        fleet.add_replica(0, replica)
    began = time.process_time()
    fleet.run_until(int(columns.arrival_ns[-1]) + SETTLE_NS)
    return time.process_time() - began


@click.group()
def main() -> None:
    """Measure what the simulations cost on this machine."""


@main.command()
@click.option("--replicas", default="1,8,32,128", show_default=True, help="Sizes of fleets.")
@click.option("--requests", default=1_000_000, show_default=True, help="Of each row.")
@click.option("--repetitions", default=3, show_default=True, help="The fastest one counts.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def kernel(replicas: str, requests: int, repetitions: int, output: str) -> None:
    """Requests per second of CPU time, beside the naive reference."""
    sizes = [int(size) for size in replicas.split(",")]
    rows = []
    for size in sizes:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(kernel_row, size, requests, repetitions).result())
    if output == "json":
        print(json.dumps({"rows": [asdict(row) for row in rows]}))
        return
    table = Table("replicas", "requests", "CPU s", "requests/CPU s", "naive", "times", "MB")
    for row in rows:
        table.add_row(
            str(row.replicas),
            f"{row.requests:,}",
            f"{row.cpu_s:.2f}",
            f"{row.requests_per_cpu_s:,.0f}",
            f"{row.naive_requests_per_cpu_s:,.0f}",
            f"{row.requests_per_cpu_s / row.naive_requests_per_cpu_s:,.0f}",
            f"{row.rss_bytes / 1e6:,.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
