"""Many seeds in one line a policy: mean and worst, in tables that fit their terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from simulations.bounds.figures import BoundFigures
from simulations.peers.rules.lookahead import NAME as LOOKAHEAD
from simulations.results.scorecard import Quantiles
from simulations.results.seeds import seed_averages
from simulations.results.summary_table import summary_tables
from tests.simulations.runs.test_sweep import row


def seeds(policy="hpa", setting="default"):
    plain = replace(
        row(cost=2.0, attained=0.99),
        policy=policy,
        setting=setting,
        attainment_unlimited=0.995,
        ttft_s=Quantiles(p50=0.2, p95=0.5, p99=1.0),
        bound=BoundFigures(cost_usd=1.0, ratio=2.0, relaxed_ratio=2.1),
    )
    return [replace(plain, seed=0), replace(plain, seed=1, cost_usd=4.0, attainment=0.9)]


def printed(rows, width):
    file = io.StringIO()
    console = Console(file=file, width=width)
    for table in summary_tables(rows, width=width):
        console.print(table)
    return file.getvalue().splitlines()


def test_mean_and_worst_are_each_figures_own():
    (line,) = seed_averages(seeds())
    assert line.mean["cost_usd"] == 3.0
    assert line.worst["cost_usd"] == 4.0, "more is worse"
    assert line.mean["attainment"] == pytest.approx(0.945)
    assert line.worst["attainment"] == 0.9, "less is worse"
    assert line.worst["attainment_relative"] == pytest.approx(0.9 / 0.995)
    assert line.mean["interruptions"] is None, "there was no market"


def test_settings_and_references_have_lines_of_their_own():
    names = [
        line.name for line in seed_averages(seeds() + seeds(setting="best") + seeds(LOOKAHEAD))
    ]
    assert names == ["hpa", "hpa (best)", "lookahead (reference)"]


@pytest.mark.parametrize("width", [80, 120, 160])
def test_nothing_is_cut_and_no_line_is_longer_than_the_terminal(width):
    lines = printed(seeds() + seeds("knative-kpa", "best"), width)
    assert max(len(line) for line in lines) <= width
    assert "mean of 2 seeds" in lines[0]
    text = "\n".join(lines)
    for title in ("cost $", "attained", "× bound", "of possible", "TTFT p99 s", "flaps", "lost"):
        assert title in text
    assert "…" not in text
    heads = [line for line in lines if line.startswith("policy")]
    assert "cost $" in heads[0], "the headline comes first"
    assert sum(line.startswith("knative-kpa (best)") for line in lines) == len(heads)


def test_a_worst_that_is_the_mean_takes_no_column():
    one, other = seeds()
    heads = printed([one, replace(one, seed=1)], 160)
    assert not any("worst  " in line for line in heads if line.startswith("policy"))
    assert any("worst  " in line for line in printed([one, other], 160))
