"""A first resource from a real API server: what it reads there, and that the server takes what is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from autoscaler.kube.api.client import Client
from autoscaler.kube.api.plain import part
from autoscaler.kube.api.resources import (
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_AUTOSCALERS,
    PODS,
    SERVICES,
)
from autoscaler.kube.api.timestamps import rfc3339, seconds
from tests.kube.control_plane import (
    NAMESPACE,
    ControlPlane,
    create,
    running_control_plane,
    set_status,
)
from tests.kube.definition import install
from tests.kube.first_resource.test_draft import ON_SPOT, service, target
from tests.test_cli import call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async def set_up(made: ControlPlane, admin: Client) -> None:
        await made.set_up(admin)
        await install(admin)

    with running_control_plane(tmp_path_factory.mktemp("first"), set_up) as made:
        yield made


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await control_plane.admin() as made:
        yield made


def apart(item: dict[str, Any], pool: str) -> dict[str, Any]:
    """With labels of its own, as two Deployments of one namespace must have them."""
    labels = {"app": "llama", "pool": pool}
    item["apiVersion"] = "apps/v1"
    item["spec"]["selector"] = {"matchLabels": labels}
    item["spec"]["template"]["metadata"]["labels"] = labels
    return item


async def started(admin: Client, name: str, pool: str, *, took_s: float) -> dict[str, Any]:
    """A pod that became ready so long after it was made."""
    body = {
        "metadata": {"name": name, "labels": {"app": "llama", "pool": pool}},
        "spec": {"containers": [{"name": "vllm", "image": "i"}]},
    }
    made = await create(admin, PODS, body, namespace=NAMESPACE)
    at = seconds(part(made, "metadata")["creationTimestamp"])
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": rfc3339(at + after_s)}
        for kind, after_s in (("PodScheduled", 0), ("Ready", took_s))
    ]
    await set_status(admin, PODS, name, {"conditions": conditions}, namespace=NAMESPACE)
    return made


async def pulled(admin: Client, pod: dict[str, Any], message: str, *, reason: str) -> None:
    about = part(pod, "metadata")
    body = {
        "metadata": {"name": f"{about['name']}.{reason.lower()}"},
        "involvedObject": {
            "kind": "Pod",
            "namespace": NAMESPACE,
            "name": about["name"],
            "uid": about["uid"],
        },
        "reason": reason,
        "message": message,
        "type": "Normal",
    }
    await create(admin, EVENTS, body, namespace=NAMESPACE)


async def test_what_is_read_of_a_running_deployment_is_written_and_taken(
    admin: Client, control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
):
    on_demand = apart(target("llama-od", replicas=2), "od")
    on_spot = apart(target("llama-spot", affinity=ON_SPOT), "spot")
    other = apart(target("other", args=["--model=another"]), "other")
    for item in (on_demand, on_spot, other):
        await create(admin, DEPLOYMENTS, item, namespace=NAMESPACE)
    await create(admin, SERVICES, service("llama", 8000, app="llama"), namespace=NAMESPACE)
    first = await started(admin, "od-1", "od", took_s=100)
    await started(admin, "od-2", "od", took_s=120)
    await started(admin, "spot-1", "spot", took_s=150)
    words = 'Successfully pulled image "i" in 42.5s (42.5s including waiting). Image size: 1 bytes.'
    await pulled(admin, first, words, reason="Pulled")
    await pulled(admin, first, "Pulling image", reason="Pulling")

    where = ("-n", NAMESPACE, "--kubeconfig", control_plane.folder / "admin.kubeconfig")
    code, out, err = await asyncio.to_thread(call, capsys, "init", "llama-od", *where)
    assert code == 0, err
    written = yaml.safe_load(out)
    assert written["spec"] == {
        "pools": [
            {"name": "on-demand", "scaleTargetRef": {"name": "llama-od"}},
            {"name": "spot", "scaleTargetRef": {"name": "llama-spot"}, "capacityType": "Spot"},
        ],
        "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
        "coldStart": {"priorSeconds": 150},
    }
    assert (
        "2 starts measured, placed to ready: 100 to 120 s, of which the image 42 s (1 pull)" in err
    )
    assert "not read" not in err

    made = await admin.call(
        "create",
        INFERENCE_AUTOSCALERS,
        namespace=NAMESPACE,
        query={"fieldValidation": "Strict"},
        body=written,
    )
    assert made["spec"]["mode"] == "Observe"
    _, _, err = await asyncio.to_thread(call, capsys, "init", "llama-spot", *where)
    assert "scaled already: llama-od by llama, llama-spot by llama" in err
