"""The report of an advice: the comparison's page, with what it rests on over each table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from simulations.field.advise.advice import JUDGED, Advice
from simulations.field.advise.figures import PolicyFigures
from simulations.field.advise.sentences import comparison
from simulations.field.advise.tables import headline, rests_on, summary_lines
from simulations.results.report.page import render
from simulations.results.report.write import write_page
from simulations.results.seeds import SeedAverage

COLUMNS = {
    "cost_usd": "cost, USD",
    "attained": "attained, %",
    "breached": "breached, min",
    "ttft_p95_s": "TTFT p95, s",
    "tpot_p95_s": "TPOT p95, s",
    "gpu_hours": "GPU h",
    "replicas_mean": "replicas",
    "starts": "starts",
    "aborted": "aborted",
    "lost": "lost",
}


FORMS = {
    "cost_usd": ",.2f",
    "attained": ".2f",
    "breached": ".0f",
    "gpu_hours": ",.1f",
    "replicas_mean": ".2f",
    "starts": ",.0f",
    "aborted": ",.0f",
    "lost": ",.0f",
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
        forms=FORMS,
        notes={
            advice.name: [
                headline(advice),
                *_told(summary_lines(advice)),
                "As it was, replayed: "
                + "; ".join(
                    comparison(c)
                    for c in advice.compared
                    if c.name in SHOWN and c.recorded is not None
                ),
                *_told(rests_on(advice)),
            ]
            for advice in advices
        },
    )
    write_page(path, page)


def _told(told: Iterator[tuple[str, str]]) -> list[str]:
    return [f"{label}: {text}" if label else text for label, text in told]


def _entries(advice: Advice) -> Iterator[SeedAverage]:
    timelines = dict(advice.timelines)
    policies = {advice.now.policy: (advice.now, 0), advice.recorded.policy: (advice.recorded, None)}
    if advice.now.policy == advice.recorded.policy:
        policies = {advice.now.policy: (advice.now, 0)}
    policies[advice.ours.policy] = (advice.ours, 1)
    for name, (figures, which) in policies.items():
        table = _figures(figures)
        table["breached"] = None if which is None else float(len(advice.breached(which)))
        yield SeedAverage(
            trace=advice.name,
            policy=name,
            setting="default",
            mean=table,
            worst=table,
            timeline=timelines.get(name),
        )


def _figures(figures: PolicyFigures) -> dict[str, float | None]:
    return {
        "cost_usd": figures.cost_usd,
        "attainment": figures.attainment,
        "attained": 100 * figures.attainment,
        "ttft_p95_s": figures.ttft_s.p95,
        "tpot_p95_s": figures.tpot_s.p95,
        "gpu_hours": figures.gpu_hours,
        "replicas_mean": figures.replicas_mean,
        "starts": figures.starts,
        "aborted": figures.aborted,
        "lost": figures.lost,
    }
