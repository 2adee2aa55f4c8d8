"""`scoreboard.toml`: what is in it, and what is refused before anything runs."""

from pathlib import Path

import pytest

from autoscaler.errors import SettingsError
from simulations.studies.scoreboard.__main__ import FILE
from simulations.studies.scoreboard.entries import SEEDS_MIN, read_board, settings_of
from simulations.traces.generate import PREFIX
from tests.require import traces_folder
from tests.simulations.studies.scoreboard.rows import ENTRY


@pytest.mark.parametrize(
    ("rule", "old", "new", "found"),
    [
        ("a key that is none", "why =", "because =", "unknown field `because`"),
        ("a key that is missing", 'why = "Bursts."', "", "missing required field `why`"),
        ("a use that is none", '"scoring"', '"both"', "$.entry[0].use"),
        ("a number that is text", "scale = 1", 'scale = "one"', "$.entry[0].scale"),
        ("no seeds", "seeds = 1", "seeds = 0", ">= 1"),
        ("a name that is no file's", '"waves"', '"../waves"', "$.entry[0].name"),
        ("no TOML", "scale = 1", "scale =", "no TOML"),
        ("no entry", ENTRY, 'objective = "ttft=1"', "missing required field `entry`"),
        (
            "the same name twice",
            ENTRY,
            ENTRY + ENTRY.partition("\n\n")[2],
            "'waves' is there twice",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, rule: str, old: str, new: str, found: str
):
    path = tmp_path / "board.toml"
    path.write_text(ENTRY.replace(old, new))
    with pytest.raises(SettingsError) as caught:
        read_board(path)
    assert str(caught.value).startswith(str(path)), rule
    assert found in str(caught.value), rule


@pytest.mark.parametrize(
    ("rule", "old", "new", "found"),
    [
        ("a scale of nothing", "scale = 1", "scale = 0", "--scale 0"),
        ("a scale that is no number", "scale = 1", "scale = nan", "--scale nan"),
        ("no such profile", "llama-3.1-8b/1xL40S", "gpt-9/1xTPU", "--profile 'gpt-9/1xTPU'"),
        ("no such cold start", '"hot"', '"tepid"', "--cold-start 'tepid'"),
        ("no such routing", "scale = 1", 'scale = 1\nrouting = "random"', "--routing 'random'"),
        ("no such shape", "generate:bursty", "generate:spiral", "no shape 'spiral'"),
        ("no such recording", "generate:bursty", "requests/none.csv", "no file "),
        ("no such market", "scale = 1", 'scale = 1\nspot = "none.csv"', "no file "),
        ("no such faults", "scale = 1", 'scale = 1\nfaults = "none.toml"', "no file "),
        ("an objective that is none", "tpot=0.1", "tpot=fast", "--objective"),
        ("no such part", "scale = 1", 'scale = 1\nscore_from = "soon"', "--score-from 'soon'"),
        (
            "no such target",
            "scale = 1",
            'scale = 1\nin_flight_target = "x"',
            "--in-flight-target 'x'",
        ),
        ("no such policy", "scale = 1", 'scale = 1\npolicies = ["none"]', "policies: no 'none'"),
    ],
)
def test_what_an_entry_cannot_be_run_under_is_said_with_its_name(
    tmp_path: Path, rule: str, old: str, new: str, found: str
):
    path = tmp_path / "board.toml"
    path.write_text(ENTRY.replace(old, new))
    with pytest.raises(SettingsError) as caught:
        settings_of(read_board(path), path=path, traces=tmp_path, only=())
    assert f"{path}: entry 'waves': " in str(caught.value), rule
    assert found in str(caught.value), rule


def test_only_names_entries_that_are_there(tmp_path: Path):
    path = tmp_path / "board.toml"
    path.write_text(ENTRY)
    board = read_board(path)
    with pytest.raises(SettingsError, match=r"--only 'wave': no such entry .* write one of waves"):
        settings_of(board, path=path, traces=tmp_path, only=("wave",))
    (setting,) = settings_of(board, path=path, traces=tmp_path, only=("waves",))
    assert setting.spec == board.entry[0].trace
    assert setting.files == ()


def test_token_lengths_beside_windows_are_a_file_that_the_entry_depends_on(tmp_path: Path):
    for name in ("m_windows.csv", "m_tokens.csv"):
        (tmp_path / name).touch()
    path = tmp_path / "board.toml"
    trace = ENTRY.split('trace = "')[1].partition('"')[0]
    path.write_text(ENTRY.replace(trace, "m_windows.csv,tenant=5,from=1d,days=1"))
    (setting,) = settings_of(read_board(path), path=path, traces=tmp_path, only=())
    assert setting.spec == f"{tmp_path}/m_windows.csv,tenant=5,from=1d,days=1"
    assert [file.name for file in setting.files] == ["m_windows.csv", "m_tokens.csv"]


def test_wrong_targets_are_the_entry_again_with_another_target(tmp_path: Path):
    path = tmp_path / "board.toml"
    told = '\n[[wrong_targets]]\nof = "waves"\ntargets = ["default", "x4"]\npolicies = ["hpa"]\nseeds = 2\n'
    path.write_text(ENTRY + told)
    settings = settings_of(read_board(path), path=path, traces=tmp_path, only=())
    assert [s.entry.name for s in settings] == ["waves", "waves.told-default", "waves.told-x4"]
    assert [s.conditions.told for s in settings] == ["x1", "default", "x4"]
    assert [s.entry.sweep for s in settings] == [True, False, False]
    assert settings[2].entry.policies == ("hpa",)
    assert settings[2].entry.seeds == 2
    assert settings[2].entry.use == "scoring"
    path.write_text(ENTRY + told.replace('of = "waves"', 'of = "wave"'))
    with pytest.raises(
        SettingsError, match="wrong_targets of 'wave': no such entry; write one of waves"
    ):
        read_board(path)


def test_faults_count_from_where_the_score_begins(tmp_path: Path):
    path = tmp_path / "board.toml"
    faults = '[[fault]]\nkind = "blind"\nfrom_s = 10\nuntil_s = 20\n'
    (tmp_path / "faults.toml").write_text(faults)
    begun = []
    for score_from in ("0", "2m"):
        path.write_text(ENTRY + f'faults = "faults.toml"\nscore_from = "{score_from}"\n')
        (setting,) = settings_of(read_board(path), path=path, traces=tmp_path, only=())
        begun.append([(f.from_ns / 1e9, f.until_ns / 1e9) for f in setting.conditions.faults])
    assert begun == [[(10.0, 20.0)], [(130.0, 140.0)]]


def test_our_board_covers_what_it_says():
    """Sizes, spot, faults, a prefix router, and at least six tenants or totals of measured windows."""
    entries = [entry for entry in read_board(FILE).entry if entry.in_flight_target == "x1"]
    assert {entry.replicas for entry in entries} == {8, 32, 100}
    assert all(entry.seeds >= SEEDS_MIN for entry in entries)
    assert not any(entry.trace.startswith(PREFIX) for entry in entries)
    markets = {entry.spot for entry in entries if entry.spot}
    assert {Path(market).name.partition("_")[2][:3] for market in markets} == {"aws", "gcp"}
    assert any(entry.faults for entry in entries)
    assert any(entry.routing == "prefix" for entry in entries)
    assert len({entry.trace for entry in entries if entry.trace.startswith("windows/")}) >= 6
    requests = {Path(e.trace).name.partition(".")[0] for e in entries if "requests/" in e.trace}
    assert len(requests) == 4


def test_every_recording_of_ours_is_there_cold_and_warm_in_one_half():
    board = {entry.name: entry for entry in read_board(FILE).entry}
    cold = [e for e in board.values() if not e.warm and e.in_flight_target == "x1"]
    assert len(cold) == 13
    for entry in cold:
        warm = board[f"{entry.name}-warm"]
        assert warm.warm
        assert warm.use == entry.use, "what is tuned on one is known on the other"
        for alike in ("profile", "scale", "replicas", "cold_start", "routing", "spot", "faults"):
            assert getattr(warm, alike) == getattr(entry, alike)


def test_half_of_our_entries_are_for_tuning_and_half_for_scoring():
    uses = [entry.use for entry in read_board(FILE).entry]
    assert abs(uses.count("tuning") - uses.count("scoring")) <= 2


def test_our_board_tells_wrong_targets():
    told = {entry.in_flight_target for entry in read_board(FILE).entry}
    assert told == {"x1", "default", "x0.25", "x0.5", "x2", "x4", "x13"}


def test_our_boards_files_are_there():
    settings = settings_of(read_board(FILE), path=FILE, traces=traces_folder(), only=())
    assert all(setting.files for setting in settings)
