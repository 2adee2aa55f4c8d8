from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.core.contract.spec import (
    Behavior,
    ForecastMode,
    Mode,
    Pause,
    PolicyType,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
)
from autoscaler.core.contract.state import CapacityType
from autoscaler.settings import (
    EngineType,
    MetricsSource,
    SpecError,
    load_config,
    metrics_settings,
    to_core,
    to_fleet,
)

WHOLE = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: InferenceAutoscaler
metadata: {name: llama-70b, namespace: serving}
spec:
  modelNames: [llama-70b]
  engine: VLLM
  mode: Active
  metrics:
    source: Pods
    port: 8000
    path: /metrics
    periodSeconds: 5
    deadlineSeconds: 10
    scheme: HTTP
    prometheus: {server: main, matchers: {cluster: eu-1}}
  pools:
  - name: spot
    scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-70b-spot}
    capacityType: Spot
    priceUSDPerHour: "4.90"
  - name: on-demand
    scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-70b}
    capacityType: OnDemand
    priceUSDPerHour: "14.00"
  minReplicas: 1
  maxReplicas: 10
  warmFloor: {replicas: 1, capacityType: OnDemand}
  objective: {timeToFirstTokenMilliseconds: 2000, timePerOutputTokenMilliseconds: 100, attainmentPercent: "99.5"}
  targets: {inFlightRequestsPerReplica: 32, waitingRequestsPerReplica: 5, kvCacheUsagePercent: 80}
  coldStart: {priorSeconds: 180}
  forecast: {mode: Auto}
  behavior: {}
  spot: {onDemandFallback: Enabled, returnAfterSeconds: 300, drainMarginSeconds: 10}
  priority: 0
