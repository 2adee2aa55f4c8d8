"""A spot node is taken away, and the daemon is killed between each pair of its writes.

What it does when nobody kills it is in `test_dialects`. To kill it exactly there, an admission
policy refuses the *next* write to the daemon's service account; once the last write before it is seen,
the daemon is killed without grace and the policy lifted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from autoscaler.core.contract.deletion_cost import COST_ANNOTATION
from tests.e2e.daemon import NAME, NAMESPACE
from tests.e2e.dialects import REHEARSAL, annotate
from tests.e2e.kubectl import get, kubectl_async, wait_until
from tests.e2e.load import Load
from tests.e2e.nodes import give_back, gpus_of, on, take
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.story import (
    endpoints,
    ends,
    give_notice,
    is_raised,
    is_released,
    loaded,
    none_lost,
    promised,
    settled,
    spot_scene,
)
from tests.e2e.watcher import filming

DEADLINE_S = 60
TICK_S = 5
RATE = 7.0


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
            "maxReplicas": 3,
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "spot": {
                "onDemandFallback": "Enabled",
                "returnAfterSeconds": 20,
                "drainMarginSeconds": 5,
            },
        },
    )


async def _doomed_node(scene: Scene) -> str:
    pods = await scene.ready_pods("spot")
    return str(pods[0]["spec"]["nodeName"])


async def _the_node_is_left_in_time(scene: Scene, node: str, marked_at: float) -> None:
    """Its pods leave the endpoints, then the node, before the deadline; then it loses its power."""
    names = {pod["metadata"]["name"] for pod in on(node, await scene.pods())}

    async def out_of_the_endpoints() -> bool:
        return not names & await endpoints(scene)

    async def gone() -> bool:
        return not on(node, await scene.pods())

    left = marked_at + DEADLINE_S - time.monotonic()
    await wait_until("its pods left the endpoints", out_of_the_endpoints, timeout_s=left)
    left = marked_at + DEADLINE_S - time.monotonic()
    await wait_until("its pods are gone before the deadline", gone, timeout_s=left)
    await asyncio.sleep(max(0.0, marked_at + DEADLINE_S - time.monotonic()))
    await take(node)


# --- killed between two writes ---------------------------------------------------------------

WRITES = {
    "before-the-scale": ("apps", "deployments/scale", "UPDATE"),
    "before-the-cordon": ("", "nodes", "UPDATE"),
    "before-the-eviction": ("", "pods/eviction", "CREATE"),
}


def _refusal(scene: Scene, *writes: tuple[str, str, str]) -> str:
    """An admission policy that refuses these kinds of writes to the daemon."""
    name = f"refuse-{scene.namespace}"
    user = f"system:serviceaccount:{NAMESPACE}:{NAME}"
    rules = [
        {
            "apiGroups": [group],
            "apiVersions": ["*"],
            "operations": [operation],
            "resources": [resource],
        }
        for group, resource, operation in writes
    ]
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules},
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
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})


@pytest.mark.parametrize("moment", list(WRITES))
async def test_a_daemon_killed_between_two_writes_goes_on_where_it_was(moment, image, logs):
    scene = _scene(f"e2e-kill-{moment}", image, logs)
    listing = _refusal(scene, WRITES[moment])
    async with playing(scene) as daemon:
        before = await settled(scene)
        node = await _doomed_node(scene)
        gpus = await gpus_of(node)
        doomed = len(on(node, await scene.pods()))
        await kubectl_async("apply", "-f", "-", stdin=listing)
        await asyncio.sleep(5)  # a policy is in force some moments after it was written
        try:
            async with loaded(scene, rate=RATE) as load, filming(scene, load) as film:
                await annotate(node, time.time() + DEADLINE_S)
                marked_at = time.monotonic()

                async def last_write_is_seen() -> bool:
                    if moment == "before-the-scale":
                        return bool(await promised(scene))
                    if moment == "before-the-cordon":
                        return (await scene.wanted())["on-demand"] == before["on-demand"] + doomed
                    return bool((await get("nodes", node))[0]["spec"].get("unschedulable"))

                await wait_until("the write before it", last_write_is_seen, timeout_s=TICK_S + 5)
                await daemon.kill()
                await kubectl_async("delete", "-f", "-", stdin=listing)
                await _the_node_is_left_in_time(scene, node, marked_at)
                assert await promised(scene) == {node: doomed}
            assert load.lost() == [], f"{len(load.lost())} of {len(load.requests)} lost"
            assert max(film.totals()) <= sum(before.values()) + doomed, "promised once, not twice"
            await give_back(node, gpus=gpus)
        finally:
            await kubectl_async("delete", "-f", "-", stdin=listing, check=False)


# --- killed while it lets go ------------------------------------------------------------------

COST_WRITE = ("", "pods", "UPDATE")
SCALE_WRITE = ("apps", "deployments/scale", "UPDATE")
RELEASES = {
    # a cost that is refused does not hold up the scale, so both are refused
    "before-the-cost": (COST_WRITE, SCALE_WRITE),
    "before-the-scale-down": (SCALE_WRITE,),
}


async def _costs(scene: Scene) -> list[str]:
    """The deletion costs on the model's pods."""
    found = (pod["metadata"].get("annotations", {}) for pod in await scene.pods())
    return [each[COST_ANNOTATION] for each in found if COST_ANNOTATION in each]


