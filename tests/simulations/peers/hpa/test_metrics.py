"""The metric side of an HPA, worked by hand: one row a rule."""

import math
from typing import Any

import pytest

from simulations.peers.hpa.metrics import (
    INT32_MAX,
    MetricReading,
    MetricSide,
    PodPhase,
    PodView,
    Scale,
    Tolerance,
)
from simulations.peers.hpa.spec import MetricKind, MetricSpec, TargetKind

TEN_PER_CENT = Tolerance(up=0.1, down=0.1)
READY = PodView(phase=PodPhase.READY)
STARTING = PodView(phase=PodPhase.RUNNING)
PENDING = PodView(phase=PodPhase.PENDING)
FAILED = PodView(phase=PodPhase.FAILED)
LEAVING = PodView(phase=PodPhase.READY, deleting=True)


def scale(*, spec: int = 4, pods: dict[str, PodView] | None = None, **changes: Any) -> Scale:
    fields = {
        "at": 1000.0,
        "spec_replicas": spec,
        "status_replicas": spec,
        "ready_pods": spec,
        "pod_count": spec,
        "pods": pods or {},
    }
    return Scale(**(fields | changes))


def total(kind: MetricKind, target_kind: TargetKind, target: float) -> MetricSpec:
    return MetricSpec(kind=kind, target_kind=target_kind, target=round(target * 1000))


EXTERNAL_AVERAGE = total(MetricKind.EXTERNAL, TargetKind.AVERAGE_VALUE, 5)
OBJECT_AVERAGE = total(MetricKind.OBJECT, TargetKind.AVERAGE_VALUE, 5)
EXTERNAL_VALUE = total(MetricKind.EXTERNAL, TargetKind.VALUE, 10)


@pytest.mark.parametrize(
    ("rule", "metric", "values", "at", "expected"),
    [
        ("the total over the target, rounded up", EXTERNAL_AVERAGE, [26.0], scale(), 6),
        ("items are summed", EXTERNAL_AVERAGE, [20.0, 20.0], scale(), 8),
        ("1.1 is inside the tolerance", EXTERNAL_AVERAGE, [22.0], scale(), 4),
        ("just above is not", EXTERNAL_AVERAGE, [22.001], scale(), 5),
        ("0.9 is inside", EXTERNAL_AVERAGE, [18.0], scale(), 4),
        ("inside: status, not spec", EXTERNAL_AVERAGE, [20.0], scale(spec=3, status_replicas=4), 4),
        ("readiness plays no part", EXTERNAL_AVERAGE, [40.0], scale(ready_pods=0), 8),
        ("no replicas and some load", EXTERNAL_AVERAGE, [11.0], scale(status_replicas=0), 3),
        ("no replicas and no load", EXTERNAL_AVERAGE, [0.0], scale(status_replicas=0), 0),
        ("a negative running sum goes up", EXTERNAL_AVERAGE, [-1.0, 3.0], scale(), INT32_MAX),
        ("an Object has no such guard", OBJECT_AVERAGE, [-10.0], scale(), -2),
        ("Value: times the ready pods", EXTERNAL_VALUE, [25.0], scale(ready_pods=2), 5),
        ("Value, inside: spec", EXTERNAL_VALUE, [10.5], scale(status_replicas=9), 4),
        ("Value, none ready: zero", EXTERNAL_VALUE, [25.0], scale(ready_pods=0), 0),
        (
            "Value, no pods: an error",
            EXTERNAL_VALUE,
            [25.0],
            scale(ready_pods=0, pod_count=0),
            None,
        ),
        ("Value takes a negative at face value", EXTERNAL_VALUE, [-5.0], scale(), -2),
        ("an empty list is an error", EXTERNAL_AVERAGE, [], scale(), None),
        ("no answer is an error", EXTERNAL_AVERAGE, None, scale(), None),
    ],
)
def test_totals(rule: str, metric: MetricSpec, values: list[float] | None, at: Scale, expected):
    reading = MetricReading(
        values_milli=None if values is None else tuple(round(v * 1000) for v in values)
    )
    assert MetricSide().proposal(metric, reading, at, TEN_PER_CENT) == expected, rule


PODS = total(MetricKind.PODS, TargetKind.AVERAGE_VALUE, 10)


def fleet(**pods: PodView) -> Scale:
    return scale(spec=len(pods), pods=pods)


