"""The page and its tables: what they count, what they say where we lose, and that they are the rows' own."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from simulations.results.scorecard import Score, SpotFigures
from simulations.studies.scoreboard.entries import read_board
from simulations.studies.scoreboard.entry_runs import FinishedEntry, TriedSetting
from simulations.studies.scoreboard.page import scoreboard_page
from simulations.studies.scoreboard.rows import (
    EntryRows,
    MadeBy,
    entry_rows,
    read_rows,
    without_time,
    write_rows,
)
from simulations.studies.scoreboard.sizes import Size, SizedEntry
from simulations.studies.scoreboard.standings import OURS
from simulations.studies.scoreboard.tables_page import scoreboard_tables
from tests.simulations.studies.scoreboard.rows import ENTRY, row
from tests.simulations.studies.scoreboard.test_cache import setting_of

SIZE = Size(
    tested_target=30,
    replicas_max=10,
    requests=1000,
    span_s=86_400.0,
    score_from_s=0.0,
    peak_replicas=8,
    mean_replicas=2.5,
)
ROWS = [
    row(OURS, cost=10.0),
    row("static-peak", cost=20.0),
    row("hpa", cost=9.0, attained=0.98),
    row("hpa", cost=8.0, attained=0.995, setting="best", parameters={"target_share": 0.6}),
    row("keda", cost=30.0, attained=0.5),
]
MADE = MadeBy(revision="abc", commits=7, sources="d", versions="Python 3")


def tried(*settings: tuple[str, float, float]) -> list[TriedSetting]:
    return [
        TriedSetting(policy=policy, parameters={}, cost_usd=cost, attainment=attained)
        for policy, cost, attained in settings
    ]


def made(
    folder: Path,
    rows: Sequence[Score] = ROWS,
    *,
    text: str = ENTRY,
    of: MadeBy = MADE,
    **changes: object,
) -> EntryRows:
    sized = SizedEntry(setting=setting_of(folder, text), size=SIZE)
    given = {"tried": [], "edges": [], "runs": 3, "seconds": 60.0} | changes
    finished = FinishedEntry(scores=list(rows), **given)
    return entry_rows(sized, finished, made=of)


def page(folder: Path, *rows: EntryRows) -> str:
    return scoreboard_page(read_board(folder / "board.toml"), rows)


def tables(folder: Path, *rows: EntryRows) -> str:
    return scoreboard_tables(read_board(folder / "board.toml"), rows)


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]


def test_the_summary_counts_what_the_standings_say(tmp_path: Path):
    text = page(tmp_path, made(tmp_path))
    short = section(text, "In short")
    assert "Of 1 entry begun cold, `inference-aware` attains its objective on 1." in short
    assert "as shipped (of those that do not know the load beforehand): 1 won, 0 tied, 0 lost" in (
        short
    )
    assert (
        "in hindsight (of those that do not know the load beforehand): 0 won, 0 tied, 1 lost"
        in (short)
    )
    (line,) = [line for line in text.splitlines() if line.startswith("| [waves]")]
    assert line == (
        "| [waves](SCOREBOARD-tables.md#waves) | scoring | 8 | $10.00 | 100.00 % | - | hpa: $9.00, 98.00 % | "
        "**won** | hpa (best): $8.00, 99.50 % | **lost** | `abc` |"
    )


def test_entries_for_tuning_and_for_scoring_and_cold_and_warm_are_told_apart(tmp_path: Path):
    other = ENTRY.partition("\n\n")[2].replace('"waves"', '"again"')
    text = ENTRY + other.replace('"scoring"', '"tuning"') + 'score_from = "1m"\n'
    rows = made(tmp_path)
    again = msgspec.structs.replace(rows, name="again")
    (tmp_path / "board.toml").write_text(text)
    short = section(page(tmp_path, rows, again), "In short")
    scoring, tuning = short.split("**Entries for tuning**")
    assert "Of 1 entry begun cold" in scoring
    assert "Of 1 entry begun warm" in tuning


def test_cost_at_equal_attainment_is_held_against_the_hull_of_all_settings(tmp_path: Path):
    rows = made(
        tmp_path,
        tried=tried(
            (OURS, 10.0, 0.95),
            ("hpa", 4.0, 0.9),
            ("hpa", 12.0, 1.0),
            ("hpa", 11.0, 0.95),
            ("keda", 5.0, 0.94),
            ("static-peak", 20.0, 0.95),
        ),
    )
    assert rows.at_equal_attainment() == {
        "hpa": pytest.approx(10 / 8),
        "keda": None,
        "static-peak": 0.5,
    }
    table = section(tables(tmp_path, rows), "Cost at equal attainment")
    assert "| entry | static-peak | hpa | keda |" in table
    assert "| waves | 0.50 | 1.25 | more |" in table
    assert "1.25 times the cost of the cheapest peer's cheapest settings in the median" in page(
        tmp_path, rows
    )


def test_more_than_any_setting_attains_is_said_and_not_extrapolated(tmp_path: Path):
    rows = made(tmp_path, tried=tried((OURS, 10.0, 0.95), ("keda", 5.0, 0.94)))
    assert "on 1 it attains more than any setting of any peer" in page(tmp_path, rows)


def test_what_is_wrong_with_the_board_stands_on_it(tmp_path: Path):
    wrong = made(tmp_path, edges=["waves: the best of hpa is at the highest x"], unsound=["beaten"])
    found = section(page(tmp_path, wrong), "What is wrong with this board")
    assert "- waves: the best of hpa is at the highest x" in found
    assert "- beaten" in found
    assert "What is wrong" not in page(tmp_path, made(tmp_path))


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (4, 4), (5, 4), (80, 4)])
def test_of_many_errors_of_one_entry_the_first_are_shown_and_the_rest_are_counted(
    tmp_path, count, lines
):
    wrong = made(tmp_path, unsound=[f"waves, hpa, seed {n}: beaten" for n in range(count)])
    found = section(page(tmp_path, wrong), "What is wrong with this board")
    assert found.count("\n- ") == lines
    assert (f"waves: {count - 3} more like these" in found) is (count > 4)


def test_rows_of_another_revision_or_another_entry_are_named(tmp_path: Path):
    text = ENTRY + ENTRY.partition("\n\n")[2].replace('"waves"', '"again"')
    rows = made(tmp_path)
    older = msgspec.structs.replace(rows, name="again", made=MadeBy(revision="old", note="Noted."))
    (tmp_path / "board.toml").write_text(
        text
        + text.partition("\n\n")[2]
        .replace('"waves"', '"b"')
        .partition('[[entry]]\nname = "again"')[0]
    )
    found = section(page(tmp_path, rows, older), "What made these figures")
    assert "- `abc`: waves." in found
    assert "- `old`, not run anew since: again. Noted." in found
    assert "- Made when the entry asked for something else than today: again." in found
    assert "- Not run yet: b." in found


def test_wrong_targets_have_a_table_of_their_own(tmp_path: Path):
    told = ENTRY + '\n[[wrong_targets]]\nof = "waves"\ntargets = ["x4"]\n'
    rows = made(tmp_path)
    wrong = msgspec.structs.replace(rows, name="waves.told-x4", told_target=120.0)
    (tmp_path / "board.toml").write_text(told)
    text = page(tmp_path, rows, wrong)
    assert "Of 1 entry begun cold" in text, "a wrong target is no entry of the standings"
    table = section(text, "A target that no load test found")
    assert "| waves | x4 | 120 | 100.0 %, $10.00 |" in table


def test_each_peer_is_counted(tmp_path: Path):
    lines = section(tables(tmp_path, made(tmp_path)), "Against each peer").splitlines()
    assert "| static-peak | 1 | 0 | 0 | 1 | 0 | 0 |" in lines
    assert "| hpa | 1 | 0 | 0 | 0 | 0 | 1 |" in lines
    assert "| kubeai | 0 | 0 | 0 | 0 | 0 | 0 |" in lines


def test_a_loss_is_told_with_what_the_peer_did_otherwise(tmp_path: Path):
    losses = section(tables(tmp_path, made(tmp_path)), "Where we lose")
    assert losses.count("- **waves**") == 1
    assert "to `hpa` (target_share=0.6): $8.00 at 99.50 % against our $10.00 at 100.00 %" in losses
    assert "20.0 % less" in losses
    assert "4.00 replicas on average to our 5.00" in losses
    alone = made(tmp_path, [ROWS[0], ROWS[1]])
    assert "To none of the best peers" in section(tables(tmp_path, alone), "Where we lose")


def test_the_entrys_table_has_a_row_for_each_policy_and_setting(tmp_path: Path):
    rows = made(tmp_path, text=ENTRY + 'remark = "Seen."\n')
    text = section(tables(tmp_path, rows), "waves")
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert {len(cells) for cells in table} == {len(table[0])}
    names = [cells[0].strip("| ") for cells in table[2:]]
    assert names == [OURS, "static-peak", "hpa", "hpa", "keda"]
    assert [cells[1] for cells in table[4:6]] == ["default", "best: target_share=0.6"]
    assert [cells[2] for cells in table[2:]] == ["yes", "yes", "no", "yes", "no"]
    assert "interruptions" not in text
    assert "Bursts." in text
    assert text.rstrip().endswith("Seen.")


def test_spot_has_columns_of_its_own(tmp_path: Path):
    spot = SpotFigures(interruptions=3, lost_within_notice=1, fallback_hours=2.5)
    text = tables(tmp_path, made(tmp_path, [replace(line, spot=spot) for line in ROWS]))
    assert "| interruptions | lost in notice | fallback h |" in text
    assert text.count("| 3.0 | 1.0 | 2.5 |") == len(ROWS)


def test_rows_come_back_from_their_file_as_they_were(tmp_path: Path):
    rows = made(tmp_path, tried=tried((OURS, 10.0, 0.95)), edges=["one", "two"])
    write_rows(tmp_path / "rows", rows)
    board = read_board(tmp_path / "board.toml")
    assert read_rows(tmp_path / "rows", board.entry) == [rows]
    assert scoreboard_page(board, [rows]) == scoreboard_page(
        board, read_rows(tmp_path / "rows", board.entry)
    )


def test_the_same_scores_give_the_same_rows_but_for_the_time(tmp_path: Path):
    first = made(tmp_path, seconds=60.0)
    second = made(tmp_path, [replace(line, wall_s=9.0) for line in ROWS], seconds=600.0)
    assert first != second
    assert without_time(first) == without_time(second)


@pytest.mark.parametrize("unwanted", [r"\bnan\b", r"\bNone\b", r"-0\.00 ", r"\d{4}-\d\d-\d\d"])
def test_the_page_has_no_figures_that_are_none(tmp_path: Path, unwanted: str):
    rows = made(tmp_path, [row(line.policy, cost=line.cost_usd, ratio=None) for line in ROWS[:2]])
    assert not re.search(unwanted, page(tmp_path, rows) + tables(tmp_path, rows))
