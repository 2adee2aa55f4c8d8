"""KEDA's two layers on recordings of the real one, and with each rule turned off.

The recordings are those of KEDA v2.21.0 with Kubernetes v1.36.3 (see `FIXTURES`).
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from simulations.peers.conformance import keda
from simulations.peers.conformance.__main__ import main
from simulations.peers.conformance.hpa import read_rows
from simulations.peers.conformance.keda import replay_folder, replay_keda, without_retried
from simulations.peers.keda.operator import KedaOperator
from simulations.peers.keda.scaled_object import ScaledObject
from tests.require import fixtures_folder


@pytest.fixture(scope="module")
def recordings() -> Path:
    return fixtures_folder() / "keda"


def test_both_layers_of_every_recording_come_out_equal(recordings: Path):
    rows = list(replay_folder(recordings))
    assert len(rows) == 16
    assert sum(row.syncs for row in rows if row.name.endswith("/hpa")) == 342
    assert {row.name: row.differences for row in rows if row.differences} == {}


class ActivatesAtTheThreshold(KedaOperator):
    def activates(self, value: float) -> bool:
        return value >= self.scaled.activation_threshold > 0


class FallbackIsNoActivity(KedaOperator):
    def activates(self, value: float) -> bool:
        return self.failures == 0 and super().activates(value)


class OnlyTheLoopCounts(KedaOperator):
    def answer(self, value):
        before = self.failures
        answer = super().answer(value)
        self.failures = before
        return answer


def with_rule(**changes: object) -> Callable[[ScaledObject], KedaOperator]:
    return lambda scaled: KedaOperator(replace(scaled, **changes))


def threshold_included(scaled: ScaledObject) -> KedaOperator:
    fallback = scaled.fallback
    if fallback is not None:
        fallback = replace(fallback, failure_threshold=fallback.failure_threshold - 1)
    return KedaOperator(replace(scaled, fallback=fallback))


@pytest.mark.parametrize(
    "without",
    [
        ActivatesAtTheThreshold,
        FallbackIsNoActivity,
        OnlyTheLoopCounts,
        threshold_included,
        with_rule(ignore_null_values=False),
        with_rule(use_cached_metrics=False),
        with_rule(idle_replicas=None),
        with_rule(cooldown_s=0.0),
        with_rule(fallback=None),
    ],
    ids=[
        "strict activation",
        "fallback is activity",
        "both paths count failures",
        "failures above the threshold",
        "null is zero",
        "cached metrics",
        "idle replicas",
        "cooldown",
        "fallback",
    ],
)
def test_each_rule_is_needed(recordings: Path, without: Callable[[ScaledObject], KedaOperator]):
    assert replay_folder_with(recordings, without)


class ThreeDecimalsAreTwo(KedaOperator):
    def answer(self, value):
        return super().answer(None if value is None else round(value, 2))


def test_values_have_three_decimals(recordings: Path):
    assert replay_folder_with(recordings, ThreeDecimalsAreTwo)


def replay_folder_with(
    recordings: Path, operator: Callable[[ScaledObject], KedaOperator]
) -> list[object]:
    """Differences of KEDA's layer over all recordings."""
    found: list[object] = []
    for scene_path in sorted(recordings.glob("*.json")):
        rows = list(read_rows(scene_path.with_suffix(".jsonl.gz")))
        scene = json.loads(scene_path.read_text())
        found += replay_keda("x", scene, rows, operator=operator).differences
    return found


def test_a_query_that_is_made_again_counts_once_there(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
):
    assert not replay_folder_with(recordings, KedaOperator)
    monkeypatch.setattr(keda, "without_retried", list)
    assert replay_folder_with(recordings, KedaOperator)


def test_a_failing_query_that_is_made_again_counts_once():
    queries = [
        {"event": "query", "t": at, "by": by, "served": served}
        for at, by, served in [
            (1.0, "loop", 500),
            (1.1, "loop", 500),
            (1.2, "hpa", 500),
            (1.3, "hpa", "5"),
            (9.0, "loop", 503),
            (20.0, "loop", "7"),
        ]
    ]
    kept = [(row["t"], row["served"]) for row in without_retried(queries)]
    assert kept == [(1.1, 500), (1.3, "5"), (9.0, 503), (20.0, "7")]


def test_the_command_prints_two_rows_a_recording(
    recordings: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["keda", str(recordings), "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0] == {"name": "cached/keda", "syncs": 43, "equal": 43}
