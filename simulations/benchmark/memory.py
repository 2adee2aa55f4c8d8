"""How much memory a request takes: columns, the kernel's state and results, and the peak of a run.

The requests are made by another process and read from a file, as a trace would be: what making them
up takes is not counted.
"""

from __future__ import annotations

import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.table import Table

from simulations.benchmark.kernel import SETTLE_NS
from simulations.benchmark.traffic import PROFILE, REQUESTS_PER_S, conversations
from simulations.ledger import Ledger
from simulations.objective import RequestObjective
from simulations.scorecard import Run, score
from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles import PROFILES

REPLICAS = 32
COLUMNS = ("arrival_ns", "prompt_tokens", "output_tokens")
PREFIX_COLUMNS = ("blocks", "block_ends")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """One number of requests, with or without their prefixes."""

    requests: int
    prefixes: bool
    base_rss_bytes: int
    """Before the first request: the interpreter, its modules, the compiled kernel."""
    state_rss_bytes: int
    """What columns, state and results added to it, all requests served."""
    state_rss_bytes_per_million: float
    peak_rss_bytes: int
    """The most that the process ever held, preparation and scoring included."""


def memory_row(requests: int, *, prefixes: bool) -> MemoryRow:
    """Serve that many with a static fleet, and score them."""
    with tempfile.TemporaryDirectory() as folder:
        for work in (_make, _serve):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                made = pool.submit(work, Path(folder), requests, prefixes).result()
    assert made is not None
    return made


def _make(folder: Path, requests: int, prefixes: bool) -> None:  # noqa: FBT001  sent by position
    columns = conversations(requests, requests_per_s=REQUESTS_PER_S * REPLICAS)
    for name in (*COLUMNS, *(PREFIX_COLUMNS if prefixes else ())):
        np.save(folder / f"{name}.npy", getattr(columns, name))


def _serve(folder: Path, requests: int, prefixes: bool) -> MemoryRow:  # noqa: FBT001  the same
    profile = PROFILES[PROFILE]
    _served(conversations(100, requests_per_s=1.0))  # compiled, or loaded
    base = _rss_bytes()
    template = conversations(1, requests_per_s=1.0)
    names = (*COLUMNS, *(PREFIX_COLUMNS if prefixes else ()))
    columns = RequestColumns(
        block_tokens=template.block_tokens if prefixes else 0,
        **{name: np.load(folder / f"{name}.npy") for name in names},
    )
    fleet = _served(columns)
    state = _rss_bytes() - base
    run = Run(
        trace="conversations",
        policy="static",
        seed=0,
        requests=columns,
        results=fleet.results,
        ledger=Ledger(),
        profile=profile,
        objective=RequestObjective(),
        end_ns=int(columns.arrival_ns[-1]),
        wall_s=0.0,
    )
    assert score(run).requests == requests
    return MemoryRow(
        requests=requests,
        prefixes=prefixes,
        base_rss_bytes=base,
        state_rss_bytes=state,
        state_rss_bytes_per_million=state / requests * 1e6,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _served(columns: RequestColumns) -> ServingFleet:
    fleet = ServingFleet(PROFILES[PROFILE], columns)
    for number in range(REPLICAS):
        fleet.add_replica(0, number)
    fleet.run_until(int(columns.arrival_ns[-1]) + SETTLE_NS)
    return fleet


def _rss_bytes() -> int:
    """What the process holds now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def memory_table(rows: list[MemoryRow]) -> Table:
    """For people."""
    table = Table("requests", "prefixes", "base MB", "state MB", "MB a million", "peak MB")
    for row in rows:
        table.add_row(
            f"{row.requests:,}",
            "with" if row.prefixes else "without",
            f"{row.base_rss_bytes / 1e6:,.0f}",
            f"{row.state_rss_bytes / 1e6:,.0f}",
            f"{row.state_rss_bytes_per_million / 1e6:,.1f}",
            f"{row.peak_rss_bytes / 1e6:,.0f}",
        )
    return table
