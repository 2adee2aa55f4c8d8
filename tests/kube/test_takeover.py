"""From the real HPA controller to the daemon and back, on a real API server: no replica goes on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.kube.api.resources import HPAS, INFERENCE_AUTOSCALERS, SCALED_OBJECTS
from autoscaler.migration.handover import is_decided_on
from autoscaler.migration.saved_copy import PREDECESSOR_ANNOTATION
from autoscaler.migration.scaled_object import PAUSED
from tests.kube.control_plane import NAMESPACE, create
from tests.kube.hpa_room import DAEMON, HPA_CONTROLLER, HpaRoom, hpa_room, resource_of

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

KEY = f"{NAMESPACE}/llama"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[HpaRoom]:
    async with hpa_room(tmp_path) as made:
        yield made


async def names(room: HpaRoom, resource: Any) -> list[str]:
    page = await room.admin.call("list", resource, namespace=NAMESPACE)
    return [each["metadata"]["name"] for each in page["items"]]


async def the_resource(room: HpaRoom) -> dict[str, Any]:
    return await room.admin.call("get", INFERENCE_AUTOSCALERS, namespace=NAMESPACE, name="llama")


async def observed(room: HpaRoom, source: str) -> None:
    """Import what is there, apply it, and let the daemon decide on it."""
    code, out, err = await room.call("import", source, "-n", NAMESPACE)
    assert code == 0, err
    made = resource_of(out)
    assert made["spec"]["metrics"]["port"] == room.pods.port, "read from the Deployment"
    await create(room.admin, INFERENCE_AUTOSCALERS, made, namespace=NAMESPACE)
    await room.start_daemon()
    async with asyncio.timeout(60):
        while not is_decided_on(await the_resource(room)):
            await asyncio.sleep(0.2)


def assert_no_dip(history: list[int]) -> None:
    assert history == sorted(history)


async def test_an_hpa_is_imported_shadowed_taken_over_and_given_back_without_a_dip(room: HpaRoom):
    await create(room.admin, HPAS, room.hpa(), namespace=NAMESPACE)
    await room.replicas(4)  # twenty wait, five a replica: the controller scales
    await observed(room, "hpa/llama")

    code, out, err = await room.call("takeover", KEY)
    assert (code, out.splitlines()[0]) == (2, f"{KEY}, scaled by HorizontalPodAutoscaler llama"), (
        err
    )
    assert "now: 4 replicas there" in out
    assert "cost now: $8.00/h there" in out
    assert "nothing was changed: say that it is meant with --yes" in err
    assert await names(room, HPAS) == ["llama"]

    code, out, err = await room.call("takeover", KEY, "--yes")
    assert code == 0, out + err
    assert "HorizontalPodAutoscaler llama is deleted, and it is gone" in out
    assert await names(room, HPAS) == []
    taken = await the_resource(room)
    assert taken["spec"]["mode"] == "Active"
    assert taken["metadata"]["annotations"][PREDECESSOR_ANNOTATION] == "configmap/llama-predecessor"
    assert is_decided_on(taken)
    code, out, _ = await room.call("takeover", KEY, "--yes")
    assert (code, "is taken over already" in out) == (0, True)

    room.waiting = 0  # nobody asks any more; the HPA would go to its minimum at once
    room.pods.running = 90
    await room.replicas(6)  # it is the daemon that scales now
    room.waiting = 30
    code, out, err = await room.call("handback", KEY, "--yes")
    assert code == 0, out + err
    assert "made again, with minReplicas 6 until it has looked once" in out
    assert_no_dip(room.history)
    assert (await the_resource(room))["spec"]["mode"] == "Observe"
    back = await room.admin.call("get", HPAS, namespace=NAMESPACE, name="llama")
    assert back["spec"]["minReplicas"] == 2
    assert back["spec"] == {
        **back["spec"],
        **room.hpa()["spec"],
        "behavior": back["spec"]["behavior"],
    }
    code, out, _ = await room.call("handback", KEY, "--yes")
    assert (code, "is given back already" in out) == (0, True)
    room.waiting = 15
    await room.replicas(3)  # it is the HPA that scales again
    assert room.scale_writers() == [HPA_CONTROLLER, DAEMON, HPA_CONTROLLER]


async def test_a_scaled_object_is_taken_over_and_given_back_without_a_dip(room: HpaRoom):
    trigger = {
        "type": "prometheus",
        "metadata": {
            "serverAddress": "http://prometheus:9090",
            "query": "sum(vllm:num_requests_waiting) or vector(0)",
            "threshold": "5",
        },
    }
    spec = {
        "scaleTargetRef": {"name": "llama"},
        "minReplicaCount": 2,
        "maxReplicaCount": 6,
        "triggers": [trigger],
    }
    body = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "llama"},
        "spec": spec,
    }
    await create(room.admin, SCALED_OBJECTS, body, namespace=NAMESPACE)
    await room.keda("llama")
    await room.replicas(4)
    code, _, err = await room.call("import", "hpa/keda-hpa-llama", "-n", NAMESPACE)
    assert (code, "import that: scaledobject/llama" in err) == (2, True)
    await observed(room, "scaledobject/llama")

    code, out, err = await room.call(
        "takeover", KEY, "--yes", "--save-to", str(room.folder / "copy.yaml")
    )
    assert code == 0, out + err
    assert "ScaledObject llama is paused, and its HPA is gone" in out
    assert (await names(room, SCALED_OBJECTS), await names(room, HPAS)) == (["llama"], [])
    saved = yaml.safe_load((room.folder / "copy.yaml").read_text())
    assert (saved["spec"], saved["metadata"]) == (spec, {"name": "llama", "namespace": NAMESPACE})

    room.waiting, room.pods.running = 0, 90
    await room.replicas(6)
    room.waiting = 30
    code, _, err = await room.call("handback", KEY, "--yes")
    assert (code, "name it: --saved FILE" in err) == (2, True)
    code, out, err = await room.call(
        "handback", KEY, "--yes", "--saved", str(room.folder / "copy.yaml")
    )
    assert code == 0, out + err
    assert_no_dip(room.history)
    back = await room.admin.call("get", SCALED_OBJECTS, namespace=NAMESPACE, name="llama")
    assert back["spec"] == spec
    assert PAUSED not in back["metadata"].get("annotations", {})
    assert await names(room, HPAS) == ["keda-hpa-llama"]
    room.waiting = 15
    await room.replicas(3)
    assert room.scale_writers() == [HPA_CONTROLLER, DAEMON, HPA_CONTROLLER]
