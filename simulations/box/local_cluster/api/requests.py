"""Requests, understood: what each is about, as RBAC names it."""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from simulations.box.local_cluster.objects import (
    RESOURCES,
    ApiKind,
    Object,
    StatusError,
)

_PATH = re.compile(
    r"/api(?:s/(?P<group>[^/]+))?/(?P<version>v[12])"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?/?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request; the server keeps them for tests that count and compare."""

    verb: str
    """get, list, watch, create, update, patch, delete."""
    kind: ApiKind
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    content_type: str
    manager: str
    """Field manager: as the query says, else the first word of the client's name."""
    body: Any
    """What its JSON says; None: it has none."""

    @property
    def plural(self) -> str:
        """`pods`, also of a subresource."""
        return self.kind.plural

    @property
    def resource(self) -> str:
        """`pods`, or `pods/eviction`, as roles name it."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural

    def flag(self, name: str) -> bool:
        """A boolean in the query, as Go parses it; kubernetes_asyncio writes `True`."""
        return self.query.get(name) in {"1", "t", "T", "true", "TRUE", "True"}

    def number(self, name: str) -> int:
        """A whole number in the query; 0 where there is none."""
        text = self.query.get(name, "") or "0"
        if not text.isdigit():
            raise StatusError("BadRequest", f"invalid {name}: {text!r}")
        return int(text)

    def object(self) -> Object:
        """The body, which must be an object."""
        if not isinstance(self.body, dict):
            raise StatusError("BadRequest", "the body of the request must be an object")
        return self.body


async def understand(request: web.BaseRequest) -> ApiRequest:
    """Read a request; raises 400, 404 and 405."""
    parts = _PATH.fullmatch(request.path)
    about = parts.groupdict(default="") if parts else {}
    kind = next(
        (
            r
            for r in RESOURCES
            if (r.group, r.version, r.plural)
            == (about.get("group"), about.get("version"), about.get("plural"))
        ),
        None,
    )
    subresource = about.get("subresource", "")
    if kind is None or (subresource and subresource not in kind.subresources):
        raise StatusError("NotFound", "the server could not find the requested resource")
    made = ApiRequest(
        verb=_verb(
            request.method,
            named=bool(about["name"]),
            subresource=subresource,
            replaced=kind.replaced,
        ),
        kind=kind,
        namespace=about["namespace"],
        name=about["name"],
        subresource=subresource,
        query=dict(request.query),
        content_type=request.content_type,
        manager=request.query.get("fieldManager")
        or request.headers.get("User-Agent", "unknown").partition("/")[0],
        body=await _body(request),
    )
    if made.verb in {"get", "list"} and made.flag("watch"):
        return replace(made, verb="watch")
    return made


def _verb(method: str, *, named: bool, subresource: str, replaced: bool) -> str:
    match method, named, subresource:
        case "GET" | "HEAD", _, _:
            return "get" if named else "list"
        case ("POST", False, "") | ("POST", True, "eviction"):
            return "create"
        case "PUT", True, "scale":
            return "update"
        case "PUT", True, "" if replaced:
            return "update"
        case "PATCH" | "DELETE", True, "" | "scale" | "status":
            return method.lower()
    raise StatusError(
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )


async def _body(request: web.BaseRequest) -> Any:
    text = await request.text() if request.can_read_body else ""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise StatusError("BadRequest", f"couldn't parse the body as JSON: {error}") from error


def reset(request: web.BaseRequest) -> None:
    """Cut the connection with a RST, not a FIN."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
