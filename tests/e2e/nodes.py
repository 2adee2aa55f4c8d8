"""Spot nodes as a cloud gives and takes them: their power, their network, and their Node objects."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.e2e.kubectl import command_from, get, kubectl_async, run, wait_until

GPUS = "nvidia.com/gpu"


def on(node: str, pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the pods that are on a node."""
    return [pod for pod in pods if pod["spec"].get("nodeName") == node]


async def node_object(name: str) -> dict[str, Any] | None:
    """The Node; None where there is none, or no API server."""
    found = await get("nodes", name)
    return found[0] if found else None


async def power_off(node: str) -> None:
    """The machine is gone; its Node object is not, yet."""
    await _command("E2E_POWER_OFF", node)


async def cut(node: str) -> None:
    """The network of a machine that goes on running."""
    await _command("E2E_CUT", node)


async def mend(node: str) -> None:
    """Undo `cut`."""
    await _command("E2E_MEND", node)


async def take(node: str) -> None:
    """The cloud takes a machine: its power goes, and then its Node object."""
    await power_off(node)
    # Karpenter's finalizer would hold it, where a scene has set one
    patch = json.dumps({"metadata": {"finalizers": None}})
    await kubectl_async("patch", "node", node, "--type=merge", "-p", patch, check=False)
    await kubectl_async("delete", "node", node, "--wait=true", "--timeout=30s")


async def give_back(node: str, *, gpus: str) -> None:
    """The cloud gives a machine of that name again: a new Node object, with nothing left of the old."""
    await _command("E2E_POWER_ON", node)

    async def registered() -> bool:
        return await node_object(node) is not None

    await wait_until(f"{node} is registered", registered, timeout_s=90)
    # what a device plugin would say, as for every node of the mini cluster
    patch = json.dumps({"status": {"capacity": {GPUS: gpus}}})
    await kubectl_async("patch", "node", node, "--subresource=status", "--type=merge", "-p", patch)
    await wait_ready(node)


async def wait_ready(node: str, *, timeout_s: float = 90) -> None:
    """Until its kubelet says so."""

    async def ready() -> bool:
        found = await node_object(node)
        conditions = found["status"].get("conditions", ()) if found else ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    await wait_until(f"{node} is ready", ready, timeout_s=timeout_s)


async def gpus_of(node: str) -> str:
    """What its Node object says, as Kubernetes writes it."""
    found = await node_object(node)
    assert found is not None, f"there is no node {node}"
    return str(found["status"]["capacity"][GPUS])


async def _command(variable: str, node: str) -> None:
    await asyncio.to_thread(run, *command_from(variable), node, timeout_s=60)
