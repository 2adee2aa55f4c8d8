"""Rows for people and programs: a table a trace, JSON in the published schema, flat CSV."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from simulations.scorecard import SCHEMA, Row

OUTPUTS = ("table", "json", "csv")
WIDTH = 150
"""Of a table that goes to a file."""


def write_rows(rows: Sequence[Row], *, output: str, file: TextIO) -> None:
    """Print rows as a table, as JSON in the published schema, or as CSV with flat names."""
    if output == "json":
        json.dump({"schema": SCHEMA, "rows": [row.to_json() for row in rows]}, file, indent=1)
        file.write("\n")
    elif output == "csv":
        flat = [dict(_flat(row.to_json())) for row in rows]
        names = dict.fromkeys(name for row in flat for name in row)
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    else:
        console = Console(file=file, width=None if file.isatty() else WIDTH, highlight=False)
        for _, of_trace in itertools.groupby(rows, key=lambda row: row.trace):
            console.print(table(list(of_trace)))


def _flat(row: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if name == "parameters":
            # each policy has its own: one cell, or every name of every policy were a column
            yield prefix + name, json.dumps(value)
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}_")
        else:
            yield prefix + name, value


def table(rows: Sequence[Row]) -> Table:
    """The comparison on one trace, for people."""
    first = rows[0]
    title = f"{first.trace}: {first.requests} requests"
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
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
        shown.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            row.policy if row.setting != "best" else f"{row.policy} (best)",
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