@asynccontextmanager
async def _busy_stand_in(scene: Scene, floor: set[str]) -> AsyncIterator[Load]:
    """Long streams to the youngest on-demand replica, so that whom the ReplicaSet would take is not idle."""
    (stand_in,) = (
        pod for pod in await scene.ready_pods("on-demand") if pod["metadata"]["name"] not in floor
    )
    load = Load(url=f"http://{stand_in['status']['podIP']}:8000", model=MODEL, tokens=400)
    async with load.playing([(600, 1.0)], seed=4):
        yield load


@pytest.mark.parametrize("moment", list(RELEASES))
async def test_a_daemon_killed_while_it_lets_go_does_so_afterwards(moment, image, logs):
    scene = spot_scene(f"e2e-kill-{moment}", image, logs)
    listing = _refusal(scene, *RELEASES[moment])
    async with playing(scene, components=["deletion-cost"]) as daemon:
        before = await settled(scene)
        floor = {pod["metadata"]["name"] for pod in await scene.ready_pods("on-demand")}
        node = await _doomed_node(scene)
        try:
            async with loaded(scene) as load, filming(scene, load) as film:
                doomed = await give_notice(scene, REHEARSAL, node, lead_s=30)
                await is_raised(scene, before, [doomed])
                await scene.wait_ready(3)
                await ends(doomed)
                await kubectl_async("apply", "-f", "-", stdin=listing)
                await give_back(node, gpus=doomed.gpus)
                async with _busy_stand_in(scene, floor) as pinned:

                    async def last_write_is_seen() -> bool:
                        if moment == "before-the-cost":
                            return not await promised(scene)
                        return bool(await _costs(scene))

                    await wait_until("the write before it", last_write_is_seen, timeout_s=90)
                    assert (await scene.wanted())["on-demand"] == before["on-demand"] + 1
                    await daemon.kill()
                await kubectl_async("delete", "-f", "-", stdin=listing)
                await is_released(scene, before, timeout_s=240)

                async def cleared() -> bool:
                    return not await _costs(scene)

                await wait_until("no cost stays behind", cleared, timeout_s=30)
            none_lost(load)
            none_lost(pinned)
            assert max(film.totals()) <= sum(before.values()) + 1
            assert min(film.totals()) >= sum(before.values()), "let go once, not twice"
        finally:
            await kubectl_async("delete", "-f", "-", stdin=listing, check=False)
