"""The one object of the API server that the agent may touch: its own Node.

It has the right to patch Nodes and no other, and an admission policy binds that to this Node and our
annotations (`deploy/components/node-agent`). A patch is answered with the Node as it is then, so it is also
how the Node is read: no right to get any Node is needed. Token and certificate are read anew for every
call, for the kubelet replaces them.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from autoscaler.agent.exchange import Address, ExchangeError, HttpAnswer, exchange

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_S = 5.0
BYTES_MAX = 2 * 1024 * 1024
"""More than an object may have at the API server."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
"""A Node lists its images, tens of kilobytes; its metadata is enough."""
HINTS = {
    401: "the service account's token is not accepted; is it mounted?",
    403: "grant it what deploy/components/node-agent grants",
    404: "--node is to be the name of this machine's Node",
}


class NodeError(Exception):
    """The Node could not be read or written; it is tried again."""


class NodeView(NamedTuple):
    """What an answer says of the Node."""

    annotations: Mapping[str, str]
    provider_id: str
    """`spec.providerID`; empty: not said, or not asked for."""


class OwnNode:
    """Reads and writes one Node."""

    def __init__(self, name: str, *, server: Address, account: Path = SERVICE_ACCOUNT) -> None:
        self.name = name
        self._server = server
        self._account = account

    def look(self) -> NodeView:
        """The Node as it is, with its `spec`. Raises NodeError."""
        return self._patch({}, accept="application/json")

    def annotate(self, annotations: Mapping[str, str | None]) -> NodeView:
        """Set annotations, take away those that are None; the Node as it is then. Raises NodeError."""
        return self._patch({"metadata": {"annotations": annotations}}, accept=METADATA_ONLY)

    def _patch(self, change: Mapping[str, Any], *, accept: str) -> NodeView:
        doing = f"patch of node {self.name} at {self._server}"
        try:
            answer = exchange(
                self._server,
                "PATCH",
                f"/api/v1/nodes/{quote(self.name, safe='')}?fieldManager=inference-autoscaler-node-agent",
                headers={
                    "Authorization": f"Bearer {self._token()}",
                    "Accept": accept,
                    "Content-Type": "application/merge-patch+json",
                    "Connection": "close",
                },
                body=json.dumps(change).encode(),
                timeout_s=TIMEOUT_S,
                bytes_max=BYTES_MAX,
                tls=self._tls(),
            )
            if answer.status != 200:
                hint = HINTS.get(answer.status, "it is tried again")
                raise NodeError(f"{doing}: {answer.status} {_message(answer)}; {hint}")
            return _view(answer.document())
        except (OSError, ValueError, ExchangeError) as error:
            raise NodeError(f"{doing}: {error}"[:500]) from error

    def _token(self) -> str:
        return (self._account / "token").read_text().strip()

    def _tls(self) -> ssl.SSLContext:
        # Not the default context: it loads every authority of the system, two megabytes.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=str(self._account / "ca.crt"))
        return context


def _view(document: Any) -> NodeView:
    """Raises ValueError for what is no Node."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError("the answer is no object with metadata")  # noqa: TRY004  an answer, no argument
    annotations, spec = metadata.get("annotations"), document.get("spec")
    provider_id = spec.get("providerID") if isinstance(spec, dict) else None
    return NodeView(
        annotations={
            str(key): str(value)
            for key, value in (annotations if isinstance(annotations, dict) else {}).items()
        },
        provider_id=provider_id if isinstance(provider_id, str) else "",
    )


def _message(answer: HttpAnswer) -> str:
    try:
        document = answer.document()
    except ExchangeError:
        return repr(answer.text[:80])
    message = document.get("message") if isinstance(document, dict) else None
    return str(message)[:400] if message else repr(answer.text[:80])
