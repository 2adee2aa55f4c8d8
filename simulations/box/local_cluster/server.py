"""The API server over plain HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from simulations.box.local_cluster.faults import WATCH_KINDS, ApiFault, ApiFaultKind, ApiFaults
from simulations.box.local_cluster.objects import Object, StatusError, bad_request, expired
from simulations.box.local_cluster.paths import RequestTarget, discovery, is_true, parse
from simulations.box.local_cluster.reads import Watches, list_answer
from simulations.box.local_cluster.store import Store
from simulations.box.local_cluster.writes import ApiWrites

_PROXY_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)
_OF_ANSWERS = frozenset(ApiFaultKind) - WATCH_KINDS
REQUESTS_KEPT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request as it came in, for tests that count and compare."""

    at: float
    """Seconds of the event loop's clock."""
    verb: str
    resource: str
    """With its subresource, as `deployments/scale`."""
    namespace: str
    name: str
    query: dict[str, str]
    body: Any
    content_type: str


class _Response:
    """A watch's response as a `Sink`."""

    def __init__(self, response: web.StreamResponse, request: web.BaseRequest) -> None:
        self._response = response
        self._request = request

    async def write(self, data: bytes) -> None:
        await self._response.write(data)

    def abort(self) -> None:
        reset(self._request)


class ApiServer:
    """Serves a store; may be stopped and started again on the same port."""

    def __init__(self, store: Store, *, bookmark_every_s: float = 60.0) -> None:
        self.faults = ApiFaults(wake=store.wake)
        self.requests: deque[ApiRequest] = deque(maxlen=REQUESTS_KEPT)
        self.port = 0
        """Chosen at the first start."""
        self._store = store
        self._writes = ApiWrites(store)
        self._watches = Watches(store, self.faults, bookmark_every_s=bookmark_every_s)
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, port: int = 0) -> None:
        """Listen; raises OSError when the port is taken."""
        if self._runner is not None:
            return
        runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None),
            shutdown_timeout=0.2,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port or self.port)
        await site.start()
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections and cut the open ones; what is stored stays."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, query = request.path, dict(request.query)
        if path in {"/healthz", "/livez", "/readyz"}:
            return web.Response(text="ok")
        try:
            found = discovery(path)
            if found is not None:
                return web.json_response(found)
            watch = is_true(query.get("watch", ""))
            target = parse(request.method, path, watch=watch)
            body = await _body(request)
            self._note(target, request, body)
            # a watch is hurt as a stream, once it is one
            kinds = _OF_ANSWERS if watch else frozenset(ApiFaultKind)
            fault = self.faults.strike(target.verb, target.full_resource, kinds)
            if fault is not None:
                struck = await self._suffer(fault, request)
                if struck is not None:
                    return struck
            if watch:
                return await self._watch(target, request, query)
            code, answer = self._perform(target, body, request.content_type, query)
            if fault is not None and fault.kind is ApiFaultKind.ANSWER_LOST:
                reset(request)
            return web.json_response(answer, status=code)
        except StatusError as problem:
            return _answer(problem)

    def _note(self, target: RequestTarget, request: web.BaseRequest, body: Any) -> None:
        self.requests.append(
            ApiRequest(
                at=asyncio.get_running_loop().time(),
                verb=target.verb,
                resource=target.full_resource,
                namespace=target.namespace,
                name=target.name,
                query=dict(request.query),
                body=body,
                content_type=request.content_type,
            )
        )

    def _perform(
        self, target: RequestTarget, body: Any, content_type: str, query: dict[str, str]
    ) -> tuple[int, Object]:
        if query.get("dryRun"):
            raise bad_request("a dry run is not understood here; leave dryRun out")
        match target.verb:
            case "get":
                return HTTPStatus.OK, self._writes.read(target)
            case "list":
                return HTTPStatus.OK, list_answer(self._store, target, query)
            case "create":
                return HTTPStatus.CREATED, self._writes.create(target, _object(body))
            case "update":
                return HTTPStatus.OK, self._writes.update_scale(target, _object(body))
            case "patch":
                return HTTPStatus.OK, self._writes.patch(target, body, content_type)
            case _:
                return HTTPStatus.OK, self._writes.delete(target, body or {}, query)

    async def _watch(
        self, target: RequestTarget, request: web.BaseRequest, query: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            await self._watches.stream(target, query, _Response(response, request))
        except ConnectionError:
            return response  # the client is gone, or a fault reset it
        if request.transport is not None and not request.transport.is_closing():
            await response.write_eof()
        return response

    async def _suffer(self, fault: ApiFault, request: web.BaseRequest) -> web.StreamResponse | None:
        """The answer a fault gives; None: the request goes on."""
        match fault.kind:
            case ApiFaultKind.HANG:
                while self.faults.stands(fault):
                    await self._store.changed(self._store.version)
            case ApiFaultKind.SLOW:
                await asyncio.sleep(fault.delay_s)
            case ApiFaultKind.ANSWER_LOST:
                pass  # once there is an answer
            case ApiFaultKind.RESET:
                reset(request)
                return web.Response()
            case ApiFaultKind.BAD_GATEWAY:
                return web.Response(
                    status=HTTPStatus.BAD_GATEWAY, text=_PROXY_PAGE, content_type="text/html"
                )
            case ApiFaultKind.GONE:
                raise expired("The resourceVersion for the provided list is too old.")
            case _:
                raise StatusError(*_REFUSALS[fault.kind])
        return None


_REFUSALS = {
    ApiFaultKind.UNAVAILABLE: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "ServiceUnavailable",
        "apiserver is shutting down",
    ),
    ApiFaultKind.FORBIDDEN: (
        HTTPStatus.FORBIDDEN,
        "Forbidden",
        "forbidden: no rule allows this, on demand",
    ),
    ApiFaultKind.CONFLICT: (
        HTTPStatus.CONFLICT,
        "Conflict",
        "Operation cannot be fulfilled: the object has been modified, on demand",
    ),
}


def _answer(problem: StatusError) -> web.Response:
    return web.json_response(problem.body(), status=problem.code)


async def _body(request: web.BaseRequest) -> Any:
    text = await request.text() if request.can_read_body else ""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise bad_request(f"couldn't parse the body as JSON: {error}") from error


def _object(body: Any) -> Object:
    if not isinstance(body, dict):
        raise bad_request("the body of the request must be an object")
    return body


def reset(request: web.BaseRequest) -> None:
    """Cut the connection with a RST, not a FIN."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