@pytest.mark.parametrize(
    ("rule", "samples", "at", "expected"),
    [
        ("the mean over the target times pods", {"a": 20, "b": 10}, fleet(a=READY, b=READY), 3),
        ("inside the tolerance: spec", {"a": 11, "b": 11}, fleet(a=READY, b=READY), 2),
        # 11.0005 is cut to 11.000 milli-units exactly: still inside
        ("means are cut to milli-units", {"a": 11, "b": 11.001}, fleet(a=READY, b=READY), 2),
        # up: b counts as 0, so 30 over 2 pods asks for 3 rather than 6
        ("a missing pod is idle on the way up", {"a": 30}, fleet(a=READY, b=READY), 3),
        ("… which may not turn the answer round", {"a": 15}, fleet(a=READY, b=READY), 2),
        # down: b counts as 10, so the mean is 6 and not 2
        ("a missing pod is on target on the way down", {"a": 2}, fleet(a=READY, b=READY), 2),
        ("at a ratio of exactly 1 it is left out", {"a": 10}, fleet(a=READY, b=READY), 2),
        ("a pending pod damps the way up", {"a": 30}, fleet(a=READY, b=PENDING), 3),
        ("… but not the way down", {"a": 2}, fleet(a=READY, b=PENDING), 1),
        ("its sample does not count", {"a": 2, "b": 99}, fleet(a=READY, b=PENDING), 1),
        (
            "a pod that is not ready but reports counts",
            {"a": 30, "b": 30},
            fleet(a=READY, b=STARTING),
            6,
        ),
        ("deleting pods are left out", {"a": 10, "b": 90}, fleet(a=READY, b=LEAVING), 2),
        ("failed pods are left out", {"a": 30, "b": 90}, fleet(a=READY, b=FAILED), 3),
        # ghost g counts in the mean (20) but not in the pod count (1)
        ("samples of pods that are gone count in the mean", {"a": 10, "g": 30}, fleet(a=READY), 2),
        ("no sample that counts is an error", {"b": 5}, fleet(a=READY, b=PENDING), None),
        ("no samples is an error", {}, fleet(a=READY), None),
        ("no pods is an error", {"g": 5}, fleet(), None),
    ],
)
def test_pods(rule: str, samples: dict[str, float], at: Scale, expected: int | None):
    reading = MetricReading(pods_milli={pod: round(value * 1000) for pod, value in samples.items()})
    assert MetricSide().proposal(PODS, reading, at, TEN_PER_CENT) == expected, rule


CPU = MetricSpec(
    kind=MetricKind.RESOURCE, target_kind=TargetKind.UTILIZATION, target=60, resource="cpu"
)


def cpu_pod(phase: PodPhase = PodPhase.READY, *, age: float = 900, ready_for: float = 800):
    return PodView(
        phase=phase,
        start_at=1000.0 - age,
        ready_change_at=1000.0 - ready_for,
        request_milli={"cpu": 100},
    )


@pytest.mark.parametrize(
    ("rule", "samples", "at", "expected"),
    [
        (
            "usage over requests, in per cent",
            {"a": 90, "b": 90},
            fleet(a=cpu_pod(), b=cpu_pod()),
            3,
        ),
        (
            "utilization is cut: 66.9 % is 66 %",
            {"a": 66, "b": 67},
            fleet(a=cpu_pod(), b=cpu_pod()),
            2,
        ),
        (
            "a young pod that is not ready damps the way up",
            {"a": 120, "b": 200},
            fleet(a=cpu_pod(), b=cpu_pod(PodPhase.RUNNING, age=60, ready_for=60)),
            2,
        ),
        (
            "a young ready pod counts once its sample is past its readiness by a window",
            {"a": 90, "b": 90},
            fleet(a=cpu_pod(), b=cpu_pod(age=200, ready_for=100)),
            3,
        ),
        (
            "… and not before",
            {"a": 90, "b": 90},
            fleet(a=cpu_pod(), b=cpu_pod(age=200, ready_for=10)),
            2,
        ),
        (
            "an old pod that was never ready is unready",
            {"a": 120, "b": 200},
            fleet(a=cpu_pod(), b=cpu_pod(PodPhase.RUNNING, age=900, ready_for=899)),
            2,
        ),
        (
            "an old pod that lost its readiness counts",
            {"a": 120, "b": 120},
            fleet(a=cpu_pod(), b=cpu_pod(PodPhase.RUNNING, age=900, ready_for=300)),
            4,
        ),
        # down: the missing one counts as 100 % of its request: (10 + 100) / 2 = 55 % of 60 %
        ("a missing pod is busy on the way down", {"a": 10}, fleet(a=cpu_pod(), b=cpu_pod()), 2),
    ],
)
def test_cpu_utilization(rule: str, samples: dict[str, int], at: Scale, expected: int | None):
    reading = MetricReading(pods_milli=samples, sampled_at=995.0, window_s=15.0)
    assert MetricSide().proposal(CPU, reading, at, TEN_PER_CENT) == expected, rule


@pytest.mark.parametrize("ratio", [math.nan, math.inf, -math.inf])
def test_no_tolerance_holds_what_is_no_number(ratio: float):
    assert not TEN_PER_CENT.holds(ratio)
