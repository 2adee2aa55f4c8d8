"""`autoscaler simulate`: traces through policies, in order; progress on stderr, results on stdout."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from autoscaler.core.spec import Objective
from autoscaler.errors import SettingsError
from simulations.baselines.registry import BASELINES
from simulations.coldstart import cold_start as parse_cold_start
from simulations.offered import peak_replicas
from simulations.replay import ENGINE_POLICIES, Conditions, run
from simulations.scorecard import SCHEMA, Row, score
from simulations.serving.profiles import PROFILES, Profile
from simulations.spot import read_spot
from simulations.traces.overlay import scaled
from simulations.traces.reading import Trace, read_trace

ALL = "all"
OUTPUTS = ("table", "json", "csv")
REPLICAS_MAX = 10
"""As in the resource, unless the trace's peak needs more."""


def run_simulate(
    *,
    traces: Sequence[str],
    policies: Sequence[str] = (ENGINE_POLICIES[0],),
    profile: str = "llama-3.1-8b/1xL40S",
    cold_start: str = "standard",
    scale: float = 1.0,
    objective: str = "ttft=2,tpot=0.1",
    max_replicas: int | None = None,
    seeds: int = 1,
    spot: str | None = None,
    spot_lead: float = 120.0,
    output: str = "table",
) -> int:
    """Replay every trace under every policy with every seed, and print one row each.

    Args:
        traces: Paths, or `generate:…`.
        policies: Names; `all` is `inference-aware` and the baselines.
        profile: A name in PROFILES.
        cold_start: A name in COLD_STARTS, or seconds.
        scale: Copies of the trace laid over each other; below 1 it is thinned.
        objective: `ttft=SECONDS,tpot=SECONDS`.
        max_replicas: Bound of every policy; None: 10, or twice what the busiest minute needs.
        seeds: Runs with the seeds 0 to this less one.
        spot: A recording of a spot market; None: all nodes are on demand.
        spot_lead: Seconds from a notice to the loss; 0: none.
        output: `table`, `json` or `csv`.

    Returns:
        The exit status, 0.

    Raises:
        AutoscalerError: A trace, or what was asked for, cannot be worked with.
    """
    if output not in OUTPUTS:
        raise SettingsError(f"-o {output!r}: write one of {', '.join(OUTPUTS)}")
    names = expanded(policies)
    conditions = Conditions(
        profile=_profile(profile),
        cold_start=parse_cold_start(cold_start),
        scale=_scale(scale),
        objective=parse_objective(objective),
        spot=None if spot is None else read_spot(Path(spot)),
        spot_lead_s=_lead(spot_lead),
    )
    if seeds < 1:
        raise SettingsError(f"--seeds {seeds}: write 1 or more")
    if max_replicas is not None and max_replicas < 1:
        raise SettingsError(f"--max-replicas {max_replicas}: write 1 or more")
    loaded = [read_trace(spec) for spec in traces]
    rows: list[Row] = []
    with _reporting(sys.stderr, runs=len(loaded) * len(names) * seeds) as reporter:
        for trace in loaded:
            bounded = replace(
                conditions, replicas_max=max_replicas or default_max(trace, conditions)
            )
            for name in names:
                for seed in range(seeds):
                    reporter.begin(f"{trace.name}  {name}  seed {seed}")
                    done = run(trace, name, seed=seed, conditions=bounded, progress=reporter.share)
                    rows.append(score(done))
                    reporter.end(rows[-1])
    write_rows(rows, output=output, file=sys.stdout)
    return 0


def expanded(policies: Sequence[str]) -> tuple[str, ...]:
    """The policies meant, each once, in order; raises SettingsError."""
    names: dict[str, None] = {}
    for name in policies or (ENGINE_POLICIES[0],):
        if name == ALL:
            names |= dict.fromkeys((ENGINE_POLICIES[0], *BASELINES))
        elif name in ENGINE_POLICIES or name in BASELINES:
            names[name] = None
        else:
            known = ", ".join((*ENGINE_POLICIES, *BASELINES, ALL))
            raise SettingsError(f"--policy {name!r}: no such policy; write one of {known}")
    return tuple(names)


def parse_objective(text: str) -> Objective:
    """Read `ttft=2,tpot=0.1`; raises SettingsError."""
    fields: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if name not in ("ttft", "tpot") or not 0 < seconds < math.inf or name in fields:
            raise SettingsError(
                f"--objective {text!r}: {part.strip()!r} is none; write seconds as ttft=2,tpot=0.1"
            )
        fields[name] = seconds
    default = Objective()
    return Objective(
        ttft_s=fields.get("ttft", default.ttft_s), tpot_s=fields.get("tpot", default.tpot_s)
    )


