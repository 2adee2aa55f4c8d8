"""The stand-in for dcgm-exporter on every node, installed where the GPU Operator has the real one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.daemon import keep_logs
from tests.e2e.kubectl import get, kubectl_async, wait_until

NAMESPACE = "gpu-operator"
NAME = "nvidia-dcgm-exporter"
LABELS = {"app": NAME}
PORT = 9400


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporters:
    """One on each node."""

    async def addresses(self) -> dict[str, str]:
        """Of those that run, by node."""
        pods = await get("pods", namespace=NAMESPACE, labels=f"app={NAME}")
        return {
            pod["spec"]["nodeName"]: f"http://{pod['status']['podIP']}:{PORT}"
            for pod in pods
            if pod["status"].get("podIP")
        }

    async def fail(self, node: str, *, xid: int) -> None:
        """Give every card of a node this error."""
        url = (await self.addresses())[node] + "/fault"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, params={"xid": str(xid)}) as answer,
        ):
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def exporting(image: str, folder: Path) -> AsyncIterator[Exporters]:
    """Exporters on all nodes, that have seen their pods; taken away at the end."""
    listing = {"apiVersion": "v1", "kind": "List", "items": _objects(image)}
    await kubectl_async("apply", "-f", "-", stdin=json.dumps(listing))
    exporters = Exporters()
    try:
        nodes = await get("nodes")

        async def all_answer() -> bool:
            addresses = (await exporters.addresses()).values()
            return len(addresses) == len(nodes) and all([await _speaks(url) for url in addresses])

        await wait_until("an exporter answers on each node", all_answer, timeout_s=60)
        yield exporters
    finally:
        await keep_logs(NAMESPACE, folder)
        await kubectl_async("delete", "-f", "-", "--wait=false", stdin=json.dumps(listing))


async def _speaks(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
            return answer.status == 200 and "DCGM_FI_DEV_FB_USED{" in await answer.text()
    except aiohttp.ClientError:
        return False


def _objects(image: str) -> list[dict[str, Any]]:
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    container = {
        "name": "exporter",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["/usr/bin/python3", "-m", "simulations.box.dcgm_exporter"],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "ports": [{"name": "metrics", "containerPort": PORT}],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME},
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": role,
            "subjects": [account],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
            "spec": {
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {
                        "serviceAccountName": NAME,
                        "terminationGracePeriodSeconds": 1,
                        "tolerations": [{"operator": "Exists"}],
                        "containers": [container],
                    },
                },
            },
        },
    ]
