"""The page: what it counts, what it says where we lose, and that the same rows give the same text."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from simulations.results.scorecard import Score, SpotFigures
from simulations.studies.scoreboard.entry_runs import FinishedEntry
from simulations.studies.scoreboard.page import EntryScores, scoreboard_page
from simulations.studies.scoreboard.sizes import Size, SizedEntry
from simulations.studies.scoreboard.standings import OURS
from tests.simulations.studies.scoreboard.rows import ENTRY, row
from tests.simulations.studies.scoreboard.test_cache import setting_of

SIZE = Size(
    in_flight_target=30,
    replicas_max=10,
    requests=1000,
    span_s=86_400.0,
    peak_replicas=8,
    mean_replicas=2.5,
)
ROWS = [
    row(OURS, cost=10.0),
    row("static-peak", cost=20.0),
    row("hpa", cost=9.0, attained=0.98),
    row("hpa", cost=8.0, attained=0.995, setting="best", parameters={"target_share": 0.6}),
]


def made(folder: Path, rows: Sequence[Score], *, text: str = ENTRY, seconds: float = 60.0) -> str:
    sized = SizedEntry(setting=setting_of(folder, text), size=SIZE)
    finished = FinishedEntry(scores=list(rows), seconds=seconds)
    return scoreboard_page(
        [EntryScores(sized=sized, finished=finished)], objective="ttft=1", processors=2
    )


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]


def test_the_summary_counts_what_the_standings_say(tmp_path: Path):
    summary = section(made(tmp_path, ROWS), "Summary")
    assert (
        "the best peer as shipped: of 1 entries 1 won, 0 tied, 0 lost. The best peer is `static-peak` on 1"
        in summary
    )
    assert "the best peer in hindsight: of 1 entries 0 won, 0 tied, 1 lost" in summary
    assert "| [waves](#waves) | 8 | $10.00 | 100.00 % | 2.00 | static-peak: $20.00, 100.00 % |" in (
        summary
    )
    assert "**won**: it costs +100.0 %, attains +0.00 points" in summary
    assert "**lost**: it costs -20.0 %, attains -0.50 points" in summary


def test_each_peer_is_counted(tmp_path: Path):
    lines = section(made(tmp_path, ROWS), "Against each peer").splitlines()
    assert "| static-peak | 1 | 0 | 0 | 1 | 0 | 0 |" in lines
    assert "| hpa | 1 | 0 | 0 | 0 | 0 | 1 |" in lines
    assert "| keda | 0 | 0 | 0 | 0 | 0 | 0 |" in lines


def test_a_loss_is_told_with_what_the_peer_did_otherwise(tmp_path: Path):
    losses = section(made(tmp_path, ROWS), "Where we lose")
    assert losses.count("- **waves**") == 1
    assert "to `hpa` (target_share=0.6): $8.00 at 99.50 % against our $10.00 at 100.00 %" in losses
    assert "20.0 % less" in losses
    assert "4.00 replicas on average to our 5.00" in losses
    alone = [ROWS[0], ROWS[1]]
    assert "To none of the best peers" in section(made(tmp_path, alone), "Where we lose")


def test_the_entrys_table_has_a_row_for_each_policy_and_setting(tmp_path: Path):
    text = section(made(tmp_path, ROWS, text=ENTRY + 'remark = "Seen."\n'), "waves")
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert {len(cells) for cells in table} == {len(table[0])}
    assert [cells[0].strip("| ") for cells in table[2:]] == [OURS, "static-peak", "hpa", "hpa"]
    assert [cells[1] for cells in table[4:]] == ["default", "best: target_share=0.6"]
    assert [cells[2] for cells in table[2:]] == ["yes", "yes", "no", "yes"]
    assert "interruptions" not in text
    assert "Bursts." in text
    assert text.rstrip().endswith("Seen.")


def test_spot_has_columns_of_its_own(tmp_path: Path):
    spot = SpotFigures(interruptions=3, lost_within_notice=1, fallback_hours=2.5)
    text = made(tmp_path, [replace(line, spot=spot) for line in ROWS])
    assert "| interruptions | lost in notice | fallback h |" in text
    assert text.count("| 3.0 | 1.0 | 2.5 |") == len(ROWS)


def test_the_same_rows_give_the_same_text_but_for_the_time(tmp_path: Path):
    first = made(tmp_path, ROWS, seconds=60.0)
    second = made(tmp_path, [replace(line, wall_s=9.0) for line in ROWS], seconds=600.0)
    differing = [
        (a, b) for a, b in zip(first.splitlines(), second.splitlines(), strict=True) if a != b
    ]
    assert differing == [
        ("Time in these runs: 1 processor-minutes.", "Time in these runs: 10 processor-minutes.")
    ]


@pytest.mark.parametrize("unwanted", [r"\bnan\b", r"\bNone\b", r"-0\.00 ", r"\d{4}-\d\d-\d\d"])
def test_the_page_has_no_figures_that_are_none(tmp_path: Path, unwanted: str):
    rows = [row(line.policy, cost=line.cost_usd, ratio=None) for line in ROWS[:2]]
    assert not re.search(unwanted, made(tmp_path, rows))
