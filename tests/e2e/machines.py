"""Machines of a cloud as our node agent sees them: one metadata service, which answers each for itself."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.agent.metadata_server import MetadataServer
from tests.e2e.dialects import Dialect, stamp
from tests.e2e.kubectl import get
from tests.e2e.nodes import node_object

INSTANCE_ACTION = "spot/instance-action"
ALIVE = "inference-autoscaler.dev/node-agent"


class Metadata(MetadataServer):
    """AWS's service of every machine that asks: who asks is known by its address."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__("aws", address=address)
        self.machines: dict[str, MetadataServer] = {}
        """By address."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Let the machine's own documents answer."""
        host = client_address[0]
        if host not in self.machines:
            self.machines[host] = MetadataServer("aws")
        self.RequestHandlerClass(request, client_address, self.machines[host])


_service: list[Metadata] = []
"""The one that serves now."""


@contextmanager
def metadata_service() -> Iterator[None]:
    """Serve where the nodes' agents ask, for the whole block."""
    host, _, port = os.environ["E2E_METADATA"].rpartition(":")
    with Metadata((host, int(port))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        _service.append(server)
        try:
            yield
        finally:
            _service.clear()
            server.shutdown()
            thread.join()
            for machine in server.machines.values():
                machine.server_close()


async def agents_speak(nodes: list[str]) -> bool:
    """Whether an agent runs on each of these nodes, by its own word on the Node."""
    found = [await node_object(name) for name in nodes]
    return all(each and ALIVE in each["metadata"].get("annotations", {}) for each in found)


async def _machine(node: str) -> MetadataServer:
    (found,) = await get("nodes", node)
    (address,) = (a["address"] for a in found["status"]["addresses"] if a["type"] == "InternalIP")
    return _service[0].machines[address]


async def _instance_action(node: str, ends_at: float) -> None:
    notice = {"action": "terminate", "time": stamp(ends_at)}
    (await _machine(node)).documents[INSTANCE_ACTION] = json.dumps(notice).encode()


async def _ended(_node: str) -> None:
    """The next machine of that address has no notice."""
    for machine in _service[0].machines.values():
        machine.documents.clear()


AGENT = Dialect(name="agent", source="aws-imds", lead_s=60.0, say=_instance_action, unsay=_ended)
"""`deploy/components/node-agent`, over the metadata service of AWS."""