def default_max(trace: Trace, conditions: Conditions) -> int:
    """A bound that lets every policy breathe: 10, or twice what the busiest minute needs."""
    requests = scaled(trace.requests, scale=conditions.scale, seed=0)
    return max(REPLICAS_MAX, 2 * peak_replicas(requests, conditions.profile))


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise SettingsError(
            f"--profile {name!r}: no such profile; write one of {', '.join(PROFILES)}"
        )
    return PROFILES[name]


def _scale(scale: float) -> float:
    if not 0 < scale <= 10_000:
        raise SettingsError(f"--scale {scale}: write a number above 0, at most 10000")
    return scale


def _lead(seconds: float) -> float:
    if not 0 <= seconds <= 3600:
        raise SettingsError(f"--spot-lead {seconds}: write seconds from 0 to 3600")
    return seconds


def write_rows(rows: Sequence[Row], *, output: str, file: TextIO) -> None:
    """Print rows as a table, as JSON in the published schema, or as CSV with flat names."""
    if output == "json":
        json.dump({"schema": SCHEMA, "rows": [row.to_json() for row in rows]}, file, indent=1)
        file.write("\n")
    elif output == "csv":
        writer = csv.writer(file, lineterminator="\n")
        for number, row in enumerate(rows):
            flat = dict(_flat(row.to_json()))
            if number == 0:
                writer.writerow(flat)
            writer.writerow("" if value is None else value for value in flat.values())
    else:
        Console(file=file, width=None if file.isatty() else 160).print(table(rows))


def _flat(row: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}_")
        else:
            yield prefix + name, value


def table(rows: Sequence[Row]) -> Table:
    """The comparison, for people."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("trace", no_wrap=True)
    shown.add_column("policy", no_wrap=True)
    for name in (
        "seed",
        "cost $",
        "GPU h",
        "attained",
        "worst 5 min",
        "TTFT p50",
        "p95 s",
        "TPOT p95 s",
        "replicas",
        "max",
        "starts",
        "flaps",
        "aborted",
        "lost",
    ):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            row.trace,
            row.policy,
            str(row.seed),
            f"{row.cost_usd:.2f}",
            f"{row.gpu_hours:.2f}",
            f"{100 * row.attainment:.2f} %",
            _share(row.worst_5min_attainment),
            _seconds(row.ttft_s.p50),
            _seconds(row.ttft_s.p95),
            _seconds(row.tpot_s.p95),
            f"{row.replicas_mean:.2f}",
            str(row.replicas_max),
            str(row.starts),
            str(row.flaps),
            str(row.aborted),
            str(row.lost),
        )
    return shown


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


class _Reporter(Protocol):
    """Tells how far the runs are."""

    def begin(self, what: str) -> None:
        """A run begins."""

    def share(self, done: float) -> None:
        """The present run is so far, 0 to 1."""

    def end(self, row: Row) -> None:
        """It came to this."""


class _PlainReporter:
    """One line a run, for logs."""

    def __init__(self, file: TextIO, *, runs: int) -> None:
        self._file = file
        self._runs = runs
        self._number = 0
        self._what = ""

    def begin(self, what: str) -> None:
        self._number += 1
        self._what = what

    def share(self, done: float) -> None:
        """Nothing: lines cannot be taken back."""

    def end(self, row: Row) -> None:
        print(
            f"{self._number}/{self._runs}  {self._what}: ${row.cost_usd:.2f}, "
            f"{100 * row.attainment:.2f} % attained, {row.wall_s:.1f} s",
            file=self._file,
            flush=True,
        )


class _BarReporter:
    """One bar over all runs, for a terminal."""

    def __init__(self, bar: Progress, *, runs: int) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=float(runs))
        self._done = 0

    def begin(self, what: str) -> None:
        self._bar.update(self._task, description=what)

    def share(self, done: float) -> None:
        self._bar.update(self._task, completed=self._done + done)

    def end(self, row: Row) -> None:
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        self._bar.console.print(
            f"{row.trace}  {row.policy}  seed {row.seed}: ${row.cost_usd:.2f}, "
            f"{100 * row.attainment:.2f} % attained",
            highlight=False,
        )


@contextmanager
def _reporting(file: TextIO, *, runs: int) -> Iterator[_Reporter]:
    if not file.isatty():
        yield _PlainReporter(file, runs=runs)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=file),
        transient=True,
    )
    with bar:
        yield _BarReporter(bar, runs=runs)
