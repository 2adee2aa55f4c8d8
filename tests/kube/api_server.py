"""A scripted API server: each request is answered by the next step of its script, and counted.

`simulations.box.local_cluster` is the server that behaves; this one misbehaves to the letter, byte by byte,
and runs out of script loudly.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import yaml
from aiohttp import web

from autoscaler.kube.api.client import Client, connect

Json = dict[str, Any]
Step = Callable[[web.Request], Awaitable[web.StreamResponse]]

PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came in."""

    kind: str
    """list, watch or call."""
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    content_type: str
    accept: str
    accept_encoding: str
    authorization: str


class ScriptedServer:
    """Listens on loopback; `lists`, `watches` and `calls` are the scripts."""

    def __init__(self) -> None:
        self.lists: deque[Step] = deque()
        self.watches: deque[Step] = deque()
        self.calls: deque[Step] = deque()
        self.always: dict[str, Step] = {}
        """By kind: the answer once its script has run out."""
        self.requests: list[Request] = []
        self.released = asyncio.Event()
        """Set at the end: lets go of what hangs."""
        self._runner = web.ServerRunner(
            web.Server(self._serve, handler_cancellation=True), shutdown_timeout=0.5
        )
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.released.set()
        await self._runner.cleanup()

    def count(self, kind: str) -> int:
        """Requests of a kind so far."""
        return sum(1 for request in self.requests if request.kind == kind)

    async def client(self, folder: Path) -> Client:
        """A real client of it, by a kubeconfig."""
        return await connect(str(kubeconfig(folder / "kubeconfig", self.url)))

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        text = await request.text()
        kind = "call"
        if request.method == "GET" and "watch" in request.query:
            kind = "watch"
        elif request.method == "GET" and "limit" in request.query:
            kind = "list"
        self.requests.append(
            Request(
                kind=kind,
                method=request.method,
                path=request.path,
                query=dict(request.query),
                body=json.loads(text) if text else None,
                content_type=request.content_type,
                accept=request.headers.get("Accept", ""),
                accept_encoding=request.headers.get("Accept-Encoding", ""),
                authorization=request.headers.get("Authorization", ""),
            )
        )
        script = {"list": self.lists, "watch": self.watches, "call": self.calls}[kind]
        step = script.popleft() if script else self.always.get(kind)
        if step is None:
            return web.Response(status=418, text=f"the script has no {kind} left")
        return await step(request)  # type: ignore[arg-type]


# -- steps


