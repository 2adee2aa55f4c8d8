"""A first resource: what a Deployment tells, its twins, and what is written of them."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.state import CapacityType
from autoscaler.errors import SettingsError
from autoscaler.kube.first_resource.draft import FirstResource, first_resource, with_starts
from autoscaler.kube.first_resource.namespace_read import NamespaceRead, namespace_of_manifests
from autoscaler.kube.first_resource.resource_text import notes_of, resource_text
from autoscaler.kube.first_resource.served import served_by
from autoscaler.kube.first_resource.starts import StartsSeen
from autoscaler.settings import EngineType
from tests.kube.soundness.targets import OFF_SPOT, Json, affinity, changed, sound

ON_SPOT = affinity({"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]})
ON_BOTH = affinity(
    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]}
)


def target(name: str = "llama", *, labels: Json | None = None, **changes: Any) -> Json:
    """The sound Deployment under another name, with other fields of its container or pod."""
    pod = {
        key: changes.pop(key)
        for key in ("affinity", "tolerations", "nodeSelector")
        if key in changes
    }
    spec = {key: changes.pop(key) for key in ("replicas",) if key in changes}
    item = changed(container=changes, pod=pod, spec=spec)
    item["metadata"]["name"] = name
    item["spec"]["template"]["metadata"]["labels"] = labels or {"app": "llama"}
    return item


def service(name: str, port: object = "http", **selector: str) -> Json:
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "serving"},
        "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": port}]},
    }


def read(*items: Json) -> NamespaceRead:
    return namespace_of_manifests(items, origin="f.yaml", namespace=None)


def written(draft: FirstResource) -> Json:
    found: Json = yaml.safe_load(resource_text(draft))
    return found


def test_of_a_deployment_like_the_defaults_nothing_but_its_name_is_written():
    assert written(first_resource(read(sound()), "llama")) == {
        "apiVersion": "inference-autoscaler.dev/v1alpha1",
        "kind": "InferenceAutoscaler",
        "metadata": {"name": "llama", "namespace": "serving"},
        "spec": {"pools": [{"name": "on-demand", "scaleTargetRef": {"name": "llama"}}]},
    }


@pytest.mark.parametrize(
    ("changes", "engine"),
    [
        ({}, EngineType.VLLM),
        ({"image": "mirror/serving:1", "command": ["vllm", "serve", "m"]}, EngineType.VLLM),
        (
            {"image": "mirror/serving:1", "args": ["python3 -m sglang.launch_server"]},
            EngineType.SGLANG,
        ),
        ({"image": "ghcr.io/huggingface/text-generation-inference:3", "args": []}, EngineType.TGI),
        ({"image": "rayproject/ray-llm:2.50", "args": []}, EngineType.RAY_SERVE),
    ],
)
def test_the_engine_is_told_by_image_or_command_line(changes: Json, engine: EngineType):
    assert served_by(read(target(**changes)), "llama").engine is engine


SEVERAL = [{"name": "http", "containerPort": 9000}, {"name": "grpc", "containerPort": 9001}]


@pytest.mark.parametrize(
    ("changes", "services", "ports"),
    [
        pytest.param({"args": ["--port", "8123"]}, (), (8123,), id="its option first"),
        pytest.param(
            {"args": ["--port=9000", "-dp=2", "--data-parallel-multi-port-external-lb"]},
            (),
            (9000, 9001),
            id="a page for each rank",
        ),
        pytest.param(
            {"args": ["--port=$(PORT)"], "env": [{"name": "PORT", "value": "9009"}]},
            (),
            (9009,),
            id="an option by its variable",
        ),
        pytest.param(
            {"args": [], "ports": SEVERAL, "readinessProbe": {"httpGet": {"port": "http"}}, "startupProbe": None, "livenessProbe": None},
            (),
            (9000,),
            id="then its probes, by the port's name",
        ),
        pytest.param(
            {"args": [], "ports": [{"containerPort": 9002}], "readinessProbe": None, "startupProbe": None, "livenessProbe": None},
            (),
            (9002,),
            id="then the only port of the container",
        ),
        pytest.param(
            {"args": [], "ports": SEVERAL, "readinessProbe": None, "startupProbe": None, "livenessProbe": None},
            (service("s", "grpc", app="llama"), service("other", "http", app="other")),
            (9001,),
            id="then the Service that sends to it",
        ),
        pytest.param(
            {"args": [], "ports": [*SEVERAL, {"containerPort": 8000}], "readinessProbe": None, "startupProbe": None, "livenessProbe": None},
            (),
            (8000,),
            id="then the usual one of several",
        ),
        pytest.param(
            {"args": [], "ports": None, "readinessProbe": None, "startupProbe": None, "livenessProbe": None},
            (),
            (8000,),
            id="nothing at all: the engine's own",
        ),
        pytest.param(
            {"image": "rayproject/ray:2", "args": ["sh", "-c", "ray start --head --metrics-export-port=9090"]},
            (),
            (9090,),
            id="of Ray its agent's, not the one that serves",
        ),
    ],
)  # fmt: skip
def test_the_port_of_the_page_is_told_by_the_surest_sign(
    changes: Json, services: tuple[Json, ...], ports: tuple[int, ...]
):
    assert served_by(read(target(**changes), *services), "llama").ports == ports


def test_several_ports_and_no_sign_are_asked_about():
    probes = {"readinessProbe": None, "startupProbe": None, "livenessProbe": None}
    found = read(target(args=[], ports=SEVERAL, **probes))
    with pytest.raises(SettingsError, match=r"several ports.*9001 \(grpc\), 9000 \(http\).*--port"):
        served_by(found, "llama")
    assert served_by(found, "llama", port=9001).ports == (9001,)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"affinity": None}, CapacityType.ON_DEMAND),
        ({"affinity": affinity(OFF_SPOT)}, CapacityType.ON_DEMAND),
        ({"affinity": ON_SPOT}, CapacityType.SPOT),
        ({"affinity": None, "nodeSelector": {"cloud.google.com/gke-spot": "true"}}, CapacityType.SPOT),
        ({"affinity": ON_BOTH}, CapacityType.MIXED),
        (
            {
                "affinity": None,
                "tolerations": [{"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true"}],
            },
            CapacityType.MIXED,
        ),
    ],
)  # fmt: skip
def test_the_nodes_that_it_asks_for_say_what_kind_of_pool_it_is(changes: Json, kind: CapacityType):
    assert served_by(read(target(**changes)), "llama").capacity_type is kind


def test_the_spot_twin_is_a_second_pool_and_one_replica_stays_off_spot():
    items = [target("llama-od"), target("llama-spot", affinity=ON_SPOT)]
    for asked in ("llama-od", "llama-spot", None):
        assert written(first_resource(read(*items), asked))["spec"] == {
            "pools": [
                {"name": "on-demand", "scaleTargetRef": {"name": "llama-od"}},
                {"name": "spot", "scaleTargetRef": {"name": "llama-spot"}, "capacityType": "Spot"},
            ],
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
        }
    assert first_resource(read(*items), None).name == "llama"


@pytest.mark.parametrize(
    ("other", "note"),
    [
        pytest.param({"args": ["--model=another", "--port=8000"]}, None, id="another model"),
        pytest.param({"image": "nginx", "args": []}, None, id="no engine"),
        pytest.param(
            {"args": ["--model=m", "--port=8001"]}, "at HTTP port 8001", id="another page"
        ),
        pytest.param({"affinity": affinity(OFF_SPOT)}, "both are OnDemand", id="the same nodes"),
        pytest.param({"labels": {"app": "dev"}}, "no Service sends to both", id="another Service"),
    ],
)
def test_what_is_no_twin_is_left_out_and_said(other: Json, note: str | None):
    items = [target("llama"), target("llama-spot", **({"affinity": ON_SPOT} | other))]
    draft = first_resource(read(*items, service("llama", app="llama")), "llama")
    assert [pool.name for pool in draft.pools] == ["llama"]
    assert (note is None) == (draft.notes == ())
    assert note is None or note in draft.notes[0]


def test_several_spot_twins_are_pools_by_their_own_names():
    items = [target("m"), *(target(f"m.{zone}", affinity=ON_SPOT) for zone in "ab")]
    assert first_resource(read(*items), "m").pool_names == ("on-demand", "m-a", "m-b")


def test_of_two_on_demand_twins_of_a_spot_one_none_is_guessed():
    items = [target("m-spot", affinity=ON_SPOT), target("m-1"), target("m-2")]
    draft = first_resource(read(*items), "m-spot")
    assert [pool.name for pool in draft.pools] == ["m-spot"]
    assert "m-1, m-2 serve the same model on on-demand nodes" in draft.notes[0]


def test_what_was_measured_is_the_prior_and_said_with_the_pull_apart():
    draft = first_resource(read(sound()), "llama")
    seen = StartsSeen(starts_s=(61.2, 95.5, 130.0), pulls_s=(20.0, 45.0), cached=1, restarted=2)
    measured = with_starts(draft, {"llama": seen})
    assert written(measured)["spec"]["coldStart"] == {"priorSeconds": 96}
    line = (
        "3 starts measured, placed to ready: 61 to 130 s, of which the image 20 to 45 s (2 pulls); 1 had the "
        "image on the node: a new node takes longer; 2 restarted and left out"
    )
    assert f"  # llama: {line}" in resource_text(measured).splitlines()
    assert f"pool on-demand: {line}" in notes_of(measured)
    nothing = with_starts(draft, {"llama": StartsSeen(starting=1)})
    assert "coldStart" not in written(nothing)["spec"]
    assert "no start could be measured (1 not ready yet)" in notes_of(nothing)[2]


def test_more_replicas_than_the_default_allows_may_still_grow():
    draft = first_resource(read(target(replicas=8)), "llama")
    assert written(draft)["spec"]["maxReplicas"] == 16


def test_what_differs_from_the_defaults_is_written():
    item = target(
        image="lmsysorg/sglang:v0.6", args=["--model-path=m", "--port=30000", "--ssl-certfile=c"]
    )
    draft = first_resource(read(item), "llama")
    assert written(draft)["spec"] == {
        "engine": "SGLang",
        "metrics": {"port": 30000, "scheme": "HTTPS"},
        "pools": [{"name": "on-demand", "scaleTargetRef": {"name": "llama"}}],
    }
    assert "metrics.tls.ca" in notes_of(draft)[-1]


@pytest.mark.parametrize(
    ("items", "asked", "message"),
    [
        ([sound()], "nope", r"no Deployment serving/nope in f.yaml; Deployments there: llama;"),
        (
            [sound(), {"kind": "StatefulSet", "metadata": {"name": "db"}}],
            "db",
            "but a StatefulSet of that name: Deployments alone are scaled",
        ),
        ([], None, "no Deployment of namespace default in f.yaml tells an engine; there: none"),
        (
            [target(image="nginx:1", args=["-g", "off"])],
            "llama",
            r"found image nginx:1, started with -g off, which tells no engine; .*SGLang: sglang; .*--engine VLLM",
        ),
        (
            [target("a", args=["--model=a"]), target("b", args=["--model=b"])],
            None,
            "several Deployments of namespace serving run engines; name one of: a, b",
        ),
    ],
)  # fmt: skip
def test_an_error_says_what_there_is(items: list[Json], asked: str | None, message: str):
    with pytest.raises(SettingsError, match=message):
        first_resource(read(*items), asked)


def test_an_engine_that_somebody_knows_is_believed_of_its_twin_too():
    items = [
        target("a-od", image="registry/ours:1", args=["--port=8000"]),
        target("a-spot", image="registry/ours:1", args=["--port=8000"], affinity=ON_SPOT),
    ]
    draft = first_resource(read(*items), "a-od", engine=EngineType.VLLM)
    assert [pool.name for pool in draft.pools] == ["a-od", "a-spot"]


def test_a_target_that_is_scaled_already_is_said():
    found = NamespaceRead(
        namespace="serving",
        origin="o",
        deployments={"llama": sound()},
        services=(),
        scaled_by={"llama": "mine"},
    )
    assert "scaled already: llama by mine" in first_resource(found, None).notes[0]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(junk=JUNK, where=st.integers(0, 7))
def test_whatever_stands_in_an_object_ends_in_a_document_or_a_message(junk: Any, where: int):
    item = copy.deepcopy(sound())
    pod = item["spec"]["template"]["spec"]
    container = pod["containers"][0]
    holder, key = [
        (item["spec"], "template"),
        (item["spec"]["template"], "spec"),
        (pod, "containers"),
        (pod, "affinity"),
        (container, "args"),
        (container, "ports"),
        (container, "resources"),
        (container, "readinessProbe"),
    ][where]
    holder[key] = junk
    told: Any = None
    with contextlib.suppress(SettingsError):
        told = written(first_resource(read(item), "llama"))["spec"]["pools"][0]["scaleTargetRef"]
    assert told in (None, {"name": "llama"})
