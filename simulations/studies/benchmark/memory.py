"""How much memory a request takes: columns, the kernel's state and results, and the peak of a run.

The requests stream in from a trace's file, line by line, as `autoscaler simulate` reads them. Another
process writes that file: what making them up takes is not counted.
"""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.table import Table

from simulations.replay.run import Run
from simulations.results.scorecard import score
from simulations.results.text import text_table
from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import ServingFleet
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import PROFILES
from simulations.studies.benchmark.kernel import SETTLE_NS
from simulations.studies.benchmark.traffic import PROFILE, REQUESTS_PER_S, conversations
from simulations.traces.formats import mooncake_jsonl, plain_csv
from simulations.traces.trace import read_trace
from simulations.world.ledger import Ledger

REPLICAS = 32
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRow:
    """One number of requests, with or without their prefixes."""

    requests: int
    prefixes: bool
    base_rss_bytes: int
    """Before the first request: the interpreter, its modules, the compiled kernel."""
    read_rss_bytes: int
    """What reading the trace added to it: its columns, and what the allocator keeps."""
    state_rss_bytes: int
    """What columns, state and results added to it, all requests served."""
    state_rss_bytes_per_million: float
    peak_rss_bytes: int
    """The most that the process ever held, reading, preparation and scoring included."""


def memory_row(requests: int, *, prefixes: bool) -> MemoryRow:
    """Read that many, serve them with a static fleet, and score them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ("conversations.jsonl" if prefixes else "conversations.csv")
        for work in (_write, _serve):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                made = pool.submit(work, file, requests, prefixes).result()
    assert made is not None
    return made


def _write(file: Path, requests: int, prefixes: bool) -> None:  # noqa: FBT001  sent by position
    columns = conversations(requests, requests_per_s=REQUESTS_PER_S * REPLICAS)
    with file.open("w", encoding="ascii") as out:
        out.writelines(_json_lines(columns) if prefixes else _csv_lines(columns))


def _csv_lines(columns: RequestColumns) -> Iterator[str]:
    yield f"{plain_csv.HEADER}\n"
    for at_ns, prompt, output in _rows(columns):
        yield f"{at_ns / 1e9:.6f},{prompt},{output}\n"


def _json_lines(columns: RequestColumns) -> Iterator[str]:
    assert columns.blocks is not None
    assert columns.block_ends is not None
    assert columns.block_tokens == mooncake_jsonl.BLOCK_TOKENS
    begin = 0
    for (at_ns, prompt, output), end in zip(_rows(columns), columns.block_ends, strict=True):
        row = dict(zip(mooncake_jsonl.FIELDS, (at_ns // 1000 / 1000, prompt, output), strict=True))
        row["hash_ids"] = columns.blocks[begin:end].tolist()
        yield f"{json.dumps(row)}\n"
        begin = end


def _rows(columns: RequestColumns) -> Iterator[tuple[int, int, int]]:
    """Arrival, prompt and output; plain numbers are written three times as fast as numpy's."""
    for first in range(0, len(columns), CHUNK):
        part = columns.part(slice(first, first + CHUNK))
        yield from zip(
            part.arrival_ns.tolist(),
            part.prompt_tokens.tolist(),
            part.output_tokens.tolist(),
            strict=True,
        )


def _serve(file: Path, requests: int, prefixes: bool) -> MemoryRow:  # noqa: FBT001  the same
    profile = PROFILES[PROFILE]
    _fleet_after(conversations(100, requests_per_s=1.0))  # compiled, or loaded
    base = _rss_bytes()
    columns = read_trace(str(file)).requests
    read = _rss_bytes() - base
    fleet = _fleet_after(columns)
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
        read_rss_bytes=read,
        state_rss_bytes=state,
        state_rss_bytes_per_million=state / requests * 1e6,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _fleet_after(columns: RequestColumns) -> ServingFleet:
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
    heads = ("requests", "prefixes", "base MB", "read MB", "state MB", "MB a million", "peak MB")
    cells = (
        (
            f"{row.requests:,}",
            "with" if row.prefixes else "without",
            f"{row.base_rss_bytes / 1e6:,.0f}",
            f"{row.read_rss_bytes / 1e6:,.0f}",
            f"{row.state_rss_bytes / 1e6:,.0f}",
            f"{row.state_rss_bytes_per_million / 1e6:,.1f}",
            f"{row.peak_rss_bytes / 1e6:,.0f}",
        )
        for row in rows
    )
    return text_table(heads, cells)
