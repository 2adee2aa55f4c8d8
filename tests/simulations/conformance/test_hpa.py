"""The HPA baseline on every recorded sync of the real controller, and with each rule turned off.

The recordings are those of Kubernetes v1.36.3 (see `FIXTURES`); a rule that no recording needs
could be wrong without anybody noticing, so each is taken away in turn and must be missed.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from simulations.conformance.__main__ import main
from simulations.conformance.hpa import replay_folder
from simulations.hpa.metrics import MetricSide, PodView, Scale
from tests.require import fixtures_folder


@pytest.fixture(scope="module")
def recordings() -> Path:
    return fixtures_folder() / "hpa"


@pytest.mark.slow
def test_every_recorded_sync_is_answered_as_the_real_controller_did(recordings: Path):
    rows = list(replay_folder(recordings))
    assert sum(row.syncs for row in rows) >= 5000
    assert {row.name: row.differences for row in rows if row.differences} == {}


class ToleranceOfSpec(MetricSide):
    def average_value(self, metric, usage, scale, tolerance):
        answer = super().average_value(metric, usage, scale, tolerance)
        ratio = usage / max(1, metric.target * scale.status_replicas)
        return scale.spec_replicas if tolerance.holds(ratio) else answer


class NegativeSumAtFaceValue(MetricSide):
    def external_sum(self, _metric, values_milli):
        return sum(values_milli)


class ReadyWithoutDeleting(MetricSide):
    def multiplier(self, scale: Scale) -> int:
        return scale.spec_replicas


class MeansNotCut(MetricSide):
    def cut(self, total: int, count: int) -> float:
        return total / count


class DeletingPodsCount(MetricSide):
    def is_ignored(self, _pod: PodView) -> bool:
        return False


class GhostsLeftOut(MetricSide):
    def usage_ratio(self, metric, samples, scale):
        known = {pod: value for pod, value in samples.items() if pod in scale.pods}
        return super().usage_ratio(metric, known, scale)


class MissingPodsLeftOut(MetricSide):
    def filled(self, *_):
        return {}


class MissingAtOneAreIdle(MetricSide):
    def filled(self, metric, missing, ratio, scale):
        return super().filled(metric, missing, ratio if ratio != 1.0 else 1.0000001, scale)


class CpuOfTheStartCounts(MetricSide):
    def cpu_unready(self, *_):
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    "without",
    [
        ToleranceOfSpec,
        NegativeSumAtFaceValue,
        ReadyWithoutDeleting,
        MeansNotCut,
        DeletingPodsCount,
        GhostsLeftOut,
        MissingPodsLeftOut,
        MissingAtOneAreIdle,
        CpuOfTheStartCounts,
    ],
)
def test_each_rule_of_the_metric_side_is_needed(
    recordings: Path, without: Callable[[], MetricSide]
):
    differences = [d for row in replay_folder(recordings, side=without) for d in row.differences]
    assert differences


@pytest.mark.slow
def test_the_command_prints_a_row_a_recording(recordings: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["hpa", str(recordings)]) == 0
    assert "keda-azure" in capsys.readouterr().out


def test_a_folder_without_recordings_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["hpa", str(tmp_path)]) == 2
    assert "no recording" in capsys.readouterr().err
