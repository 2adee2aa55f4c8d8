"""The report of an advice: the comparison's page, with what it rests on over each table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from simulations.field.advise.output.advice import JUDGED, Advice
from simulations.field.advise.output.sentences import comparison_text
from simulations.field.advise.output.tables import evidence_lines, headline, summary_lines
from simulations.results.report.page import render
from simulations.results.report.write import write_page
from simulations.results.seeds import SeedAverage, seed_averages

COLUMNS = {
    "cost_usd": ("cost, USD", ",.2f"),
    "attained": ("attained, %", ".2f"),
    "breached": ("breached, min", ".0f"),
    "ttft_p95_s": ("TTFT p95, s", ".4g"),
    "tpot_p95_s": ("TPOT p95, s", ".4g"),
    "gpu_hours": ("GPU h", ",.1f"),
    "replicas_mean": ("replicas", ".2f"),
    "starts": ("starts", ",.0f"),
    "aborted": ("aborted", ",.0f"),
    "lost": ("lost", ",.0f"),
}
SHOWN = (*JUDGED, "running_mean", "waiting_mean", "replicas_mean")
"""Quantities that are compared on the page; the command's output has all."""


def write_advice_page(path: Path, advices: Sequence[Advice]) -> None:
    """Write the page.

    Raises:
        SettingsError: The file cannot be written, or plotly is not installed.
    """
    page = render(
        title="What inference-aware would have done",
        subtitle="Replays of what a Prometheus recorded; how far they are from the record is beside them.",
        entries=[entry for advice in advices for entry in _entries(advice)],
        columns=COLUMNS,
        notes={
            advice.name: [
                headline(advice),
                *_paragraphs(summary_lines(advice)),
                "As it was, replayed: "
                + "; ".join(
                    comparison_text(c)
                    for c in advice.compared
                    if c.name in SHOWN and c.recorded is not None
                ),
                *_paragraphs(evidence_lines(advice)),
            ]
            for advice in advices
        },
    )
    write_page(path, page)


def _paragraphs(lines: Iterator[tuple[str, str]]) -> list[str]:
    return [f"{label}: {text}" if label else text for label, text in lines]


def _entries(advice: Advice) -> Iterator[SeedAverage]:
    breached = {advice.recorded.policy: None, advice.now.policy: 0, advice.ours.policy: 1}
    scores = {score.policy: score for score in (advice.now, advice.recorded, advice.ours)}
    for (name, score), average in zip(
        scores.items(), seed_averages(list(scores.values())), strict=True
    ):
        which = breached[name]
        figures = {
            **average.mean,
            "attained": 100 * score.attainment,
            "starts": float(score.starts),
            "breached": None if which is None else float(len(advice.breached(which))),
        }
        yield replace(average, trace=advice.name, mean=figures, worst=figures)
