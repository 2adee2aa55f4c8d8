"""Advice for people and programs: a block a model and what to do next, or JSON in the published schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulations.field.advise.output.advice import SCHEMA, Advice
from simulations.field.advise.output.sentences import (
    NAMES,
    breaches_text,
    next_steps,
    quantity_text,
    trust_text,
    verdict_text,
)
from simulations.results.scorecard import Score
from simulations.results.text import percent_text, text_table

WIDTH = 100
"""Of text that goes to a file."""


def write_advice(advices: Sequence[Advice], *, output: str, prometheus: str, file: TextIO) -> None:
    """Print it as text, or as JSON."""
    if output == "json":
        models = [advice.to_json() for advice in advices]
        json.dump({"schema": SCHEMA, "models": models}, file, indent=1)
        file.write("\n")
        return
    console = Console(file=file, width=None if file.isatty() else WIDTH, highlight=False)
    for advice in advices:
        console.print(Text(headline(advice), style="bold"))
        for table in (
            _policies(advice),
            _lines(summary_lines(advice)),
            _compared(advice),
            _lines(evidence_lines(advice)),
        ):
            console.print(table)
            console.print()
    # whole lines, to be copied
    for line in next_steps(advices, prometheus=prometheus):
        console.print(Text(line), soft_wrap=True)


def headline(advice: Advice) -> str:
    """Which model, when, how much."""
    since, until = (datetime.fromtimestamp(at, UTC) for at in (advice.since, advice.until))
    return (
        f"{advice.name}: {advice.requests:,.0f} requests from {since:%Y-%m-%d %H:%M} to "
        f"{until:%Y-%m-%d %H:%M} UTC"
    )


def _policies(advice: Advice) -> Table:
    heads = ("", "cost $", "attained", "TTFT p95", "replicas", "max", "starts", "breached")
    rows = (
        (
            label,
            f"{figures.cost_usd:,.2f}",
            percent_text(figures.attainment),
            "-" if figures.ttft_s.p95 is None else f"{figures.ttft_s.p95:.2f} s",
            f"{figures.replicas_mean:.2f}",
            str(figures.replicas_max),
            f"{figures.starts:.0f}",
            minutes,
        )
        for label, figures, minutes in _rows(advice)
    )
    table = text_table(heads, rows)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    return table


def _rows(advice: Advice) -> Iterator[tuple[str, Score, str]]:
    if advice.now is advice.recorded or advice.now == advice.recorded:
        yield "now: as it was", advice.now, f"{len(advice.breached(0))} min"
    else:
        yield f"now: {advice.now.policy}", advice.now, f"{len(advice.breached(0))} min"
        yield "as it was", advice.recorded, ""
    yield "inference-aware", advice.ours, f"{len(advice.breached(1))} min"


def _compared(advice: Advice) -> Table:
    rows = (
        (
            NAMES[one.name],
            quantity_text(one.recorded, one),
            quantity_text(one.replayed, one),
            "" if one.error is None else f"{100 * one.error:+.1f} %",
        )
        for one in advice.compared
        if one.recorded is not None
    )
    return text_table(("as it was", "recorded", "replayed", "error"), rows)


def _lines(labelled: Iterator[tuple[str, str]]) -> Table:
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column(overflow="fold")
    for label, text in labelled:
        shown.add_row(label, Text(text))
    return shown


def summary_lines(advice: Advice) -> Iterator[tuple[str, str]]:
    """What the table comes to, each line with its label."""
    yield "in short", verdict_text(advice)
    yield "breached", f"now {breaches_text(advice.breached(0), 0)}"
    yield "", f"inference-aware {breaches_text(advice.breached(1), 1)}"
    yield "trust", trust_text(advice)


def evidence_lines(advice: Advice) -> Iterator[tuple[str, str]]:
    """What the figures rest on."""
    price = advice.choice.profile.usd_per_hour
    yield (
        "profile",
        f"{advice.choice.profile.name} at ${price:.2f} an hour: {advice.choice.explanation}",
    )
    yield "start", advice.start.explanation
    yield "owed", f"{advice.objective}, to {100 * advice.attainment_ratio:g} % of requests"
    missing = sum(last - first for first, last in advice.holes_s)
    if missing:
        yield (
            "holes",
            (
                f"{missing / 3600:.2f} h in which Prometheus knew nothing are left out; "
                f"{advice.replayed_hours:.1f} h are replayed"
            ),
        )
    for note in advice.notes:
        yield "note", note
