"""What a whole replay costs, from reading the trace to the scored row, in a process that just began."""

from __future__ import annotations

import itertools
import time

from simulations.replay.conditions import (
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
)
from simulations.replay.replay import run
from simulations.results.scorecard import score
from simulations.studies.benchmark.processes import Row, peak_rss_bytes
from simulations.studies.benchmark.traffic import PROFILE
from simulations.traces.trace import read_trace

TICK_S = 5.0
"""Of the engine."""


def trace_row(spec: str, policy: str, scale: float) -> Row:
    """Replay one trace under one policy; CPU seconds of its process."""
    conditions = conditions_of(ConditionsRequest(profile=PROFILE, scale=scale))
    marks = [time.process_time()]
    trace = read_trace(spec)
    marks.append(time.process_time())
    conditions = with_maximum(load_tested(conditions, trace), trace)
    marks.append(time.process_time())
    finished = run(trace, policy, seed=0, conditions=conditions)
    marks.append(time.process_time())
    row = score(finished)
    marks.append(time.process_time())
    read_s, prepare_s, run_s, score_s = (b - a for a, b in itertools.pairwise(marks))
    seconds = finished.end_ns / 1e9
    return {
        "trace": row.trace,
        "policy": policy,
        "scale": scale,
        "requests": row.requests,
        "days": seconds / 86_400,
        "start_s": marks[0],  # the interpreter, its modules and the compiled kernel
        "read_s": read_s,
        "prepare_s": prepare_s,  # the load test, and the copies laid over each other
        "run_s": run_s,
        "score_s": score_s,
        "cpu_s": marks[-1],
        "us_per_tick": run_s / max(1.0, seconds / TICK_S) * 1e6,  # requests included
        "peak_rss_bytes": peak_rss_bytes(),
    }


def trace_cells(row: Row) -> dict[str, str]:
    """Of a row, for people, by heading."""
    return {
        "trace": row["trace"],
        "policy": row["policy"],
        "scale": f"{row['scale']:g}",
        "requests": f"{row['requests']:,}",
        "days": f"{row['days']:.2f}",
        "CPU s": f"{row['cpu_s']:.1f}",
        "of it run": f"{row['run_s']:.1f}",
        "us/tick": f"{row['us_per_tick']:,.0f}",
        "MB": f"{row['peak_rss_bytes'] / 1e6:,.0f}",
    }
