#!/usr/bin/env python3
"""Nodes that are objects only, beside or without real ones: for scenes with more than a machine can run.

    fake_kubelet.py --pods 10.79.0.0/16 [--cold-start 3] [--drain 2] [--heartbeat 5]   until ^C

Of every Node with the label `fake-kubelet=true` it renews the lease, and plays kubelet for the pods that are
bound to it: one is Running at once, with an address of --pods, and Ready after its cold start; a deleted one
goes after its drain, or at the end of its grace period where that is sooner. KUBECONFIG says which cluster.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.exceptions import ApiException

LABEL = "fake-kubelet"
LEASES = "kube-node-lease"
Object = dict[str, Any]


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def log(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S.%f}"[:-3], what, flush=True)


@contextlib.contextmanager
def tolerate(*statuses: int) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        if error.status not in statuses:
            raise


def node_conditions() -> list[Object]:
    states = {
        "Ready": "True",
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
    }
    return [
        {
            "type": kind,
            "status": status,
            "reason": "Fake",
            "message": "",
            "lastHeartbeatTime": now(),
            "lastTransitionTime": now(),
        }
        for kind, status in states.items()
    ]


def is_ready(thing: Object) -> bool:
    conditions = thing.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


class FakeKubelet:
    """One process for all of the nodes."""

    def __init__(self, api: client.ApiClient, options: argparse.Namespace) -> None:
        self.core = client.CoreV1Api(api)
        self.coordination = client.CoordinationV1Api(api)
        self.options = options
        self.addresses = itertools.cycle(
            str(each) for each in ipaddress.ip_network(options.pods).hosts()
        )
        self.nodes: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        """By uid, whatever their node."""
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.stages: dict[str, str] = {}
        """What a pod's task is at."""
        self.exits: dict[str, float] = {}
        """When a pod's containers have ended."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self.group:
            selector = {"label_selector": f"{LABEL}=true"}
            self.spawn(self.follow(self.core.list_node, self.on_node, self.nodes, **selector))
            self.spawn(self.follow(self.core.list_pod_for_all_namespaces, self.on_pod, self.pods))
            self.spawn(self.heartbeats())

    async def follow(
        self,
        listing: Callable[..., Awaitable[Any]],
        handle: Callable[[str, Object], None],
        known: dict[str, Object],
        **selectors: str,
    ) -> None:
        """Hand the present state on as events, then every change, for ever."""
        while True:
            try:
                response = await listing(_preload_content=False, **selectors)
                listed = await response.json()
                uids = {each["metadata"]["uid"] for each in listed["items"]}
                for each in [o for o in known.values() if o["metadata"]["uid"] not in uids]:
                    handle("DELETED", each)
                for each in listed["items"]:
                    handle("ADDED", each)
                async with watch.Watch() as changes:
                    async for event in changes.stream(
                        listing,
                        timeout_seconds=300,
                        resource_version=listed["metadata"]["resourceVersion"],
                        **selectors,
                    ):
                        handle(event["type"], event["raw_object"])
            except Exception as error:  # noqa: BLE001  a watch expires, the API server restarts: look again
                log(f"watch broke: {error!r}"[:200])
                await asyncio.sleep(1)

    def spawn(
        self, work: Coroutine[Any, Any, Any], on_failure: Callable[[], object] = lambda: None
    ) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001  what fails is taken up again by the next listing
                log(f"failed: {error!r}"[:200])
                on_failure()

        return self.group.create_task(guarded())

    # --- nodes

    def on_node(self, kind: str, node: Object) -> None:
        name = node["metadata"]["name"]
        if kind == "DELETED":
            self.nodes.pop(name, None)
        elif name not in self.nodes:
            self.nodes[name] = node
            self.spawn(self.renew(name))
        elif not is_ready(node):
            # the node controller has given it up, while we could not renew
            patch = {"status": {"conditions": node_conditions()}}
            self.spawn(self.core.patch_node_status(name, patch))
        # a pod can have been seen before its node, and stops with it
        for pod in [each for each in self.pods.values() if each["spec"].get("nodeName") == name]:
            self.consider(pod)

    async def heartbeats(self) -> None:
        while True:
            await asyncio.sleep(self.options.heartbeat)
            for name in list(self.nodes):
                self.spawn(self.renew(name))

    async def renew(self, name: str) -> None:
        if name not in self.nodes:
            return
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": 40,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await self.coordination.patch_namespaced_lease(name, LEASES, {"spec": spec})
        except ApiException as error:
            if error.status != 404:
                raise
            lease = {"metadata": {"name": name}, "spec": spec}
            await self.coordination.create_namespaced_lease(LEASES, lease)

    # --- pods

    def on_pod(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self.pods.pop(uid, None)
            self.exits.pop(uid, None)
            self.drop(uid)
        else:
            self.pods[uid] = pod
            self.consider(pod)

    def consider(self, pod: Object) -> None:
        """Put the pod's task at the stage that its object asks for."""
        meta = pod["metadata"]
        uid = meta["uid"]
        if pod["spec"].get("nodeName") not in self.nodes:
            self.drop(uid)
            return
        if meta.get("deletionGracePeriodSeconds") == 0:
            return  # the API server is removing it
        # a second delete can shorten the grace period, which moves the timestamp
        stage = f"stop by {meta['deletionTimestamp']}" if "deletionTimestamp" in meta else "start"
        if self.stages.get(uid) == stage:
            return
        self.drop(uid)
        self.stages[uid] = stage
        work = self.start(pod) if stage == "start" else self.stop(pod)
        self.tasks[uid] = self.spawn(work, lambda: self.stages.pop(uid, None))

    def drop(self, uid: str) -> None:
        self.stages.pop(uid, None)
        if task := self.tasks.pop(uid, None):
            task.cancel()

    async def start(self, pod: Object) -> None:
        if is_ready(pod):  # made so before this process started
            return
        address = next(self.addresses)
        await self.set_status(pod, address, ready=False)
        await asyncio.sleep(self.options.cold_start)
        await self.set_status(pod, address, ready=True)

    async def stop(self, pod: Object) -> None:
        meta = pod["metadata"]
        exits = self.exits.setdefault(meta["uid"], time.time() + self.options.drain)
        killed = datetime.fromisoformat(meta["deletionTimestamp"]).timestamp()
        await asyncio.sleep(max(0.0, min(exits, killed) - time.time()))
        with tolerate(404, 409):  # 409: the name has gone to another pod
            await self.core.delete_namespaced_pod(
                meta["name"],
                meta["namespace"],
                body={"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}},
            )

    async def set_status(self, pod: Object, address: str, *, ready: bool) -> None:
        meta = pod["metadata"]
        flags = {
            "PodReadyToStartContainers": True,
            "Initialized": True,
            "ContainersReady": ready,
            "Ready": ready,
            "PodScheduled": True,
        }
        started = pod.setdefault("status", {}).setdefault("startTime", now())
        status = {
            "phase": "Running",
            "startTime": started,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [
                {
                    "type": kind,
                    "status": str(flag),
                    "lastTransitionTime": now(),
                    "reason": None if flag else "ContainersNotReady",
                }
                for kind, flag in flags.items()
                if not ready or kind.endswith("Ready")  # the others were set at the start
            ],
            "containerStatuses": [
                {
                    "name": each["name"],
                    "image": each["image"],
                    "imageID": each["image"],
                    "containerID": f"fake://{meta['uid']}/{each['name']}",
                    "restartCount": 0,
                    "ready": ready,
                    "started": ready,
                    "state": {"running": {"startedAt": started}},
                }
                for each in pod["spec"]["containers"]
            ],
        }
        with tolerate(404, 409):
            await self.core.patch_namespaced_pod_status(
                meta["name"],
                meta["namespace"],
                {"metadata": {"uid": meta["uid"]}, "status": status},
            )


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pods", required=True, help="a network: addresses of pods")
    parser.add_argument("--cold-start", type=float, default=3.0, help="seconds (%(default)s)")
    parser.add_argument("--drain", type=float, default=2.0, help="seconds (%(default)s)")
    parser.add_argument("--heartbeat", type=float, default=5.0, help="seconds (%(default)s)")
    options = parser.parse_args()
    await config.load_kube_config()
    async with client.ApiClient() as api:
        await FakeKubelet(api, options).run()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
