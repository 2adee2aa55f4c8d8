"""`python -m simulations.studies.scoreboard`: a tiny board from end to end, resumed, and refused."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from autoscaler.errors import SettingsError
from simulations.peers.rules.registry import KINDS
from simulations.results.scorecard import Score
from simulations.runs.found.search import replays_for
from simulations.runs.runs import Plan
from simulations.runs.sweep import sweep
from simulations.studies.scoreboard.__main__ import main
from simulations.studies.scoreboard.cache import BOUNDED, EntryCache
from simulations.studies.scoreboard.entry_runs import FinishedEntry, best_on_all_seeds, play_entry
from simulations.studies.scoreboard.pace import Pace
from simulations.studies.scoreboard.rows import EntryRows, write_rows
from simulations.studies.scoreboard.sizes import TRIED, sized_entry
from tests.simulations.studies.scoreboard.rows import ENTRY, row
from tests.simulations.studies.scoreboard.test_cache import digests, setting_of


def run(folder: Path, *options: str, text: str = ENTRY) -> Result:
    (folder / "board.toml").write_text(text)
    where = ["--file", str(folder / "board.toml"), "--cache", str(folder / "kept")]
    where += ["--rows", str(folder / "rows")]
    return CliRunner().invoke(
        main, ["--traces", str(folder), *where, "--jobs", "1", *options], catch_exceptions=False
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tiny_board_end_to_end_and_again_from_what_is_kept(tmp_path: Path):
    output = tmp_path / "made" / "BOARD.md"
    first = run(tmp_path, "-o", str(output))
    assert first.exit_code in (0, 1), first.output
    text = output.read_text()
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert [head for head in headings if "wrong" not in head] == [
        "# Scoreboard",
        "## In short",
        "## What made these figures",
        "## Entry by entry",
        "## How to read it",
    ]
    # peers whose bests no twelve settings hold may reach an end on traffic as short as this
    wrong = [line for line in first.stderr.splitlines() if line.startswith("the board is wrong: ")]
    assert first.exit_code == bool(wrong)
    assert [line.removeprefix("the board is wrong: ") for line in wrong] == [
        line.removeprefix("- ") for line in text.splitlines() if "lengthen its ladder" in line
    ]
    tables = output.with_name("SCOREBOARD-tables.md").read_text()
    table = tables.split("## waves")[1].splitlines()
    rows = [line.split(" | ") for line in table if line[:1] == "|"]
    played = [(cells[0].strip("| "), cells[1].partition(":")[0]) for cells in rows[2:]]
    expected = [("inference-aware", "default")]
    for policy, kind in KINDS.items():
        expected += [(policy, "default"), *([(policy, "best")] if kind.axes else [])]
    assert played == expected
    relaxed = [float(cells[9]) for cells in rows[2:]]
    assert all(ratio >= 1.0 for ratio in relaxed)
    assert "100.0 % of all" not in first.stderr.splitlines()[0]

    again = run(tmp_path)
    assert again.exit_code == first.exit_code
    assert again.stdout == text  # nothing was run: even the time is the same
    assert "100.0 % of all" in again.stderr

    page = CliRunner().invoke(
        main, ["--page", "--file", str(tmp_path / "board.toml"), "--rows", str(tmp_path / "rows")]
    )
    assert page.stdout == text

    sizes = run(tmp_path, "--estimate")
    (line,) = [line for line in sizes.stdout.splitlines() if line.startswith("waves")]
    assert line.split()[-1] == "current"
    assert run(tmp_path, "--fresh", "--estimate").exit_code == 0
    assert not (tmp_path / "kept" / "waves.bounded.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_our_rows_alone_are_made_anew_where_the_peers_code_is_as_it_was(tmp_path: Path):
    text = ENTRY + 'policies = ["inference-aware", "hpa", "static-mean"]\n'
    refused = run(tmp_path, "--ours", text=text)
    assert refused.exit_code == 2
    assert "entry 'waves': it has no rows yet; run it without --ours" in refused.stderr
    run(tmp_path, text=text)
    file = tmp_path / "rows" / "waves.json"
    whole = msgspec.json.decode(file.read_bytes(), type=EntryRows)
    assert whole.found[0].points
    assert whole.peers_made is None

    # as if another rule had decided, whose revision is named
    before = msgspec.structs.replace(
        whole,
        made=msgspec.structs.replace(whole.made, revision="before", sources="other"),
        rows=[
            msgspec.structs.replace(each, mean={**each.mean, "cost_usd": 99.0})
            if each.policy == "inference-aware"
            else each
            for each in whole.rows
        ],
        unsound=["waves, inference-aware, seed 0: too good", "waves, hpa, seed 0: too good"],
    )
    write_rows(tmp_path / "rows", before)
    (tmp_path / "kept" / "waves.bounded.json").unlink()
    assert run(tmp_path, "--ours", text=text).exit_code == 1
    again = msgspec.json.decode(file.read_bytes(), type=EntryRows)
    assert again.rows == whole.rows
    assert set(map(str, again.tried)) == set(map(str, whole.tried))
    assert again.made == whole.made
    assert again.peers_made is not None
    assert again.peers_made.revision == "before"
    assert again.unsound == ["waves, hpa, seed 0: too good"]

    other = msgspec.structs.replace(
        again, peers_made=msgspec.structs.replace(again.peers_made, peers="other")
    )
    write_rows(tmp_path / "rows", other)
    refused = run(tmp_path, "--ours", text=text)
    assert refused.exit_code == 2
    assert "what peers run through has changed since before; run it without" in refused.stderr
    assert msgspec.json.decode(file.read_bytes(), type=EntryRows) == other


class Switching:
    """A digest of code that changes after so many looks at it, beside the first."""

    def __init__(self, looks: int) -> None:
        self.left = looks + 1

    def __call__(self) -> dict[str, str]:
        self.left -= 1
        return digests("one" if self.left >= 0 else "two")


@pytest.mark.slow
def test_a_board_that_was_stopped_goes_on_at_the_run_where_it_was(tmp_path: Path):
    text = ENTRY + 'policies = ["inference-aware", "hpa", "static-mean"]\n'
    setting = setting_of(tmp_path, text)

    def kept(looks: int) -> EntryCache:
        return EntryCache(tmp_path / "kept", setting, code=Switching(looks))

    pace = Pace(io.StringIO(), weights=[1.0])
    entry = sized_entry(setting, kept(1))
    with pytest.raises(SettingsError, match="code of the replay changed"):
        play_entry(entry, cache=kept(5), jobs=1, pace=pace)
    assert kept(0).runs_kept() == 5

    finished = play_entry(entry, cache=kept(999), jobs=1, pace=pace)
    assert kept(0).runs_kept() == finished.runs > 12
    # wall clocks never agree by chance: these runs are the ones that were kept
    lines = (tmp_path / "kept" / "waves.runs.jsonl").read_bytes().splitlines()
    runs = [msgspec.json.decode(line)["run"] for line in lines]
    assert len(set(runs)) == len(runs), "no run was made twice"
    assert kept(0).read(BOUNDED, FinishedEntry) == finished
    assert {tried.policy for tried in finished.tried} == {"inference-aware", "hpa", "static-mean"}
    assert sum(tried.policy == "hpa" for tried in finished.tried) > 12


def test_the_best_of_one_seed_gives_way_to_the_next_that_attains_on_all(tmp_path: Path):
    """The cheapest misses on the second seed by a hair; the next one does not, and is the best."""
    setting = setting_of(tmp_path, ENTRY.replace("seeds = 1", "seeds = 2"))
    plans = [
        Plan(trace="t", policy="hpa", seed=seed, conditions=setting.conditions) for seed in (0, 1)
    ]
    asked: list[tuple[float, int]] = []

    def play(given: Sequence[Plan]) -> list[Score]:
        asked.extend((plan.parameters["target_share"], plan.seed) for plan in given)
        return [
            row(
                "hpa",
                cost=9 / plan.parameters["target_share"],
                attained=0.98
                if plan.parameters["target_share"] >= (2.5, 2.0)[plan.seed]
                else 0.999,
            )
            for plan in given
        ]

    swept = sweep(plans, play)
    assert swept.best["t", "hpa"]["target_share"] == 2.2
    asked.clear()
    best = best_on_all_seeds(swept, plans, play)
    assert best["t", "hpa"]["target_share"] == 1.7
    assert {share for share, _ in asked} == {2.2, 1.7}


@pytest.mark.slow
def test_an_estimate_says_how_large_each_entry_is_and_runs_nothing(tmp_path: Path):
    done = run(tmp_path, "--estimate")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("waves")]
    requests, runs, kept, state = (line.split()[at] for at in (1, 9, 11, 13))
    assert (count := int(requests.replace(",", ""))) > 0
    tunable = sum(bool(kind.axes) for kind in KINDS.values())
    assert int(runs) == 1 + len(KINDS) + TRIED * tunable + replays_for(count)
    assert (kept, state) == ("0", "none")
    assert "CPU-hours in all" in done.stdout
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["waves.size.json"]
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize(
    ("rule", "text", "options", "found"),
    [
        pytest.param(
            "far from the size named",
            ENTRY + "replicas = 100\n",
            (),
            "not about 100: try scale",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "longer than three days",
            ENTRY.replace("hours=0.05,rate=2", "hours=73,rate=0.01"),
            (),
            "cut a slice",
            marks=pytest.mark.slow,
        ),
        ("no such entry", ENTRY, ("--only", "none"), "--only 'none': no such entry"),
        ("an unknown key", ENTRY + "sizes = 3\n", (), "unknown field `sizes`"),
        ("a scale of nothing", ENTRY.replace("scale = 1", "scale = 0"), (), "--scale 0"),
        ("no such recording", ENTRY.replace("generate:bursty", "none"), (), "no file "),
    ],
)
def test_what_cannot_be_worked_with_ends_with_two_and_a_sentence(
    tmp_path: Path, rule: str, text: str, options: tuple[str, ...], found: str
):
    done = run(tmp_path, "--estimate", *options, text=text)
    assert done.exit_code == 2, rule
    assert found in done.stderr, rule
    assert done.stdout == ""


def test_no_file_ends_with_two(tmp_path: Path):
    done = CliRunner().invoke(main, ["--traces", ".", "--file", str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert "none.toml: cannot be read" in done.stderr
