"""Every figure of the README and of the scoreboard's pages is what a command prints: run it, and compare."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulations.simulate import SimulateRequest, run_simulate
from simulations.studies.scoreboard.__main__ import FILE, main
from simulations.studies.scoreboard.entries import read_board
from simulations.studies.scoreboard.page import TABLES, readme_with
from simulations.studies.scoreboard.rows import ROWS, read_rows
from tests.require import ROOT, traces_folder

README = (ROOT / "README.md").read_text(encoding="utf-8")
POLICIES = ("inference-aware", "static-peak", "hpa", "keda")


def replayed(trace: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    """The rows of a replay, by policy."""
    run_simulate(SimulateRequest(traces=[trace], policies=POLICIES, output="json", jobs=1))
    rows = json.loads(capsys.readouterr().out)["rows"]
    return {row["policy"]: row for row in rows}


@pytest.mark.slow
def test_the_generated_day_is_what_the_demo_replays(capsys: pytest.CaptureFixture[str]):
    block = re.search(r"^ {4}policy +cost.*\n(?: {4}\S.*\n)+", README, re.MULTILINE)
    assert block is not None
    lines = [re.split(r" {1,}(?!%)", line.strip()) for line in block[0].splitlines()[1:]]
    rows = replayed("generate:diurnal", capsys)
    assert [cells[0] for cells in lines] == list(rows)
    for policy, *cells in lines:
        row = rows[policy]
        replicas, ttft = row["replicas"], row["ttft_s"]
        assert isinstance(replicas, dict)
        assert isinstance(ttft, dict)
        assert cells == [
            f"{row['cost_usd']:.2f}",
            f"{row['gpu_hours']:.2f}",
            f"{100 * row['attainment']:.2f} %",
            f"{100 * row['worst_5min_attainment']:.1f} %",
            f"{ttft['p50']:.3f}",
            f"{ttft['p95']:.3f}",
            f"{replicas['mean']:.2f}",
            *(str(figure) for figure in (replicas["max"], row["starts"], row["flaps"])),
            str(row["aborted"]),
        ], f"{policy}: write what `autoscaler simulate generate:diurnal` prints"


@pytest.mark.slow
def test_the_hour_of_azure_is_what_its_replay_says(capsys: pytest.CaptureFixture[str]):
    rows = replayed(str(traces_folder() / "requests" / "azure2023_code.csv.gz"), capsys)
    said = " ".join(README.split())
    told = {
        policy: f"{100 * row['attainment']:.1f} % for ${row['cost_usd']:.2f}"
        for policy, row in rows.items()
    }
    for policy, verb in (("inference-aware", " attains"), ("hpa", ""), ("keda", "")):
        assert f"`{policy}`{verb} {told[policy]}" in said
    assert f"attains {told['static-peak']}" in said


def test_the_boards_pages_are_those_of_the_rows_that_are_kept(tmp_path: Path):
    made = tmp_path / "SCOREBOARD.md"
    CliRunner().invoke(main, ["--page", "-o", str(made)], catch_exceptions=False)
    for name in ("SCOREBOARD.md", TABLES):
        kept = (ROOT / "simulations" / name).read_text(encoding="utf-8")
        assert (tmp_path / name).read_text(encoding="utf-8") == kept, "run `make scoreboard-page`"


def test_what_the_readme_says_of_the_board_is_what_its_rows_say():
    board = read_board(FILE)
    rows = read_rows(ROWS, board.entry)
    assert readme_with(README, board, rows) == README, "run `make scoreboard-page`"
