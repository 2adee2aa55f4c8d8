"""Rows for people and programs: a table a trace, JSON in the published schema, flat CSV."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from simulations.results.scorecard import SCHEMA, Score
from simulations.results.seeds import policy_label
from simulations.results.summary_table import summary_tables
from simulations.results.text import number_text, percent_text, text_table

OUTPUTS = ("table", "json", "csv")
WIDTH = 160
"""Of a summary that goes to a file."""
UNCUT = 240
"""Of a table at least: a narrower terminal wraps a line, it does not lose columns."""


def write_scores(scores: Sequence[Score], *, output: str, file: TextIO) -> None:
    """Print scores as a table, as JSON in the published schema, or as CSV with flat names."""
    if output == "json":
        rows = [score.to_json() for score in scores]
        json.dump({"schema": SCHEMA, "rows": rows}, file, indent=1)
        file.write("\n")
    elif output == "csv":
        flat = [dict(_flat(score.to_json())) for score in scores]
        names = dict.fromkeys(name for row in flat for name in row)
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    else:
        console = Console(file=file, highlight=False)
        room = console.width if file.isatty() else WIDTH
        console.width = max(UNCUT, console.width)
        for _, group in itertools.groupby(scores, key=lambda score: score.trace):
            of_trace = list(group)
            if len({score.seed for score in of_trace}) > 1:
                for part in summary_tables(of_trace, width=room):
                    console.print(part)
            else:
                console.print(score_table(of_trace))


def _flat(row: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if name == "parameters":
            # each policy has its own: one cell, or every name of every policy were a column
            yield prefix + name, json.dumps(value)
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}_")
        else:
            yield prefix + name, value


def score_table(scores: Sequence[Score]) -> Table:
    """The comparison on one trace, for people; bounds and spot have columns where a score has them."""
    first = scores[0]
    title = f"{first.trace}: {first.requests} requests"
    if first.attainment_unlimited is not None:
        unlimited = percent_text(first.attainment_unlimited)
        title += f"; a fleet without limit would attain {unlimited}"
    rows = [_cells(score) for score in scores]
    heads = list(dict.fromkeys(head for row in rows for head in row))
    return text_table(heads, [[row.get(head, "-") for head in heads] for row in rows], title=title)


def _cells(score: Score) -> dict[str, str]:
    """Of a row, by their headings."""
    cells = {
        "policy": policy_label(score.policy, score.setting or "default"),
        "seed": str(score.seed),
        "cost $": number_text(score.cost_usd),
    }
    if score.bound is not None:
        cells["× bound"] = number_text(score.bound.ratio)
    if score.found is not None:
        cells["× found"] = number_text(score.found.ratio)
    cells |= {
        "GPU h": number_text(score.gpu_hours),
        "attained": percent_text(score.attainment),
        "worst 5 min": percent_text(score.worst_5min_attainment, 1),
        "TTFT p50": number_text(score.ttft_s.p50, ".3f"),
        "p95 s": number_text(score.ttft_s.p95, ".3f"),
        "TPOT p95 s": number_text(score.tpot_s.p95, ".3f"),
        "replicas": number_text(score.replicas_mean),
        "max": str(score.replicas_max),
        "starts": str(score.starts),
        "flaps": str(score.flaps),
        "aborted": str(score.aborted),
        "lost": str(score.lost),
    }
    if score.spot is not None:
        cells["interrupted"] = str(score.spot.interruptions)
        cells["fallback h"] = number_text(score.spot.fallback_hours)
    return cells
