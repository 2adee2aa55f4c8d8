"""Finished parts: found again by the same code and entry, and by nothing else."""

from pathlib import Path

import msgspec
import pytest

from autoscaler.errors import SettingsError
from simulations.results.scorecard import Score
from simulations.studies.scoreboard.cache import (
    BOUNDED,
    PLAYED,
    RUN_ROOMS,
    SCORE_ROOMS,
    SIZE,
    SWEPT,
    EntryCache,
    code_digests,
    code_files,
    entry_digest,
)
from simulations.studies.scoreboard.entries import Setting, read_board, settings_of
from tests.simulations.studies.scoreboard.rows import ENTRY, row

ROWS = [row("hpa", cost=1.0, setting="best", parameters={"target_share": 0.6})]


def setting_of(folder: Path, text: str = ENTRY) -> Setting:
    path = folder / "board.toml"
    path.write_text(text)
    (setting,) = settings_of(read_board(path), path=path, traces=folder, only=())
    return setting


def cache_of(
    folder: Path, *, text: str = ENTRY, code: str = "one", now: str = "one", bounds: str = ""
) -> EntryCache:
    looks = iter([digests(code, bounds), digests(now, bounds)])
    return EntryCache(folder / "kept", setting_of(folder, text), code=lambda: next(looks))


def digests(runs: str, bounds: str = "") -> dict[str, str]:
    return {**dict.fromkeys((SIZE, SWEPT, PLAYED), runs), BOUNDED: f"{runs}{bounds}"}


def test_rows_come_back_as_they_were(tmp_path: Path):
    cache_of(tmp_path).write("played", ROWS)
    assert cache_of(tmp_path).read("played", list[Score]) == ROWS
    assert cache_of(tmp_path).read("swept", list[Score]) is None


def test_parts_can_be_forgotten(tmp_path: Path):
    cache = cache_of(tmp_path)
    cache.write("played", ROWS)
    cache.forget()
    assert cache.read("played", list[Score]) is None


@pytest.mark.parametrize(
    ("rule", "code", "text"),
    [
        ("other code", "two", ENTRY),
        ("another scale", "one", ENTRY.replace("scale = 1", "scale = 2")),
        ("another objective", "one", ENTRY.replace("tpot=0.1", "tpot=0.2")),
        ("more seeds", "one", ENTRY.replace("seeds = 1", "seeds = 2")),
    ],
)
def test_what_is_stale_is_not_read(tmp_path: Path, rule: str, code: str, text: str):
    cache_of(tmp_path).write("played", ROWS)
    stale = cache_of(tmp_path, text=text, code=code)
    assert stale.read("played", list[Score]) is None, rule


def test_another_bound_needs_no_run_anew(tmp_path: Path):
    for part in ("played", BOUNDED):
        cache_of(tmp_path).write(part, ROWS)
    other = cache_of(tmp_path, bounds="tighter")
    assert other.read("played", list[Score]) == ROWS
    assert other.read(BOUNDED, list[Score]) is None


def test_what_is_only_said_of_an_entry_makes_nothing_stale(tmp_path: Path):
    cache_of(tmp_path).write("played", ROWS)
    reworded = ENTRY.replace("Bursts.", "Waves.") + 'remark = "Said afterwards."\nreplicas = 8\n'
    assert cache_of(tmp_path, text=reworded).read("played", list[Score]) == ROWS


def test_a_recording_that_changed_makes_its_entry_stale(tmp_path: Path):
    recording = tmp_path / "mine.csv"
    trace = ENTRY.split('trace = "')[1].partition('"')[0]
    text = ENTRY.replace(trace, recording.name)
    recording.write_text("t_s,input_tokens,output_tokens\n0,1,1\n")
    before = entry_digest(setting_of(tmp_path, text), code="one")
    assert entry_digest(setting_of(tmp_path, text), code="one") == before
    recording.write_text("t_s,input_tokens,output_tokens\n0,1,2\n")
    assert entry_digest(setting_of(tmp_path, text), code="one") != before


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b'{"key": "other", "part": []}', b'{"part": [1]}', b"\x00", b'{"key"']
)
def test_a_damaged_part_is_none(tmp_path: Path, damage: bytes):
    cache = cache_of(tmp_path)
    cache.write("played", ROWS)
    (file,) = (tmp_path / "kept").glob("waves.played.json")
    file.write_bytes(damage)
    assert cache.read("played", list[Score]) is None


def test_a_part_of_another_shape_is_none(tmp_path: Path):
    cache = cache_of(tmp_path)
    cache.write("played", [{"trace": "a row of some other version"}])
    assert cache.read("played", list[Score]) is None


def test_a_part_that_two_versions_of_the_code_made_is_not_kept(tmp_path: Path):
    with pytest.raises(SettingsError, match="code of the replay changed while it ran"):
        cache_of(tmp_path, now="two").write("played", ROWS)
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "kept").touch()
    with pytest.raises(SettingsError, match=r"--cache .*kept: .*name a folder"):
        cache_of(tmp_path).write("played", ROWS)


def test_the_code_is_what_a_run_passes_through():
    names = {name for name, _ in code_files(RUN_ROOMS + SCORE_ROOMS)}
    for used in (
        "autoscaler/core/engine.py",
        "autoscaler/errors.py",
        "simulations/replay/replay.py",
        "simulations/bounds/bound.py",
        "simulations/peers/rules/hpa.py",
        "simulations/serving/kernel/fleet.py",
        "simulations/traces/overlay.py",
    ):
        assert used in names
    for beside in (
        "autoscaler/app.py",
        "simulations/box/demo/run.py",
        "simulations/field/advise/run.py",
    ):
        assert beside not in names
    of_a_run = {name for name, _ in code_files(RUN_ROOMS)}
    assert "simulations/bounds/bound.py" not in of_a_run
    assert {"simulations/peers/rules/lookahead.py", "simulations/replay/replay.py"} <= of_a_run
    code = code_digests()
    assert code == code_digests()
    assert code[SIZE] == code[SWEPT] == code[PLAYED] != code[BOUNDED]


def test_a_part_is_plain_json(tmp_path: Path):
    cache_of(tmp_path).write("played", ROWS)
    kept = msgspec.json.decode((tmp_path / "kept" / "waves.played.json").read_bytes())
    assert set(kept) == {"key", "part"}
    assert kept["part"][0]["policy"] == "hpa"
