"""What a whole replay costs, from reading the trace to the scored row, in a process that just began."""

from __future__ import annotations

import itertools
import resource
import time
from dataclasses import dataclass

from rich.table import Table

from simulations.replay.conditions import (
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
)
from simulations.replay.replay import run
from simulations.results.scorecard import score
from simulations.results.text import text_table
from simulations.studies.benchmark.traffic import PROFILE
from simulations.traces.trace import read_trace

TICK_S = 5.0
"""Of the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """One replay; CPU seconds of its process."""

    trace: str
    policy: str
    scale: float
    requests: int
    days: float
    start_s: float
    """The interpreter, its modules and the compiled kernel."""
    read_s: float
    prepare_s: float
    """The load test, and the copies laid over each other."""
    run_s: float
    score_s: float
    cpu_s: float
    """All of it."""
    us_per_tick: float
    """Of the run, over ticks of five seconds, requests included."""
    peak_rss_bytes: int


def trace_row(spec: str, policy: str, scale: float) -> TraceRow:
    """Replay one trace under one policy."""
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
    return TraceRow(
        trace=row.trace,
        policy=policy,
        scale=scale,
        requests=row.requests,
        days=seconds / 86_400,
        start_s=marks[0],
        read_s=read_s,
        prepare_s=prepare_s,
        run_s=run_s,
        score_s=score_s,
        cpu_s=marks[-1],
        us_per_tick=run_s / max(1.0, seconds / TICK_S) * 1e6,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def trace_table(rows: list[TraceRow]) -> Table:
    """For people."""
    heads = ("trace", "policy", "scale", "requests", "days", "CPU s", "of it run", "us/tick", "MB")
    cells = (
        (
            row.trace,
            row.policy,
            f"{row.scale:g}",
            f"{row.requests:,}",
            f"{row.days:.2f}",
            f"{row.cpu_s:.1f}",
            f"{row.run_s:.1f}",
            f"{row.us_per_tick:,.0f}",
            f"{row.peak_rss_bytes / 1e6:,.0f}",
        )
        for row in rows
    )
    return text_table(heads, cells)
