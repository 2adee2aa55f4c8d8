"""`python -m simulations.studies.scoreboard`: a tiny board from end to end, resumed, and refused."""

import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from autoscaler.errors import SettingsError
from simulations.peers.rules.registry import KINDS
from simulations.results.scorecard import Score
from simulations.studies.scoreboard.__main__ import main
from simulations.studies.scoreboard.cache import BOUNDED, PLAYED, SWEPT, EntryCache
from simulations.studies.scoreboard.entry_runs import FinishedEntry, play_entry
from simulations.studies.scoreboard.pace import Pace
from simulations.studies.scoreboard.sizes import sized_entry
from tests.simulations.studies.scoreboard.rows import ENTRY
from tests.simulations.studies.scoreboard.test_cache import digests, setting_of


def run(folder: Path, *options: str, text: str = ENTRY) -> Result:
    (folder / "board.toml").write_text(text)
    where = ["--file", str(folder / "board.toml"), "--cache", str(folder / "kept")]
    return CliRunner().invoke(
        main, ["--traces", str(folder), *where, "--jobs", "1", *options], catch_exceptions=False
    )


@pytest.mark.slow
def test_a_tiny_board_end_to_end_and_again_from_what_is_kept(tmp_path: Path):
    output = tmp_path / "made" / "BOARD.md"
    first = run(tmp_path, "-o", str(output))
    assert first.exit_code == 0, first.output
    text = output.read_text()
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert headings == [
        "# Scoreboard",
        "## Summary",
        "## Against each peer",
        "## Where we lose",
        "## waves",
        "## How this was made",
    ]
    rows = [line.split(" | ") for line in text.split("## waves")[1].splitlines() if line[:1] == "|"]
    played = [(cells[0].strip("| "), cells[1].partition(":")[0]) for cells in rows[2:]]
    expected = [("inference-aware", "default")]
    for policy, kind in KINDS.items():
        expected += [(policy, "default"), *([(policy, "best")] if kind.sweep else [])]
    assert played == expected
    relaxed = [float(cells[9]) for cells in rows[2:]]
    assert all(ratio >= 1.0 for ratio in relaxed)
    assert "100.0 % of all" not in first.stderr.splitlines()[0]

    again = run(tmp_path)
    assert again.exit_code == 0
    assert again.stdout == text  # nothing was run: even the time is the same
    assert "100.0 % of all" in again.stderr

    assert run(tmp_path, "--fresh", "--dry-run").exit_code == 0
    assert not (tmp_path / "kept" / "waves.bounded.json").exists()


TUNABLE = [name for name, kind in KINDS.items() if kind.sweep]


class Switching:
    """A digest of code that changes after so many looks at it, beside the first."""

    def __init__(self, looks: int) -> None:
        self.left = looks + 1

    def __call__(self) -> dict[str, str]:
        self.left -= 1
        return digests("one" if self.left >= 0 else "two")


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_behind_the_sweep(tmp_path: Path):
    setting = setting_of(tmp_path)

    def kept(looks: int) -> EntryCache:
        return EntryCache(tmp_path / "kept", setting, code=Switching(looks))

    pace = Pace(io.StringIO(), weights=[1.0])
    entry = sized_entry(setting, kept(1))
    with pytest.raises(SettingsError, match="code of the replay changed"):
        play_entry(entry, cache=kept(1), jobs=1, pace=pace)
    swept = kept(0).read(SWEPT, list[Score])
    assert swept is not None
    assert len(swept) == 12 * len(TUNABLE)
    assert kept(0).read(PLAYED, list[Score]) is None

    finished = play_entry(entry, cache=kept(2), jobs=1, pace=pace)
    # wall clocks never agree by chance: these rows are the ones that were kept
    taken = {(row.policy, row.wall_s) for row in finished.scores if row.setting == "best"}
    assert len(taken) == len(TUNABLE)
    assert taken <= {(row.policy, row.wall_s) for row in swept}
    assert kept(0).read(BOUNDED, FinishedEntry) == finished


@pytest.mark.slow
def test_a_dry_run_says_how_large_each_entry_is_and_runs_nothing(tmp_path: Path):
    done = run(tmp_path, "--dry-run")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("waves")]
    requests, runs = line.split()[1], line.split()[8]
    assert int(requests.replace(",", "")) > 0
    # a seed of each, twelve settings of those that have any, and nothing more of the best
    assert int(runs) == 1 + len(KINDS) + 12 * len(TUNABLE)
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["waves.size.json"]


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
            "longer than a day",
            ENTRY.replace("hours=0.05,rate=2", "hours=25,rate=0.01"),
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
    done = run(tmp_path, "--dry-run", *options, text=text)
    assert done.exit_code == 2, rule
    assert found in done.stderr, rule
    assert done.stdout == ""


def test_no_file_ends_with_two(tmp_path: Path):
    done = CliRunner().invoke(main, ["--traces", ".", "--file", str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert "none.toml: cannot be read" in done.stderr
