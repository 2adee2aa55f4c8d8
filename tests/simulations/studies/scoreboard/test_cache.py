"""Finished runs and parts: found again by the same code and entry, and by nothing else."""

from dataclasses import replace
from pathlib import Path

import grimp
import msgspec
import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.replay.schedule import ReplicaSchedule
from simulations.results.scorecard import Score
from simulations.runs.runs import Plan
from simulations.studies.scoreboard.cache import (
    BOUNDED,
    CHOICE,
    CORE_OF_PEERS,
    PEER_RUNS,
    RUN_ROOMS,
    RUNS,
    SCORE_ROOMS,
    SIZE,
    EntryCache,
    code_digests,
    code_files,
    entry_digest,
)
from simulations.studies.scoreboard.entries import Setting, read_board, settings_of
from tests.simulations.studies.scoreboard.rows import ENTRY, row

SCORE = row("hpa", cost=1.0, setting="best", parameters={"target_share": 0.6})


def setting_of(folder: Path, text: str = ENTRY) -> Setting:
    path = folder / "board.toml"
    path.write_text(text)
    (setting,) = settings_of(read_board(path), path=path, traces=folder, only=())
    return setting


def cache_of(
    folder: Path, *, text: str = ENTRY, code: str = "one", now: str = "one", bounds: str = ""
) -> EntryCache:
    looks = iter([digests(code, bounds), *[digests(now, bounds)] * 9])
    return EntryCache(folder / "kept", setting_of(folder, text), code=lambda: next(looks))


def digests(runs: str, bounds: str = "", *, ours: str = "") -> dict[str, str]:
    peers = dict.fromkeys((SIZE, PEER_RUNS), runs)
    return {**peers, RUNS: f"{runs}{ours}", BOUNDED: f"{runs}{ours}{bounds}"}


def plan_of(folder: Path, **changes: object) -> Plan:
    setting = setting_of(folder)
    made = Plan(
        trace=setting.spec,
        policy="hpa",
        seed=0,
        conditions=setting.conditions,
        parameters={"target_share": 0.6},
    )
    return replace(made, **changes)


def test_a_run_comes_back_as_it_was(tmp_path: Path):
    plan = plan_of(tmp_path)
    cache_of(tmp_path).keep(plan, SCORE)
    again = cache_of(tmp_path)
    assert again.run(plan) == SCORE
    assert again.runs_kept() == 1
    assert again.run(replace(plan, setting="default")) == SCORE, "what a run is called is no run"
    for other in ({"seed": 1}, {"policy": "keda"}, {"parameters": {}}):
        assert again.run(plan_of(tmp_path, **other)) is None


def test_a_run_that_was_cut_off_while_it_was_written_is_none_and_the_others_stay(tmp_path: Path):
    plan = plan_of(tmp_path)
    cache_of(tmp_path).keep(plan, SCORE)
    file = tmp_path / "kept" / "waves.runs.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    assert cache_of(tmp_path).run(plan) == SCORE
    for damage in (b"\x00\n", b"[]\n", b'{"key": 1}\n', b'{"run": "x"}\n'):
        file.write_bytes(damage + whole)
        assert cache_of(tmp_path).run(plan) == SCORE
    file.write_bytes(whole[:-9])
    assert cache_of(tmp_path).run(plan) is None


def test_parts_can_be_forgotten(tmp_path: Path):
    cache = cache_of(tmp_path)
    cache.write(BOUNDED, [SCORE])
    cache.keep(plan_of(tmp_path), SCORE)
    cache.forget()
    assert cache.read(BOUNDED, list[Score]) is None
    assert cache.run(plan_of(tmp_path)) is None


@pytest.mark.parametrize(
    ("rule", "code", "text"),
    [
        ("other code", "two", ENTRY),
        ("another scale", "one", ENTRY.replace("scale = 1", "scale = 2")),
        ("another objective", "one", ENTRY.replace("tpot=0.1", "tpot=0.2")),
        ("another target", "one", ENTRY.replace("seeds = 1", 'in_flight_target = "x2"')),
        ("another part that is scored", "one", ENTRY + 'score_from = "1m"\n'),
        ("a load test of another size", "one", ENTRY + "replicas = 8\n"),
    ],
)
def test_what_is_stale_is_not_read(tmp_path: Path, rule: str, code: str, text: str):
    plan = plan_of(tmp_path)
    cache_of(tmp_path).keep(plan, SCORE)
    cache_of(tmp_path).write(BOUNDED, [SCORE])
    stale = cache_of(tmp_path, text=text, code=code)
    assert stale.run(plan) is None, rule
    assert stale.read(BOUNDED, list[Score]) is None, rule


