"""Who else scales a target, as the API server tells it: HPAs on it, and whose the field `spec.replicas` is."""

from __future__ import annotations

import math
from typing import Any

import pytest

from autoscaler.core.contract.state import ReplicasWriter, Rival, RivalKind
from autoscaler.kube.watch import optional
from autoscaler.kube.watch.rivals import replicas_writer, slim_hpa
from tests.kube.api_server import refuse
from tests.kube.scene import CREATED, CREATED_AT, deployment, fleet, replica_set
from tests.kube.watched import Begin, Scene

Json = dict[str, Any]
HPAS = "/horizontalpodautoscalers"
SCALED_OBJECT = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "queue"}


def hpa(
    name: str = "old",
    *,
    target: str = "llama",
    api_version: str = "apps/v1",
    kind: str = "Deployment",
    **metadata: Any,
) -> Json:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "namespace": "serving",
            "name": name,
            "creationTimestamp": CREATED,
            **metadata,
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": target},
            "maxReplicas": 3,
        },
    }


def entry(
    manager: str,
    *fields: str,
    operation: str = "Update",
    subresource: str = "",
    time: str | None = CREATED,
) -> Json:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        **({"time": time} if time else {}),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {f"f:{name}": {} for name in fields}},
        **({"subresource": subresource} if subresource else {}),
    }


def writer(*entries: Any) -> ReplicasWriter | None:
    return replicas_writer({"metadata": {"managedFields": list(entries)}}, generation=3)


# As a 1.36 API server writes them: `kubectl apply`, `kubectl scale`, an HPA, Flux.
APPLIED = entry("kubectl-client-side-apply", "replicas", "template", "selector")
STATUS = entry("kube-controller-manager", subresource="status", time="2026-03-01T12:07:00Z")


@pytest.mark.parametrize(
    ("entries", "manager", "ours", "scaled", "declares", "after_s"),
    [
        pytest.param(
            [APPLIED, STATUS], "kubectl-client-side-apply", False, False, False, 0.0, id="applied"
        ),
        pytest.param(
            [entry("kubectl", "replicas", subresource="scale", time=None), STATUS],
            "kubectl", False, True, False, 420.0,
            id="the scale subresource notes no time: at the latest when its status followed",
        ),
        pytest.param(
            [entry("kubectl", "replicas", subresource="scale", time=None)],
            "kubectl", False, True, False, math.nan,
            id="and where it has no status, it is not known",
        ),
        pytest.param(
            [entry("kubectl-edit", "replicas")], "kubectl-edit", False, True, False, 0.0,
            id="an edit of that one field",
        ),
        pytest.param(
            [entry("inference-autoscaler", "replicas", subresource="scale", time=None), STATUS],
            "inference-autoscaler", True, True, False, 420.0,
            id="ours",
        ),
        pytest.param(
            [entry("kustomize-controller", "replicas", "template", operation="Apply")],
            "kustomize-controller", False, False, True, 0.0,
            id="server-side apply declares",
        ),
        pytest.param(
            [
                entry("a", "replicas", "template", operation="Apply"),
                entry("b", "replicas", operation="Apply", time="2026-03-01T12:00:01Z"),
            ],
            "b", False, True, True, 1.0,
            id="of two who applied one number the last",
        ),
    ],
)  # fmt: skip
def test_who_last_set_the_replicas(
    entries: list[Json], manager: str, *, ours: bool, scaled: bool, declares: bool, after_s: float
):
    found = writer(*entries)
    assert found is not None
    assert (found.manager, found.ours, found.scaled) == (manager, ours, scaled)
    assert (found.declares, found.generation) == (declares, 3)
    assert found.at == pytest.approx(CREATED_AT + after_s, nan_ok=True)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [STATUS],
        [entry("kustomize-controller", "template", operation="Apply")],
        [None, "x", {"manager": "m"}, {"fieldsV1": 3}, {"fieldsV1": {"f:spec": []}}],
    ],
)
def test_of_a_field_that_is_nobodys_nothing_is_said(entries: list[Any]):
    assert writer(*entries) is None
    assert replicas_writer({"metadata": {"managedFields": 7}}, generation=1) is None
    assert replicas_writer({"metadata": None}, generation=1) is None


