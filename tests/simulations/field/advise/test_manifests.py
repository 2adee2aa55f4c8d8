"""HPAs and ScaledObjects as users write them."""

from __future__ import annotations

import re

import pytest
import yaml

from autoscaler.errors import SettingsError
from simulations.field.advise.scalers.manifests import (
    deployment_of,
    read_manifests,
    scaler_of,
    scalers_among,
    scalers_of,
)
from simulations.field.capture.signals import Subject
from simulations.peers.hpa.spec import MetricKind, TargetKind

HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: llama, namespace: serving}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  minReplicas: 2
  maxReplicas: 8
  metrics:
  - type: Pods
    pods:
      metric: {name: "vllm:num_requests_running"}
      target: {type: AverageValue, averageValue: "20"}
  - type: External
    external:
      metric: {name: vllm_num_requests_waiting}
      target: {type: Value, value: 500m}
"""
SCALED_OBJECT = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: llama, namespace: serving}
spec:
  scaleTargetRef: {name: llama}
  minReplicaCount: 1
  maxReplicaCount: 6
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
  triggers:
  - type: prometheus
    metadata:
      serverAddress: http://prometheus:9090
      query: sum(vllm:num_requests_waiting{model_name="m"})
      threshold: "5"
"""


def changed(text: str, **spec: object) -> dict:
    manifest = yaml.safe_load(text)
    manifest["spec"] |= spec
    return manifest


def test_an_hpa_is_read_with_its_metrics():
    scaler = scaler_of(yaml.safe_load(HPA))
    assert (scaler.name, scaler.target, scaler.reason) == ("HPA serving/llama", "llama", "")
    assert scaler.policy is not None
    spec = scaler.policy.spec
    assert (spec.min_replicas, spec.max_replicas) == (2, 8)
    assert [(m.kind, m.target_kind, m.target) for m in spec.metrics] == [
        (MetricKind.PODS, TargetKind.AVERAGE_VALUE, 20_000),
        (MetricKind.EXTERNAL, TargetKind.VALUE, 500),
    ]


def test_a_scaled_object_is_read_with_its_behavior():
    scaler = scaler_of(yaml.safe_load(SCALED_OBJECT))
    assert scaler.policy is not None
    spec = scaler.policy.spec
    assert (spec.min_replicas, spec.max_replicas, spec.metrics[0].target) == (1, 6, 5_000)
    assert spec.behavior is not None
    assert spec.behavior.scale_down is not None
    assert spec.behavior.scale_down.stabilization_window_s == 60


def paused(annotation: str, value: str) -> dict:
    manifest = yaml.safe_load(SCALED_OBJECT)
    manifest["metadata"]["annotations"] = {annotation: value}
    return manifest


def test_an_annotation_that_pauses_nothing_is_none():
    for value in ("false", ""):
        assert scaler_of(paused("autoscaling.keda.sh/paused", value)).policy is not None


CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}
CRON = {"type": "cron", "metadata": {"timezone": "UTC"}}


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (changed(HPA, metrics=[CPU]), r"Resource metric \(cpu\)"),
        (changed(HPA, metrics=[]), "no metrics, which means CPU"),
        (changed(HPA, metrics=[{"type": "Pods"}]), "not what the API accepts"),
        (changed(HPA, metrics="many"), "not what the API accepts|is not modelled"),
        ({**yaml.safe_load(HPA), "apiVersion": "autoscaling/v1"}, "autoscaling/v2"),
        ({"kind": "HorizontalPodAutoscaler"}, "apiVersion"),
        (changed(SCALED_OBJECT, triggers=[CRON]), "type 'cron'"),
        (changed(SCALED_OBJECT, initialCooldownPeriod=60), "initialCooldownPeriod is not modelled"),
        (paused("autoscaling.keda.sh/paused-replicas", "3"), "paused-replicas pauses it"),
        (paused("autoscaling.keda.sh/paused", "true"), "keda.sh/paused pauses it"),
        ({"kind": "ScaledObject", "spec": {}}, "not what the API accepts"),
    ],
)
def test_what_cannot_be_replayed_says_why(manifest, reason):
    scaler = scaler_of(manifest)
    assert scaler.policy is None
    assert re.search(reason, scaler.reason), scaler.reason


def test_lists_are_opened_and_what_keda_owns_is_left_to_keda(tmp_path):
    owned = yaml.safe_load(HPA)
    owned["metadata"]["ownerReferences"] = [{"kind": "ScaledObject", "name": "llama"}]
    items = [owned, yaml.safe_load(SCALED_OBJECT), {"kind": "Pod"}, None]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump({"kind": "List", "items": items}))
    assert [manifest["kind"] for manifest in read_manifests([path])] == ["ScaledObject"]
    assert list(scalers_among([None, "text", 3])) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("kind: Deployment\n", "none of them a HorizontalPodAutoscaler"),
        ("a: [", "give a YAML file"),
        (b"\xff\xfe\x00", "give a YAML file"),
    ],
)
def test_a_file_without_any_says_what_was_found(tmp_path, content, message):
    path = tmp_path / "scalers.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=message):
        read_manifests([path])


PODS = ("llama-6f7c9d8b5-aaaaa", "llama-6f7c9d8b5-bbbbb")
MINE = Subject(model_name="m", namespace="serving")


@pytest.mark.parametrize(
    ("rule", "pods", "subject", "alone", "found"),
    [
        ("by its pods", PODS, Subject(model_name="x", namespace="serving"), False, 1),
        ("by the query", (), MINE, False, 1),
        ("alone", (), Subject(model_name="x", namespace="serving"), True, 1),
        ("not in another namespace", PODS, Subject(model_name="m", namespace="other"), True, 0),
        ("not by a longer name", ("llama-70b-6f7c9d8b5-aaaaa",), MINE, False, 1),
        (
            "nor by chance",
            ("llama-70b-6f7c9d8b5-aaaaa",),
            Subject(model_name="x", namespace="serving"),
            False,
            0,
        ),
    ],
)
def test_a_scaler_finds_its_model(rule, pods, subject, alone, found):
    scalers = [scaler_of(yaml.safe_load(SCALED_OBJECT))]
    assert len(scalers_of(scalers, subject, pods, alone=alone)) == found, rule


@pytest.mark.parametrize(
    ("pods", "deployment"),
    [
        (PODS, "llama"),
        ((), None),
        (("web-0", "web-1"), None),
        ((*PODS, "other-6f7c9d8b5-ccccc"), None),
    ],
)
def test_a_deployment_is_told_by_its_pods(pods, deployment):
    assert deployment_of(pods) == deployment
