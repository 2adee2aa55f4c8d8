"""A spot node is taken away: on-demand stands in, streams complete, nothing is lost, spot returns.

The same with the daemon killed between each pair of its writes. To kill it exactly there, an admission
policy refuses the *next* write to the daemon's service account; once the last write before it is seen,
the daemon is killed without grace and the policy lifted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.daemon import NAME, NAMESPACE
from tests.e2e.kubectl import command_from, get, kubectl_async, run, wait_until
from tests.e2e.load import Load
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.watcher import filming

FALLBACK = "inference-autoscaler.dev/fallback"
INTERRUPTION = "inference-autoscaler.dev/interruption"
CORDON = "inference-autoscaler.dev/cordoned"
DEADLINE_S = 60
TICK_S = 5
TOKENS = 150
RATE = 7.0
RETURN_AFTER_S = 20


def _scene(name: str, image: str, logs) -> Scene:
    return Scene(
        namespace=name,
        image=image,
        logs=logs,
        cold_start_s=10,
        replicas={"on-demand": 1, "spot": 2},
        # a spot replica fills its node: while one is away, nothing comes back on the other
        gpus={"spot": 4},
        spec={
            "minReplicas": 3,
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "spot": {
                "onDemandFallback": "Enabled",
                "returnAfterSeconds": RETURN_AFTER_S,
                "drainMarginSeconds": 5,
            },
        },
    )


def _on(node: str, pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [pod for pod in pods if pod["spec"].get("nodeName") == node]


async def _promised(scene: Scene) -> list[dict[str, Any]]:
    found = await get("deployments", f"{MODEL}-on-demand", namespace=scene.namespace)
    value = found[0]["metadata"].get("annotations", {}).get(FALLBACK) if found else None
    return json.loads(value) if value else []


async def _mark(node: str, seconds: float) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    stamp = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    await kubectl_async("annotate", "node", node, f"{INTERRUPTION}={stamp}", "--overwrite")


async def _restore(node: str) -> None:
    """The provider gives a node back: power, no marks, schedulable."""
    run(*command_from("E2E_POWER_ON"), node, timeout_s=60)
    await kubectl_async("annotate", "node", node, f"{INTERRUPTION}-", f"{CORDON}-", check=False)
    await kubectl_async("uncordon", node, check=False)

    async def ready() -> bool:
        conditions = (await get("nodes", node))[0]["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    await wait_until(f"{node} is ready again", ready, timeout_s=90)


async def _endpoints(scene: Scene) -> set[str]:
    slices = await get(
        "endpointslices", namespace=scene.namespace, labels=f"kubernetes.io/service-name={MODEL}"
    )
    return {
        endpoint["targetRef"]["name"]
        for part in slices
        for endpoint in part.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
    }


@asynccontextmanager
async def _loaded(scene: Scene) -> AsyncIterator[Load]:
    """A steady load that runs for the whole block; all it sent has ended when the block has."""
    load = Load(url=await scene.serving_address(), model=MODEL, tokens=TOKENS)
    async with load.playing([(600, RATE)], seed=3):
        await asyncio.sleep(10)
        yield load


async def _doomed_node(scene: Scene) -> str:
    pods = await scene.ready_pods("spot")
    return str(pods[0]["spec"]["nodeName"])


async def _the_node_is_left_in_time(scene: Scene, node: str, marked_at: float) -> None:
    """Its pods leave the endpoints, then the node, before the deadline; then it loses its power."""
    names = {pod["metadata"]["name"] for pod in _on(node, await scene.pods())}

    async def out_of_the_endpoints() -> bool:
        return not names & await _endpoints(scene)

    async def gone() -> bool:
        return not _on(node, await scene.pods())

    left = marked_at + DEADLINE_S - time.monotonic()
    await wait_until("its pods left the endpoints", out_of_the_endpoints, timeout_s=left)
    left = marked_at + DEADLINE_S - time.monotonic()
    await wait_until("its pods are gone before the deadline", gone, timeout_s=left)
    await asyncio.sleep(max(0.0, marked_at + DEADLINE_S - time.monotonic()))
    run(*command_from("E2E_POWER_OFF"), node, timeout_s=60)


async def test_a_notice_is_answered_by_the_deadline_and_spot_returns(image, logs):
    scene = _scene("e2e-spot", image, logs)
    async with playing(scene):
        await scene.wait_ready(3)
        node = await _doomed_node(scene)
        doomed = len(_on(node, await scene.pods()))
        async with _loaded(scene) as load, filming(scene, load) as film:
            before = await scene.wanted()
            await _mark(node, DEADLINE_S)
            marked_at = time.monotonic()

            async def raised() -> bool:
                return (await scene.wanted()).get("on-demand", 0) >= before["on-demand"] + doomed

            await wait_until("on-demand is raised within a tick", raised, timeout_s=TICK_S + 2)
            promises = await _promised(scene)
            assert [(p["node"], p["replicas"]) for p in promises] == [(node, doomed)]
            await _the_node_is_left_in_time(scene, node, marked_at)
            assert (await scene.wanted())["spot"] == before["spot"], "the spot pool keeps its scale"

            await _restore(node)

            async def released() -> bool:
                return not await _promised(scene) and await scene.wanted() == before

            await wait_until("the fallback is released", released, timeout_s=180)
            released_at = time.monotonic()
            await asyncio.sleep(15)
        assert load.lost() == [], (
            f"{len(load.lost())} of {len(load.requests)} lost: {load.lost()[:3]}"
        )
        highest = max(film.totals())
        assert highest <= sum(before.values()) + doomed, "one stand-in a doomed replica, not two"
        print(
            f"\n{len(load.requests)} requests, none lost; fallback held"
            f" {released_at - marked_at:.0f} s, highest {highest} replicas"
        )


# --- killed between two writes ---------------------------------------------------------------

WRITES = {
    "before-the-scale": ("apps", "deployments/scale", "UPDATE"),
    "before-the-cordon": ("", "nodes", "UPDATE"),
    "before-the-eviction": ("", "pods/eviction", "CREATE"),
}


def _refusal(scene: Scene, group: str, resource: str, operation: str) -> list[dict[str, Any]]:
    """An admission policy that refuses one kind of write to the daemon."""
    name = f"refuse-{scene.namespace}"
    user = f"system:serviceaccount:{NAMESPACE}:{NAME}"
    rule = {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": [operation],
        "resources": [resource],
    }
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {"expression": f"request.userInfo.username != '{user}'", "message": "not yet"}
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return [policy, binding]


@pytest.mark.parametrize("moment", list(WRITES))
async def test_a_daemon_killed_between_two_writes_goes_on_where_it_was(moment, image, logs):
    scene = _scene(f"e2e-kill-{moment}", image, logs)
    refusal = _refusal(scene, *WRITES[moment])
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": refusal})
    async with playing(scene) as daemon:
        await scene.wait_ready(3)
        node = await _doomed_node(scene)
        doomed = len(_on(node, await scene.pods()))
        before = await scene.wanted()
        await kubectl_async("apply", "-f", "-", stdin=listing)
        await asyncio.sleep(5)  # a policy is in force some moments after it was written
        try:
            async with _loaded(scene) as load, filming(scene, load) as film:
                await _mark(node, DEADLINE_S)
                marked_at = time.monotonic()

                async def last_write_is_seen() -> bool:
                    if moment == "before-the-scale":
                        return bool(await _promised(scene))
                    if moment == "before-the-cordon":
                        return (await scene.wanted())["on-demand"] == before["on-demand"] + doomed
                    return bool((await get("nodes", node))[0]["spec"].get("unschedulable"))

                await wait_until("the write before it", last_write_is_seen, timeout_s=TICK_S + 5)
                await daemon.kill()
                await kubectl_async("delete", "-f", "-", stdin=listing)
                await _the_node_is_left_in_time(scene, node, marked_at)
                promises = await _promised(scene)
                assert [(p["node"], p["replicas"]) for p in promises] == [(node, doomed)]
            assert load.lost() == [], f"{len(load.lost())} of {len(load.requests)} lost"
            assert max(film.totals()) <= sum(before.values()) + doomed, "promised once, not twice"
            await _restore(node)
        finally:
            await kubectl_async("delete", "-f", "-", stdin=listing, check=False)
