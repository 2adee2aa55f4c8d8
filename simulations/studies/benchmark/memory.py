"""How much memory a request takes: columns, the kernel's state and results, and the peak of a run.

The requests stream in from a trace's file, line by line, as `autoscaler simulate` reads them. Another
process writes that file: what making them up takes is not counted.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from simulations.replay.run import Run
from simulations.results.scorecard import score
from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import ServingFleet
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import PROFILES
from simulations.studies.benchmark.processes import Row, in_own_process, peak_rss_bytes, serve
from simulations.studies.benchmark.traffic import PROFILE, REQUESTS_PER_S, conversations
from simulations.traces.formats import mooncake_jsonl, plain_csv
from simulations.traces.trace import read_trace
from simulations.world.ledger import Ledger

REPLICAS = 32
CHUNK = 1 << 16


def memory_row(requests: int, *, prefixes: bool) -> Row:
    """Read that many, serve them with a static fleet, and score them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ("conversations.jsonl" if prefixes else "conversations.csv")
        in_own_process(_write, file, requests, prefixes)
        return in_own_process(_serve, file, requests, prefixes)


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
        row = dict(zip(mooncake_jsonl.FIELDS, (at_ns // 1_000_000, prompt, output), strict=True))
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


def _serve(file: Path, requests: int, prefixes: bool) -> Row:  # noqa: FBT001  the same
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
    return {
        "requests": requests,
        "prefixes": prefixes,
        "base_rss_bytes": base,  # the interpreter, its modules, the compiled kernel
        "read_rss_bytes": read,  # the columns, and what the allocator keeps
        "state_rss_bytes": state,  # columns, state and results, all requests served
        "state_rss_bytes_per_million": state / requests * 1e6,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def _fleet_after(columns: RequestColumns) -> ServingFleet:
    fleet = ServingFleet(PROFILES[PROFILE], columns)
    serve(fleet, columns, replicas=REPLICAS)
    return fleet


def _rss_bytes() -> int:
    """What the process holds now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def memory_cells(row: Row) -> dict[str, str]:
    """Of a row, for people, by heading."""
    return {
        "requests": f"{row['requests']:,}",
        "prefixes": "with" if row["prefixes"] else "without",
        "base MB": f"{row['base_rss_bytes'] / 1e6:,.0f}",
        "read MB": f"{row['read_rss_bytes'] / 1e6:,.0f}",
        "state MB": f"{row['state_rss_bytes'] / 1e6:,.0f}",
        "MB a million": f"{row['state_rss_bytes_per_million'] / 1e6:,.1f}",
        "peak MB": f"{row['peak_rss_bytes'] / 1e6:,.0f}",
    }