"""
"""The resource as the design has it."""


def document(**spec: Any) -> dict[str, Any]:
    """The least that acts, with `spec` over it; a value of None takes a field away."""
    whole = {
        "pools": [{"name": "main", "scaleTargetRef": {"name": "llama"}}],
        "mode": "Active",
        **spec,
    }
    return {
        "apiVersion": "inference-autoscaler.dev/v1alpha1",
        "kind": "InferenceAutoscaler",
        "metadata": {"name": "llama", "namespace": "serving"},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


def test_who_says_nothing_of_its_mode_is_not_acted_on(tmp_path):
    (resource,) = load_config(write(tmp_path, document(mode=None))).resources
    assert to_core(resource).mode is Mode.OBSERVE


def write(folder: Path, *documents: Any, name: str = "config.yaml") -> Path:
    path = folder / name
    texts = [d if isinstance(d, str) else yaml.safe_dump(d) for d in documents]
    path.write_text("---\n".join(texts))
    return path


def problems(folder: Path, *documents: Any) -> list[tuple[str, str, str]]:
    """Each problem of these documents: (path within the document, found, remedy)."""
    path = write(folder, *documents)
    with pytest.raises(SpecError) as caught:
        load_config(path)
    prefix = f"{path}: "
    assert all(each.path.startswith(str(path)) for each in caught.value.problems)
    return [
        (each.path.removeprefix(prefix).partition(": ")[2], each.found, each.remedy)
        for each in caught.value.problems
    ]


def one_model(folder: Path, **spec: Any):
    (resource,) = load_config(write(folder, document(**spec))).resources
    return to_core(resource)


# -- what is valid


def test_the_whole_resource_converts(tmp_path):
    (resource,) = load_config(write(tmp_path, WHOLE)).resources
    model = to_core(resource)
    assert model.key == "serving/llama-70b"
    assert [(pool.name, pool.capacity_type) for pool in model.pools] == [
        ("spot", CapacityType.SPOT),
        ("on-demand", CapacityType.ON_DEMAND),
    ]
    assert [pool.price_usd_per_hour for pool in model.pools] == [4.9, 14.0]
    assert str(model.pools[0].target) == "Deployment/serving/llama-70b-spot"
    assert (model.min_replicas, model.max_replicas) == (1, 10)
    assert (model.warm_floor.replicas, model.warm_floor.capacity_type) == (
        1,
        CapacityType.ON_DEMAND,
    )
    assert (model.objective.ttft_s, model.objective.tpot_s) == (2.0, 0.1)
    assert model.objective.attainment_ratio == pytest.approx(0.995)
    assert model.targets.in_flight_requests == 32.0
    assert model.targets.kv_usage_ratio == 0.8
    assert model.cold_start_prior_s == 180.0
    assert model.behavior is None  # `{}` is: not given
    assert model.spot.on_demand_fallback
    assert (model.spot.return_after_s, model.spot.drain_margin_s) == (300.0, 10.0)
    assert model.sample_age_s_max == 20.0


def test_defaults_are_those_of_the_core(tmp_path):
    from autoscaler.core.contract.spec import Objective, Spot, Targets, WarmFloor

    model = one_model(tmp_path)
    assert (model.mode, model.pause, model.forecast_mode) == (
        Mode.ACTIVE,
        Pause.NO,
        ForecastMode.AUTO,
    )
    assert model.objective == Objective()
    assert model.targets == Targets()
    assert model.spot == Spot()
    assert model.warm_floor == WarmFloor()
    assert model.pools[0].capacity_type is CapacityType.ON_DEMAND
    assert model.pools[0].price_usd_per_hour is None


def test_behavior_is_hpas_block(tmp_path):
    behavior = {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {
            "stabilizationWindowSeconds": 600,
            "selectPolicy": "Min",
            "tolerance": "0.05",
            "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
        },
    }
    assert one_model(tmp_path, behavior=behavior).behavior == Behavior(
        scale_up=ScalingRules(stabilization_window_s=0),
        scale_down=ScalingRules(
            stabilization_window_s=600,
            select_policy=SelectPolicy.MIN,
            tolerance_ratio=0.05,
            policies=(ScalingPolicy(type=PolicyType.PERCENT, value=10, period_s=60),),
        ),
    )


@pytest.mark.parametrize(
    ("annotation", "pause"),
    [
        ("true", Pause.ALL),
        ("scale-down", Pause.SCALE_DOWN),
        ("scale-up", Pause.SCALE_UP),
        ("false", Pause.NO),
    ],
)
def test_pausing_is_an_annotation(tmp_path, annotation, pause):
    made = document()
    made["metadata"]["annotations"] = {"inference-autoscaler.dev/paused": annotation, "other": "x"}
    (resource,) = load_config(write(tmp_path, made)).resources
    assert to_core(resource).pause is pause


@pytest.mark.parametrize(
    ("written", "value"),
    [('"4.90"', 4.9), ("5", 5.0), ('"5"', 5.0), ('"4900m"', 4.9), ('"0.25"', 0.25)],
)
def test_quantities(tmp_path, written, value):
    text = yaml.safe_dump(document()).replace(
        "name: main\n", f"name: main\n    priceUSDPerHour: {written}\n"
    )
    (resource,) = load_config(write(tmp_path, text)).resources
    assert to_core(resource).pools[0].price_usd_per_hour == pytest.approx(value)


def test_off_without_quotes_is_a_word(tmp_path):
    """YAML 1.1 reads it as false."""
    text = yaml.safe_dump(document(mode=None)) + "  forecast: {mode: Off}\n  mode: Observe\n"
    (resource,) = load_config(write(tmp_path, text)).resources
    model = to_core(resource)
    assert model.forecast_mode is ForecastMode.OFF
    assert model.mode is Mode.OBSERVE


def test_what_the_api_server_shows_can_be_used_as_a_file(tmp_path):
    shown = document()
    shown["metadata"] |= {
        "uid": "x",
        "resourceVersion": "12",
        "generation": 7,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{}],
        "labels": {"a": "b"},
        "finalizers": [],
    }
    shown["status"] = {"desiredReplicas": 3}
    listing = {"apiVersion": "v1", "kind": "List", "items": [shown]}
    (resource,) = load_config(write(tmp_path, listing)).resources
    assert resource.metadata.generation == 7


def test_models_come_in_order_of_their_key(tmp_path):
    b, a = document(), document()
    b["metadata"]["name"] = "b"
    a["metadata"]["name"] = "a"
    a["spec"] = copy.deepcopy(a["spec"])
    a["spec"]["pools"][0]["scaleTargetRef"]["name"] = "other"
    config = load_config(write(tmp_path, b, a))
    fleet = to_fleet(config.resources, gpu_budget=8)
    assert [model.key for model in fleet.models] == ["serving/a", "serving/b"]
    assert fleet.gpu_budget == 8


def test_a_folder_is_all_its_yaml_files_and_no_hidden_ones(tmp_path):
    """As a ConfigMap is mounted: the files are links into `..data`, which is a link too."""
    version = tmp_path / "..2026_01"
    version.mkdir()
    write(version, document(), name="a.yaml")
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "README").write_text("no YAML: [")
    assert len(load_config(tmp_path).resources) == 1


def test_metrics_of_pods(tmp_path):
    (resource,) = load_config(write(tmp_path, WHOLE)).resources
    found = metrics_settings(resource)
    assert (found.source, found.engine) == (MetricsSource.PODS, EngineType.VLLM)
    assert (found.ports, found.path, found.period_s) == ((8000,), "/metrics", 5.0)
    assert (found.scheme, found.deadline_s) == ("http", 10.0)
    assert found.model_names == frozenset({"llama-70b"})


def test_metrics_through_prometheus_have_longer_periods_and_ages(tmp_path):
    metrics = {
        "source": "Prometheus",
        "prometheus": {
            "server": "main",
            "matchers": {"job": "vllm", "cluster": "eu-1"},
        },
    }
    (resource,) = load_config(write(tmp_path, document(metrics=metrics))).resources
    found = metrics_settings(resource)
    assert found.period_s == 15.0
    assert found.server == "main"
    assert found.matchers == (("cluster", "eu-1"), ("job", "vllm"))
    assert found.deadline_s == 30.0
    assert to_core(resource).sample_age_s_max == 60.0


# -- what is not


def test_five_mistakes_are_five_lines(tmp_path):
    made = document(
        minReplicas=12,
        maxReplica=20,
        objective={"attainmentPercent": "99.999"},
        metrics={"port": "8000"},
    )
    made["spec"]["pools"][0]["capacityType"] = "spot"
    path = write(tmp_path, made)
    with pytest.raises(SpecError) as caught:
        load_config(path)
    assert str(caught.value).splitlines() == [
        f'{path}: document 1 (llama): spec.metrics.port: found "8000"; write a whole number, without quotes',
        f'{path}: document 1 (llama): spec.pools[0].capacityType: found "spot"; write one of OnDemand, Spot, Mixed',
        f"{path}: document 1 (llama): spec.objective.attainmentPercent: found 99.999; write at most 99.99",
        f"{path}: document 1 (llama): spec.maxReplica: found a field that is not known; write maxReplicas, or take it away",
        f"{path}: document 1 (llama): spec.minReplicas: found 12, above maxReplicas 10; write at most 10, or raise maxReplicas",
    ]


MISTAKES = [
    pytest.param({"pools": None}, "spec.pools", "nothing", "at least one pool", id="no pools"),
    pytest.param({"pools": []}, "spec.pools", "an empty list", "at least one", id="empty pools"),
    pytest.param({"pools": "x"}, "spec.pools", '"x"', "a list", id="pools that are no list"),
    pytest.param(
        {"pools": [{"name": "a"}]},
        "spec.pools[0].scaleTargetRef",
        "nothing",
        "scaleTargetRef: {",
        id="no target",
    ),
    pytest.param(
        {"pools": [{"name": "A_b", "scaleTargetRef": {"name": "x"}}]},
        "spec.pools[0].name",
        '"A_b"',
        "lower case",
        id="a pool name that is no label",
    ),
    pytest.param(
        {"pools": [{"name": "a", "scaleTargetRef": {"name": "x", "kind": "StatefulSet"}}]},
        "spec.pools[0].scaleTargetRef.kind",
        '"StatefulSet"',
        "write Deployment",
        id="a kind that cannot be scaled",
    ),
    pytest.param(
        {"pools": [{"name": "a", "scaleTargetRef": {"name": "x"}, "priceUSDPerHour": 4.9}]},
        "spec.pools[0].priceUSDPerHour",
        "4.9",
        'in quotes: "4.9"',
        id="a float where a quantity stands",
    ),
    pytest.param(
        {"pools": [{"name": "a", "scaleTargetRef": {"name": "x"}, "priceUSDPerHour": "free"}]},
        "spec.pools[0].priceUSDPerHour",
        '"free"',
        "decimal number",
        id="a quantity that is none",
    ),
    pytest.param(
        {"pools": [{"name": "a", "scaleTargetRef": {"name": "x"}, "priceUSDPerHour": "0"}]},
        "spec.pools[0].priceUSDPerHour",
        '"0"',
        "more than 0",
        id="a price of nothing",
    ),
    pytest.param({"minReplicas": 0}, "spec.minReplicas", "0", "at least 1", id="no replica at all"),
    pytest.param(
        {"maxReplicas": 2.5}, "spec.maxReplicas", "2.5", "whole number", id="half a replica"
    ),
    pytest.param(
        {"minReplicas": 5, "maxReplicas": 3},
        "spec.minReplicas",
        "5, above maxReplicas 3",
        "at most 3",
        id="minimum above maximum",
    ),
    pytest.param(
        {"warmFloor": {"replicas": 11}},
        "spec.warmFloor.replicas",
        "11, above maxReplicas 10",
        "at most 10",
        id="floor above maximum",
    ),
    pytest.param(
        {"warmFloor": {"replicas": 1, "capacityType": "Spot"}},
        "spec.warmFloor.capacityType",
        '"Spot", which no pool has',
        "OnDemand",
        id="a floor without a pool of its type",
    ),
    pytest.param(
        {"objective": {"attainmentPercent": "49"}},
        "spec.objective.attainmentPercent",
        "49",
        "at least 50",
        id="attainment below half",
    ),
    pytest.param(
        {"targets": {"inFlightRequestsPerReplica": "0.05"}},
        "spec.targets.inFlightRequestsPerReplica",
        "0.05",
        "at least 0.1",
        id="a target of hardly any request",
    ),
    pytest.param(
        {"objective": {"attainmentPercent": "100"}},
        "spec.objective.attainmentPercent",
        "100",
        "at most 99.99",
        id="attainment that nothing can have",
    ),
    pytest.param(
        {"forecast": {"mode": False}},
        "spec.forecast.mode",
        "false",
        "Auto, Off",
        id="a boolean for a word",
    ),
    pytest.param(
        {"spot": {"drainMarginSeconds": 130}},
        "spec.spot.drainMarginSeconds",
        "130",
        "at most 100",
        id="a margin longer than any notice",
    ),
    pytest.param(
        {"behavior": {"scaleDown": {"policies": []}}},
        "spec.behavior.scaleDown.policies",
        "an empty list",
        "at least one",
        id="a behavior without policies",
    ),
    pytest.param(
        {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 4000}}},
        "spec.behavior.scaleDown.stabilizationWindowSeconds",
        "4000",
        "at most 3600",
        id="a window longer than HPA's",
    ),
    pytest.param(
        {"behavior": {"scaledown": {}}},
        "spec.behavior.scaledown",
        "not known",
        "write scaleDown",
        id="a misspelt field deep down",
    ),
    pytest.param(
        {"metrics": {"source": "Prometheus"}},
        "spec.metrics.prometheus",
        "nothing, with source Prometheus",
        "server: NAME",
        id="Prometheus without a server",
    ),
    pytest.param(
        {"metrics": {"source": "Prometheus", "prometheus": {}}},
        "spec.metrics.prometheus.server",
        "nothing",
        "--prometheus-server NAME=URL",
        id="a Prometheus without a name",
    ),
    pytest.param(
        {"metrics": {"prometheus": {"server": "p", "serverAddress": "http://h:http"}}},
        "spec.metrics.prometheus.serverAddress",
        "not known",
        "--prometheus-server NAME=URL",
        id="an address, which is its operator's",
    ),
    pytest.param(
        {"metrics": {"prometheus": {"server": "p", "bearerTokenFile": "/var/run/token"}}},
        "spec.metrics.prometheus.bearerTokenFile",
        "not known",
        "token-file=FILE",
        id="a token file, which is its operator's",
    ),
    pytest.param(
        {"metrics": {"prometheus": {"server": "p", "matchers": {"pod": "x"}}}},
        "spec.metrics.prometheus.matchers.pod",
        "asked for anyway",
        "take it away",
        id="a matcher for whose pods they are",
    ),
    pytest.param(
        {"metrics": {"ports": [8000, 8001, 8000]}},
        "spec.metrics.ports",
        "a port twice",
        "once",
        id="a port twice",
    ),
    pytest.param(
        {"metrics": {"port": 8000, "ports": [8000, 8001]}},
        "spec.metrics.ports",
        "beside port",
        "one of them",
        id="port and ports",
    ),
    pytest.param(
        {"metrics": {"ports": [70000]}},
        "spec.metrics.ports[0]",
        "70000",
        "at most 65535",
        id="a port that is none",
    ),
    pytest.param(
        {"metrics": {"scheme": "https"}},
        "spec.metrics.scheme",
        '"https"',
        "HTTP, HTTPS",
        id="a scheme in lower case",
    ),
    pytest.param(
        {"metrics": {"tls": {"insecureSkipVerify": True}}},
        "spec.metrics.tls",
        "with scheme HTTP",
        "scheme: HTTPS",
        id="TLS settings without TLS",
    ),
    pytest.param(
        {"metrics": {"scheme": "HTTPS", "tls": {"ca": "-----BEGIN"}}},
        "spec.metrics.tls.ca",
        "no PEM certificate",
        "BEGIN CERTIFICATE",
        id="a CA that is none",
    ),
    pytest.param(
        {"metrics": {"deadlineSeconds": 0}},
        "spec.metrics.deadlineSeconds",
        "0",
        "at least 1",
        id="a deadline of nothing",
    ),
    pytest.param(
        {"metrics": {"path": "//evil:80/x"}},
        "spec.metrics.path",
        '"//evil:80/x"',
        "one slash",
        id="a path that is a host",
    ),
    pytest.param(
        {"metrics": {"path": "//["}}, "spec.metrics.path", '"//["', "one slash", id="a bracket"
    ),
    pytest.param(
        {"metrics": {"path": "metrics"}}, "spec.metrics.path", '"metrics"', "slash", id="a path"
    ),
    pytest.param(
        {"modelNames": []}, "spec.modelNames", "an empty list", "at least one", id="no names"
    ),
    pytest.param(
        {"engine": "vllm"}, "spec.engine", '"vllm"', "VLLM, TGI, SGLang, RayServe", id="case"
    ),
    pytest.param(
        {"behaviour": {}},
        "spec.behaviour",
        "not known",
        "write behavior",
        id="British spelling",
    ),
    pytest.param(
        {"xyzzy": 1},
        "spec.xyzzy",
        "not known",
        "known here: modelNames, engine",
        id="a stranger",
    ),
]
"""One in a document each: `spec`, and the place, what was found and what to write of its problem."""


@pytest.mark.parametrize(("spec", "where", "found", "remedy"), MISTAKES)
def test_one_mistake_is_one_problem_with_its_remedy(tmp_path, spec, where, found, remedy):
    ((path, what, to_write),) = problems(tmp_path, document(**spec))
    assert path == where
    assert found in what
    assert remedy in to_write


def test_pools_share_neither_name_nor_target(tmp_path):
    pool = {"name": "a", "scaleTargetRef": {"name": "x"}}
    found = problems(tmp_path, document(pools=[pool, pool]))
    assert [(path, remedy) for path, _, remedy in found] == [
        ("spec.pools[1].name", "give each pool a name of its own"),
        ("spec.pools[1].scaleTargetRef", "let each target be scaled by one pool of one model"),
    ]


def test_two_models_do_not_scale_one_target(tmp_path):
    other = document()
    other["metadata"]["name"] = "other"
    ((path, found, _),) = problems(tmp_path, document(), other)
    assert path == "spec.pools[0].scaleTargetRef"
    assert "Deployment/serving/llama, which" in found
    assert "document 1 (llama)" in found


def test_the_same_name_in_two_namespaces_is_two_targets(tmp_path):
    other = document()
    other["metadata"]["namespace"] = "staging"
    assert len(load_config(write(tmp_path, document(), other)).resources) == 2


def test_a_resource_given_twice(tmp_path):
    twice = document(pools=[{"name": "main", "scaleTargetRef": {"name": "other"}}])
    ((path, found, _),) = problems(tmp_path, document(), twice)
    assert path == "metadata.name"
    assert "serving/llama, which" in found


def test_a_pause_that_is_misspelt_is_refused(tmp_path):
    made = document()
    made["metadata"]["annotations"] = {"inference-autoscaler.dev/paused": "yes"}
    ((path, found, remedy),) = problems(tmp_path, made)
    assert path == "metadata.annotations[inference-autoscaler.dev/paused]"
    assert found == '"yes"'
    assert remedy == 'write one of "true", "scale-down", "scale-up", "false"'


def paused_at(replicas: str, *, paused: str | None = "true") -> dict[str, object]:
    made = document(maxReplicas=6)
    annotations = {"inference-autoscaler.dev/paused-replicas": replicas}
    annotations |= {} if paused is None else {"inference-autoscaler.dev/paused": paused}
    made["metadata"]["annotations"] = annotations
    return made


def test_a_pause_may_say_at_how_many(tmp_path):
    (resource,) = load_config(write(tmp_path, paused_at("4"))).resources
    assert (to_core(resource).pause, to_core(resource).paused_replicas) == (Pause.ALL, 4)


@pytest.mark.parametrize(
    ("replicas", "paused", "found", "remedy"),
    [
        ("0", "true", '"0"', "write a whole number of at least 1 in quotes"),
        ("three", "true", '"three"', "write a whole number of at least 1 in quotes"),
        ("7", "true", '"7", above maxReplicas (6)', "write at most as many, or raise maxReplicas"),
        ("3", None, "no pause that it could be the number of", 'paused: "true" beside it'),
        ("3", "scale-up", "no pause that it could be the number of", 'paused: "true" beside it'),
    ],
)
def test_replicas_that_nothing_is_held_at_are_refused(tmp_path, replicas, paused, found, remedy):
    ((path, was_found, was_told),) = problems(tmp_path, paused_at(replicas, paused=paused))
    assert path == "metadata.annotations[inference-autoscaler.dev/paused-replicas]"
    assert found in was_found
    assert remedy in was_told


def test_rules_that_span_fields_are_told_with_the_others(tmp_path):
    """A bad field elsewhere must not hide them until the next attempt."""
    found = problems(tmp_path, document(minReplicas=5, maxReplicas=3, engine="vllm"))
    assert [path for path, _, _ in found] == ["spec.engine", "spec.minReplicas"]


def test_every_document_of_every_file_is_told(tmp_path):
    write(tmp_path, document(engine="a"), document(engine="b"), name="one.yaml")
    write(tmp_path, document(engine="c"), name="two.yaml")
    (tmp_path / "three.yaml").write_text("a: [")
    with pytest.raises(SpecError) as caught:
        load_config(tmp_path)
    engines = [p for p in caught.value.problems if p.path.endswith("spec.engine")]
    assert [p.found for p in engines] == ['"a"', '"b"', '"c"']
    assert any("three.yaml: line 1" in p.path for p in caught.value.problems)


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        pytest.param("", "", "no document", id="empty"),
        pytest.param("---\n---\n# nothing\n", "", "no document", id="only comments"),
        pytest.param("a: 1\na: 2\n", ": line 2", "the key 'a' twice", id="a key twice"),
        pytest.param("a: [1\nb: 2\n", ": line 2", "expected ',' or ']'", id="broken flow"),
        pytest.param("a: b: c\n", ": line 1", "mapping values are not allowed", id="two colons"),
        pytest.param("a: \x00\n", ": line 1", "the character", id="a NUL"),
        pytest.param("\ta: 1\n", ": line 1", "cannot start any token", id="a tab"),
        pytest.param("- a\n- b\n", ": document 1", "a list", id="a list"),
        pytest.param("hello\n", ": document 1", '"hello"', id="a word"),
        pytest.param("kind: Deployment\n", ": document 1: kind", '"Deployment"', id="another kind"),
        pytest.param(
            "kind: InferenceAutoscaler\na: &x [*x]\n",
            ": line 2",
            "contains itself",
            id="contains itself",
        ),
    ],
)
def test_what_is_no_configuration(tmp_path, text, where, found):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_config(path)
    first = caught.value.problems[0]
    assert first.path == f"{path}{where}"
    assert found in first.found


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="no UTF-8 at byte 0"):
        load_config(tmp_path / "binary.yaml")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SpecError, match=r"without a \.yaml"):
        load_config(tmp_path / "folder")


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], {}, [1], [{}], [[]], {"a": {}}, True, 1.5], ids=repr
)
@pytest.mark.parametrize(
    "field",
    [
        "metadata",
        "spec",
        "pools",
        "warmFloor",
        "metrics",
        "behavior",
        "capacityType",
        "annotations",
    ],
)
def test_any_type_anywhere_is_told_and_never_raises_otherwise(tmp_path, field, value):
    made = document(warmFloor={"replicas": 1, "capacityType": "OnDemand"})
    if field in ("metadata", "spec"):
        made[field] = value
    elif field == "capacityType":
        made["spec"]["warmFloor"]["capacityType"] = value
        made["spec"]["pools"][0]["capacityType"] = value
    elif field == "annotations":
        made["metadata"]["annotations"] = value
    else:
        made["spec"][field] = value
    path = write(tmp_path, made)
    with contextlib.suppress(SpecError):
        load_config(path)
