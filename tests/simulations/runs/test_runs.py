"""Runs one by one, in processes, and on Ray: the same rows in the same order."""

import gc
import importlib.util
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoscaler.errors import SettingsError, TraceError
from simulations.replay.conditions import Conditions
from simulations.results.scorecard import Score
from simulations.runs.runs import Plan, play, play_all
from simulations.runs.side_by_side import check_listening, result_in
from simulations.world.cold_start import COLD_STARTS
from tests.require import require
from tests.simulations.runs.reporters import RememberingReporter
from tests.simulations.runs.test_sweep import row
from tests.simulations.world.world_builder import PROFILE

SPEC = "generate:bursty,hours=0.15,rate=2,input=300,output=100"
PLANS = [
    Plan(
        trace=SPEC,
        policy=policy,
        seed=seed,
        conditions=Conditions(profile=PROFILE, cold_start=COLD_STARTS["warm"]),
    )
    for policy in ("hpa", "inference-aware")
    for seed in (0, 1)
]


def facts(scores: list[Score]) -> list[Any]:
    return [replace(score, wall_s=0.0) for score in scores]


@pytest.mark.slow
def test_side_by_side_gives_the_scores_of_one_by_one():
    alone, together = RememberingReporter(), RememberingReporter()
    first = play_all(PLANS, jobs=1, reporter=alone)
    second = play_all(PLANS, jobs=2, reporter=together)
    assert facts(first) == facts(second)
    assert [(score.policy, score.seed) for score in second] == [(p.policy, p.seed) for p in PLANS]
    assert len(alone.said) == len(together.said) == 4
    assert alone.done == sorted(alone.done)
    assert len(alone.done) > 4, "parts of a run too"
    assert together.done == [1, 2, 3, 4]


@pytest.mark.slow
def test_what_a_run_leaves_behind_is_not_kept_by_the_next():
    """Frozen with what was imported, a run's cycles and their arrays stayed for ever: 14 GB after some hundred runs."""
    play(PLANS[0])
    play(PLANS[0])
    before = gc.get_freeze_count()
    for _ in range(3):
        play(PLANS[0])
    assert gc.get_freeze_count() < before + 30


@pytest.mark.slow
def test_a_run_that_fails_side_by_side_says_so_and_ends_the_rest():
    broken = [replace(PLANS[0], policy="nobody"), *PLANS]
    with pytest.raises(SettingsError, match="'nobody': no such policy"):
        play_all(broken, jobs=2, reporter=RememberingReporter())


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_missing_library_has_its_name():
    with pytest.raises(ModuleNotFoundError) as caught:
        play_all(PLANS, jobs=1, reporter=RememberingReporter(), ray_address="auto")
    assert caught.value.name == "ray"


def test_an_address_where_nobody_listens_is_known_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_listening(address)
        check_listening(f"ray://{address}")
    for dead in (address, f"ray://{address}"):
        with pytest.raises(OSError, match="refused"):
            check_listening(dead)
    check_listening("auto")  # no address: Ray's to judge


def test_a_worker_plays_where_the_command_was_given(tmp_path: Path):
    def play_here(path: str, /, *, progress: Callable[[float], None]) -> Score:
        progress(1.0)
        assert Path(path).is_file()
        return row(cost=1.0, attained=1.0)

    (tmp_path / "mine.csv").touch()
    before = Path.cwd()
    assert result_in(tmp_path, play_here, "mine.csv").cost_usd == 1.0
    assert Path.cwd() == before
    with pytest.raises(SettingsError, match=rf"no folder {tmp_path}/gone on .*; workers need"):
        result_in(tmp_path / "gone", play_here, "mine.csv")


@pytest.fixture(scope="module")
def ray_address():
    require("ray", importlib.util.find_spec("ray"), "the ray extra is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield cluster.address
    cluster.shutdown()


@pytest.mark.slow
def test_ray_gives_the_same_scores(ray_address: str):
    reporter = RememberingReporter()
    rows = play_all(PLANS, jobs=1, reporter=reporter, ray_address=ray_address)
    assert facts(rows) == facts(play_all(PLANS, jobs=1, reporter=RememberingReporter()))
    assert len(reporter.said) == 4


@pytest.mark.slow
def test_ray_finds_traces_where_the_command_was_given(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = ["t_s,input_tokens,output_tokens", *(f"{at},200,50" for at in range(60))]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    plans = [replace(PLANS[0], trace="mine.csv")]
    (made,) = play_all(plans, jobs=1, reporter=RememberingReporter(), ray_address=ray_address)
    assert made.requests == 60
    broken = [replace(PLANS[0], trace="gone.csv")]
    with pytest.raises(TraceError) as caught:
        play_all(broken, jobs=1, reporter=RememberingReporter(), ray_address=ray_address)
    assert str(caught.value).startswith("gone.csv: cannot be read")
    assert "\n" not in str(caught.value)
