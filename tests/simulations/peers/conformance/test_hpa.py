"""The HPA baseline on every recorded sync of the real controller, and with each rule turned off.

The recordings are those of Kubernetes v1.36.3 (see `FIXTURES`); a rule that no recording needs
could be wrong without anybody noticing, so each is taken away in turn and must be missed.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.core.contract.spec import ScalingRules
from simulations.peers.conformance import hpa as conformance
from simulations.peers.conformance.__main__ import main
from simulations.peers.conformance.hpa import replay_folder
from simulations.peers.hpa.controller import HpaController
from simulations.peers.hpa.metrics import MetricSide, PodPhase, PodView, Scale, Tolerance
from simulations.peers.hpa.quantities import milli
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


class ReadinessCounts(MetricSide):
    def average_value(self, metric, usage, scale, tolerance):
        counted = replace(scale, status_replicas=scale.ready_pods)
        return super().average_value(metric, usage, counted, tolerance)


class EdgesAreOutside(MetricSide):
    def proposal(self, metric, reading, scale, tolerance):
        inside = Tolerance(up=tolerance.up - 1e-9, down=tolerance.down - 1e-9)
        return super().proposal(metric, reading, scale, inside)


class SpecTimesRatio(MetricSide):
    def multiplier(self, scale: Scale) -> int:
        return scale.spec_replicas


class ValueToleranceOfReady(MetricSide):
    def value(self, metric, usage, scale, tolerance):
        if tolerance.holds(usage / metric.target):
            return scale.ready_pods
        return super().value(metric, usage, scale, tolerance)


class NoReadyPodsAreOne(MetricSide):
    def multiplier(self, scale: Scale) -> int:
        return max(1, scale.ready_pods)


class MeansNotCut(MetricSide):
    def cut(self, total: int, count: int) -> float:
        return total / count


class DeletingPodsCount(MetricSide):
    def is_ignored(self, pod: PodView) -> bool:
        return pod.phase is PodPhase.FAILED


class FailedPodsCount(MetricSide):
    def is_ignored(self, pod: PodView) -> bool:
        return pod.deleting


class PendingPodsLeftOut(MetricSide):
    def groups(self, *arguments):
        groups = super().groups(*arguments)
        return replace(groups, ignored=groups.ignored | groups.unready, unready=frozenset())


class PendingPodsAreMissing(MetricSide):
    def groups(self, *arguments):
        groups = super().groups(*arguments)
        return replace(groups, missing=groups.missing | groups.unready, unready=frozenset())


class NoSampleIsOnTarget(MetricSide):
    def usage_ratio(self, metric, samples, scale):
        return super().usage_ratio(metric, samples, scale) if samples else 1.0


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
        ReadinessCounts,
        EdgesAreOutside,
        SpecTimesRatio,
        ValueToleranceOfReady,
        NoReadyPodsAreOne,
        MeansNotCut,
        DeletingPodsCount,
        FailedPodsCount,
        PendingPodsLeftOut,
        PendingPodsAreMissing,
        NoSampleIsOnTarget,
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


class WindowsIncludeTheirEnd(HpaController):
    """As if syncs were 15 s apart to the microsecond, and an age equal to the window were inside."""

    def sync(self, scale, readings):
        behavior = self.spec.behavior
        if behavior is not None:
            longer = replace(
                behavior,
                scale_up=a_second_longer(behavior.scale_up),
                scale_down=a_second_longer(behavior.scale_down),
            )
            self.spec = replace(self.spec, behavior=longer)
        return super().sync(scale, readings)


def a_second_longer(rules: ScalingRules | None) -> ScalingRules | None:
    if rules is None:
        return None
    window = rules.stabilization_window_s
    policies = rules.policies
    return replace(
        rules,
        stabilization_window_s=window + 1 if window else window,
        policies=policies and tuple(replace(p, period_s=p.period_s + 1) for p in policies),
    )


class FailedSyncsAreRemembered(HpaController):
    def sync(self, scale, readings):
        answer = super().sync(scale, readings)
        if readings is not None and answer.proposal is None:
            self.memory.recommendations.append((scale.at, scale.spec_replicas))
        return answer


class OneOfTwoMayLower(HpaController):
    def _proposal(self, scale, readings):
        # nothing is below 0, so that whatever one of them says is taken
        return super()._proposal(replace(scale, spec_replicas=0), readings)


class OutsideTheBoundsIsRemembered(HpaController):
    def sync(self, scale, readings):
        answer = super().sync(scale, readings)
        if answer.replicas != scale.spec_replicas and answer.proposal is None:
            self.memory.recommendations.append((scale.at, answer.replicas))
        return answer


class OutsideTheBoundsIsNoEvent(HpaController):
    def rescaled(self, *, at, before, after):
        if self.spec.min_replicas <= before <= self.spec.max_replicas:
            super().rescaled(at=at, before=before, after=after)


class BeginsWithoutMemory(HpaController):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.memory.recommendations.clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    "without",
    [
        WindowsIncludeTheirEnd,
        FailedSyncsAreRemembered,
        OneOfTwoMayLower,
        OutsideTheBoundsIsRemembered,
        OutsideTheBoundsIsNoEvent,
        BeginsWithoutMemory,
    ],
)
def test_each_rule_of_the_memory_is_needed(recordings: Path, without: type[HpaController]):
    rows = replay_folder(recordings, controller=without)
    assert [difference for row in rows for difference in row.differences]


@pytest.mark.slow
def test_ready_pods_that_are_deleted_count(recordings: Path, monkeypatch: pytest.MonkeyPatch):
    whole = conformance.scale_of

    def without_deleting(row, requests):
        scale = whole(row, requests)
        return replace(scale, ready_pods=scale.ready_pods - row["ready_deleting"])

    monkeypatch.setattr(conformance, "scale_of", without_deleting)
    assert [difference for row in replay_folder(recordings) for difference in row.differences]


@pytest.mark.slow
def test_quantities_are_rounded_up(recordings: Path, monkeypatch: pytest.MonkeyPatch):
    def to_the_nearest(quantity: str) -> int:
        up = milli(quantity)
        whole = quantity.removesuffix("u")
        return up if whole == quantity else math.floor(int(whole) / 1000 + 0.5)

    monkeypatch.setattr(conformance, "milli", to_the_nearest)
    assert [difference for row in replay_folder(recordings) for difference in row.differences]


@pytest.mark.slow
def test_the_command_prints_a_row_a_recording(recordings: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["hpa", str(recordings)]) == 0
    assert "keda-azure" in capsys.readouterr().out


def test_a_folder_without_recordings_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["hpa", str(tmp_path)]) == 2
    assert "no recording" in capsys.readouterr().err
