"""Rows for people and programs: a table a trace, JSON in the published schema, flat CSV."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from simulations.results.scorecard import SCHEMA, Row
from simulations.results.seeds import called
from simulations.results.summary_table import summary_tables

OUTPUTS = ("table", "json", "csv")
WIDTH = 160
"""Of a summary that goes to a file."""
UNCUT = 240
"""Of a table at least: a narrower terminal wraps a line, it does not lose columns."""


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
        console = Console(file=file, highlight=False)
        room = console.width
        console.width = max(UNCUT, room)
        for _, group in itertools.groupby(rows, key=lambda row: row.trace):
            of_trace = list(group)
            if len({row.seed for row in of_trace}) > 1:
                width = room if file.isatty() else WIDTH
                for part in summary_tables(of_trace, width=width):
                    console.print(part)
            else:
                console.print(table(of_trace))


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
    """The comparison on one trace, for people; bounds and spot have columns where a row has them."""
    first = rows[0]
    title = f"{first.trace}: {first.requests} requests"
    if first.attainment_unlimited is not None:
        title += f"; a fleet without limit would attain {100 * first.attainment_unlimited:.2f} %"
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    lines = [_line(row) for row in rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    shown.add_column(names[0], no_wrap=True)
    for name in names[1:]:
        shown.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        shown.add_row(*(line.get(name, "-") for name in names))
    return shown


def _line(row: Row) -> dict[str, str]:
    """The cells of a row, by their headings."""
    line = {
        "policy": called(row.policy, row.setting or "default"),
        "seed": str(row.seed),
        "cost $": f"{row.cost_usd:.2f}",
    }
    if row.bound is not None:
        line["× bound"] = "-" if row.bound.ratio is None else f"{row.bound.ratio:.2f}"
    line |= {
        "GPU h": f"{row.gpu_hours:.2f}",
        "attained": f"{100 * row.attainment:.2f} %",
        "worst 5 min": _share(row.worst_5min_attainment),
        "TTFT p50": _seconds(row.ttft_s.p50),
        "p95 s": _seconds(row.ttft_s.p95),
        "TPOT p95 s": _seconds(row.tpot_s.p95),
        "replicas": f"{row.replicas_mean:.2f}",
        "max": str(row.replicas_max),
        "starts": str(row.starts),
        "flaps": str(row.flaps),
        "aborted": str(row.aborted),
        "lost": str(row.lost),
    }
    if row.spot is not None:
        line["interrupted"] = str(row.spot.interruptions)
        line["fallback h"] = f"{row.spot.fallback_hours:.2f}"
    return line


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