def test_another_bound_needs_no_run_anew(tmp_path: Path):
    plan = plan_of(tmp_path)
    cache_of(tmp_path).keep(plan, SCORE)
    cache_of(tmp_path).write(BOUNDED, [SCORE])
    other = cache_of(tmp_path, bounds="tighter")
    assert other.run(plan) == SCORE
    assert other.read(BOUNDED, list[Score]) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Bursts.", "Waves."),
        ('"scoring"', '"tuning"'),
        ("seeds = 1", "seeds = 2"),
        ("seeds = 1", "seeds = 1\nsweep = false"),
        ("seeds = 1", 'seeds = 1\npolicies = ["hpa"]'),
        ("seeds = 1", 'seeds = 1\nremark = "Said afterwards."'),
    ],
)
def test_what_no_run_depends_on_makes_none_stale(tmp_path: Path, old: str, new: str):
    plan = plan_of(tmp_path)
    cache_of(tmp_path).keep(plan, SCORE)
    assert cache_of(tmp_path, text=ENTRY.replace(old, new)).run(plan) == SCORE


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
    cache.write(BOUNDED, [SCORE])
    (file,) = (tmp_path / "kept").glob("waves.bounded.json")
    file.write_bytes(damage)
    assert cache.read(BOUNDED, list[Score]) is None


def test_a_part_of_another_shape_is_none(tmp_path: Path):
    cache = cache_of(tmp_path)
    cache.write(BOUNDED, [{"trace": "a row of some other version"}])
    assert cache.read(BOUNDED, list[Score]) is None


def test_what_two_versions_of_the_code_made_is_not_kept(tmp_path: Path):
    for kept in (
        lambda cache: cache.write(BOUNDED, [SCORE]),
        lambda cache: cache.keep(plan_of(tmp_path), SCORE),
    ):
        with pytest.raises(SettingsError, match="code of the replay changed while it ran"):
            kept(cache_of(tmp_path, now="two"))
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "kept").touch()
    for kept in (
        lambda cache: cache.write(BOUNDED, [SCORE]),
        lambda cache: cache.keep(plan_of(tmp_path), SCORE),
    ):
        with pytest.raises(SettingsError, match=r"--cache .*kept: .*name a folder"):
            kept(cache_of(tmp_path))


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
    assert "simulations/runs/sweep.py" not in of_a_run
    assert not of_a_run & set(CHOICE), "a longer ladder makes no run stale"
    assert set(CHOICE) <= {name for name, _ in code_files(RUN_ROOMS + SCORE_ROOMS + CHOICE)}
    assert {"simulations/peers/rules/lookahead.py", "simulations/results/scorecard.py"} <= of_a_run
    code = code_digests()
    assert code == code_digests()
    assert code[SIZE] == code[PEER_RUNS]
    assert len({code[PEER_RUNS], code[RUNS], code[BOUNDED]}) == 3


def test_what_is_kept_is_plain_json(tmp_path: Path):
    cache_of(tmp_path).keep(plan_of(tmp_path), SCORE)
    (line,) = (tmp_path / "kept" / "waves.runs.jsonl").read_bytes().splitlines()
    kept = msgspec.json.decode(line)
    assert set(kept) == {"key", "run", "score"}
    assert kept["run"] == "hpa Hpa 0 target_share=0.6"


def test_a_change_of_our_own_rule_leaves_what_peers_did(tmp_path: Path):
    plans = {name: plan_of(tmp_path, policy=name) for name in ("hpa", "inference-aware")}
    plans["found"] = plan_of(
        tmp_path, policy="found", schedule=ReplicaSchedule(step_s=60.0, replicas=np.array([2]))
    )
    for plan in plans.values():
        cache_of(tmp_path).keep(plan, SCORE)
    kept = EntryCache(
        tmp_path / "kept", setting_of(tmp_path), code=lambda: digests("one", ours="changed")
    )
    assert {name for name, plan in plans.items() if kept.run(plan)} == {"hpa", "found"}


RECORDS = {
    f"autoscaler.core.contract.{name}"
    for name in ("decision", "events", "hindsight", "history", "knowledge", "reasons", "schedules")
}
"""What our own rule says and is told: types that a run of a peer has no object of."""


def test_of_the_core_peers_and_bounds_use_what_their_digest_says():
    """Import by import, from the peers, the replay and the bounds; the engine's loop apart."""
    graph = grimp.build_graph("simulations", "autoscaler")
    graph.remove_module("simulations.replay.engine_loop")
    todo = [
        "simulations.peers.rules.registry",
        "simulations.replay.replay",
        "simulations.runs.runs",
    ]
    todo += ["simulations.runs.score_bounds", "simulations.runs.found.score_found"]
    reached = set(todo)
    while todo:
        for name in graph.find_modules_directly_imported_by(todo.pop()) - reached:
            reached.add(name)
            todo.append(name)
    digested = {name.removesuffix(".py").replace("/", ".") for name, _ in code_files(CORE_OF_PEERS)}
    # of the numbers two are used, which the digest has in it
    known = digested | RECORDS | {"autoscaler.core.tuning"}
    assert {name for name in reached if name.startswith("autoscaler.core.")} <= known
    assert "simulations.replay.observation" not in reached