def answer(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Step:
    async def step(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return step


def page(status: int = 502) -> Step:
    """A proxy's HTML page."""

    async def step(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=PROXY_PAGE, content_type="text/html")

    return step


def refuse(
    code: int,
    reason: str,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    causes: Sequence[Mapping[str, str]] = (),
) -> Step:
    return answer(status(code, reason, message, causes=causes), status=code, headers=headers)


def listing(
    items: Sequence[Json], *, version: str = "100", then: str = "", remaining: int = 0
) -> Step:
    metadata = {"resourceVersion": version}
    if then:
        metadata |= {"continue": then, "remainingItemCount": str(remaining)}
    return answer({"kind": "List", "metadata": metadata, "items": list(items)})


def watching(
    *lines: Json | bytes, end: str = "close", before_end: Callable[[], object] | None = None
) -> Step:
    """Write lines, then `close` cleanly, `abort` in the middle, `hang`, or `leave` it open to the caller."""

    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for line in lines:
            raw = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            await response.write(raw)
        if before_end is not None:
            before_end()
        if end == "leave":
            return response
        if end == "hang":
            await asyncio.Event().wait()
        if end == "abort":
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write_eof()
        return response

    return step


def hang() -> Step:
    """Take the request, say nothing."""

    async def step(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    return step


# -- bodies


def status(
    code: int, reason: str, message: str, *, causes: Sequence[Mapping[str, str]] = ()
) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": {"causes": list(causes)},
    }


def event(kind: str, body: Json) -> Json:
    return {"type": kind, "object": body}


def bookmark(version: str) -> Json:
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": version}})


def thing(name: str, *, version: str = "1", value: int = 0, namespace: str = "serving") -> Json:
    """Any object: a name, a version and a value."""
    return {
        "metadata": {"namespace": namespace, "name": name, "resourceVersion": version},
        "value": value,
    }


def kubeconfig(path: Path, url: str, *, user: Mapping[str, Any] | None = None) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": dict(user or {})}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


class Held:
    """Objects that a scripted server lists and watches: install it, then `put` and `drop` change it."""

    _PATHS: ClassVar[Mapping[str, str]] = {
        "Node": "/api/v1/nodes",
        "Pod": "/api/v1/namespaces/{}/pods",
        "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
        "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
        "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        "Event": "/api/v1/namespaces/{}/events",
        "NodeClaim": "/apis/karpenter.sh/v1/nodeclaims",
        "InferenceAutoscaler": "/apis/inference-autoscaler.dev/v1alpha1/namespaces/{}/inferenceautoscalers",
    }

    def __init__(self, server: ScriptedServer) -> None:
        self.version = 100
        self._items: dict[str, dict[str, Json]] = {}
        self._told: dict[str, list[tuple[int, Json]]] = {}
        self._streams: dict[str, list[asyncio.Queue[Json | None]]] = {}
        self._refused: tuple[str, Step] | None = None
        server.always["list"] = self._unless_refused(self._list)
        server.always["watch"] = self._unless_refused(self._watch)

    def put(self, *items: Json) -> None:
        """Add or replace; watches that are open are told."""
        for item in items:
            path, name = self._place(item)
            self.version += 1
            item["metadata"]["resourceVersion"] = str(self.version)
            kind = "MODIFIED" if name in self._items.get(path, {}) else "ADDED"
            self._items.setdefault(path, {})[name] = item
            self._tell(path, event(kind, item))

    def drop(self, *items: Json) -> None:
        """Take away."""
        for item in items:
            path, name = self._place(item)
            self.version += 1
            gone = self._items[path].pop(name)
            gone["metadata"]["resourceVersion"] = str(self.version)
            self._tell(path, event("DELETED", gone))

    def bookmark(self) -> None:
        """Tell every watch how far it is."""
        for path in self._streams:
            self._tell(path, bookmark(str(self.version)))

    def refuse(self, place: str, step: Step) -> None:
        """Answer so from now on where a path ends with `place`; watches on it that are open end."""
        self._refused = (place, step)
        for path, streams in self._streams.items():
            if path.endswith(place):
                for stream in streams:
                    stream.put_nowait(None)

    def answer_again(self) -> None:
        """Refuse nothing any more."""
        self._refused = None

    def _unless_refused(self, usual: Step) -> Step:
        async def step(request: web.Request) -> web.StreamResponse:
            refused = self._refused
            if refused is not None and request.path.endswith(refused[0]):
                return await refused[1](request)
            return await usual(request)

        return step

    def _place(self, item: Json) -> tuple[str, str]:
        metadata = item["metadata"]
        return self._PATHS[item["kind"]].format(metadata.get("namespace", "")), metadata["name"]

    def _tell(self, path: str, told: Json) -> None:
        told = copy.deepcopy(told)
        self._told.setdefault(path, []).append((self.version, told))
        for stream in self._streams.get(path, ()):
            stream.put_nowait(told)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        held = self._items.get(request.path, {}).values()
        items = [item for item in held if _is_selected(item, request)]
        return await listing(items, version=str(self.version))(request)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        stream: asyncio.Queue[Json | None] = asyncio.Queue()
        for version, told in self._told.get(request.path, ()):
            if version > int(request.query["resourceVersion"]):
                stream.put_nowait(told)
        self._streams.setdefault(request.path, []).append(stream)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while (told := await stream.get()) is not None:
            if told["type"] != "BOOKMARK" and not _is_selected(told["object"], request):
                continue
            await response.write(json.dumps(told).encode() + b"\n")
        return response


def _is_selected(item: Json, request: web.Request) -> bool:
    """Whether the field selector, if the request has one, takes this object."""
    name, _, value = request.query.get("fieldSelector", "").partition("=")
    if not name:
        return True
    part: Any = item
    for key in name.split("."):
        part = part[key]
    return bool(part == value)
