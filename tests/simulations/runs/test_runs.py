"""Runs one by one, in processes, and on Ray: the same rows in the same order."""

import importlib.util
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoscaler.errors import SettingsError, TraceError
from simulations.replay.replay import Conditions
from simulations.results.scorecard import Row
from simulations.runs.ray_runs import _play_in, knock, play_on_ray
from simulations.runs.runs import Plan, play, play_all
from simulations.world.cold_start import COLD_STARTS
from tests.require import require
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


class Listener:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.ended: list[Row] = []
        self.shares: list[float] = []

    def share(self, done: float) -> None:
        self.shares.append(done)

    def end(self, row: Row) -> None:
        self.ended.append(row)


def facts(rows: list[Row]) -> list[Any]:
    return [replace(row, wall_s=0.0) for row in rows]


@pytest.mark.slow
def test_side_by_side_gives_the_rows_of_one_by_one():
    alone, together = Listener(), Listener()
    first = play_all(PLANS, jobs=1, reporter=alone)
    second = play_all(PLANS, jobs=2, reporter=together)
    assert facts(first) == facts(second)
    assert [(row.policy, row.seed) for row in second] == [(p.policy, p.seed) for p in PLANS]
    assert len(alone.ended) == len(together.ended) == 4
    assert alone.shares == sorted(alone.shares)
    assert together.shares[-1] == pytest.approx(4.0)


@pytest.mark.slow
def test_a_run_that_fails_side_by_side_says_so_and_ends_the_rest():
    broken = [replace(PLANS[0], policy="nobody"), *PLANS]
    with pytest.raises(SettingsError, match="'nobody': no such policy"):
        play_all(broken, jobs=2, reporter=Listener())


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_says_which_extra_brings_it():
    with pytest.raises(SettingsError, match=r"inference-autoscaler\[ray\]"):
        play_on_ray(PLANS, address="auto", play=play, reporter=Listener())


def test_an_address_where_nobody_listens_is_known_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        knock(address)
        knock(f"ray://{address}")
    for dead in (address, f"ray://{address}"):
        with pytest.raises(OSError, match="refused"):
            knock(dead)
    knock("auto")  # no address: Ray's to judge


def test_a_worker_plays_where_the_command_was_given(tmp_path: Path):
    def play_here(path: str) -> Row:
        assert Path(path).is_file()
        return row(cost=1.0, attained=1.0)

    (tmp_path / "mine.csv").touch()
    before = Path.cwd()
    assert _play_in(tmp_path, play_here, "mine.csv").cost_usd == 1.0
    assert Path.cwd() == before
    with pytest.raises(SettingsError, match=rf"no folder {tmp_path}/gone on .*; workers need"):
        _play_in(tmp_path / "gone", play_here, "mine.csv")


@pytest.fixture(scope="module")
def ray_address():
    require("ray", importlib.util.find_spec("ray"), "the ray extra is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield cluster.address
    cluster.shutdown()


@pytest.mark.slow
def test_ray_gives_the_same_rows(ray_address: str):
    listener = Listener()
    rows = play_on_ray(PLANS, address=ray_address, play=play, reporter=listener)
    assert facts(rows) == facts(play_all(PLANS, jobs=1, reporter=Listener()))
    assert len(listener.ended) == 4


@pytest.mark.slow
def test_ray_finds_traces_where_the_command_was_given(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = ["t_s,input_tokens,output_tokens", *(f"{at},200,50" for at in range(60))]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    plans = [replace(PLANS[0], trace="mine.csv")]
    (made,) = play_on_ray(plans, address=ray_address, play=play, reporter=Listener())
    assert made.requests == 60
    broken = [replace(PLANS[0], trace="gone.csv")]
    with pytest.raises(TraceError) as caught:
        play_on_ray(broken, address=ray_address, play=play, reporter=Listener())
    assert str(caught.value).startswith("gone.csv: cannot be read")
    assert "\n" not in str(caught.value)