def test_a_manager_that_is_no_name_is_told_so():
    odd = entry("x", "replicas") | {"manager": ["\x1b"], "time": 3}
    found = writer(odd)
    assert found is not None
    assert found.manager == "a client that does not say its name"
    assert math.isnan(found.at)


@pytest.mark.parametrize(
    ("item", "rival"),
    [
        (hpa(), Rival(kind=RivalKind.HPA, name="old", since=CREATED_AT)),
        (
            hpa("keda-hpa-queue", ownerReferences=[SCALED_OBJECT]),
            Rival(kind=RivalKind.SCALED_OBJECT, name="queue", since=CREATED_AT),
        ),
        (
            hpa("keda-hpa-queue", labels={"scaledobject.keda.sh/name": "queue"}),
            Rival(kind=RivalKind.SCALED_OBJECT, name="queue", since=CREATED_AT),
        ),
    ],
)
def test_an_hpa_of_keda_is_its_scaled_object(item: Json, rival: Rival):
    assert slim_hpa(item).rival == rival


# -- as they are watched


@pytest.fixture
async def scene(begin: Begin) -> Scene:
    return await begin(fleet("llama"), deployment("llama"), replica_set("llama-1", owner="llama"))


def rivals(scene: Scene) -> tuple[Rival, ...] | None:
    return scene.model.pools[0].rivals


async def test_an_hpa_that_comes_and_goes(scene: Scene):
    assert rivals(scene) == ()
    one, another = hpa(), hpa("another", ownerReferences=[SCALED_OBJECT])
    scene.held.put(one)
    await scene.until(lambda: rivals(scene) == (slim_hpa(one).rival,))
    scene.held.put(another)
    await scene.until(lambda: rivals(scene) == (slim_hpa(one).rival, slim_hpa(another).rival))
    scene.held.drop(one)
    scene.held.drop(another)
    await scene.until(lambda: rivals(scene) == ())


@pytest.mark.parametrize(
    "other",
    [
        hpa(target="qwen"),
        hpa(kind="StatefulSet"),
        hpa(api_version="v1"),  # the HPA controller finds no such Deployment either
        hpa() | {"spec": {}},
    ],
)
async def test_an_hpa_on_something_else_is_no_rival(scene: Scene, other: Json):
    scene.held.put(other)
    hpas = scene.cluster._caches.namespaces["serving"].hpas
    await scene.until(lambda: bool(hpas.objects))
    assert rivals(scene) == ()


@pytest.mark.parametrize(
    ("code", "found"), [(404, ()), (403, None)], ids=["no such resource", "no right"]
)
async def test_where_they_cannot_be_read_that_is_known_and_nobody_is_blind(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, code: int, found: object
):
    monkeypatch.setattr(optional, "LOOK_AGAIN_S", 0.01)  # tests do not wait for a minute
    scene.held.put(hpa())
    await scene.until(lambda: bool(rivals(scene)))
    scene.held.drop(hpa())
    scene.held.refuse(HPAS, refuse(code, "", "no"))
    await scene.until(lambda: rivals(scene) == found)
    assert scene.cluster.problems() == ()
    assert scene.cluster.cluster_at > 0
    assert bool(scene.cluster.unread_hpas()) == (code == 403)
    scene.held.answer_again()
    await scene.until(lambda: rivals(scene) == ())
    assert scene.cluster.unread_hpas() == {}


async def test_the_writer_of_a_deployment_is_observed(scene: Scene):
    assert scene.model.pools[0].writer is None
    changed = deployment("llama", replicas=4, generation=2)
    changed["metadata"]["managedFields"] = [
        entry("kubectl", "replicas", subresource="scale", time=None),
        STATUS,
    ]
    scene.held.put(changed)
    await scene.until(lambda: scene.model.pools[0].writer is not None)
    found = scene.model.pools[0].writer
    assert found is not None
    assert (found.manager, found.generation) == ("kubectl", 2)
