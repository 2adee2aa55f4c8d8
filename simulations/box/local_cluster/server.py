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

from simulations.box.local_cluster.faults import WATCH_KINDS, Fault, FaultKind, Faults
from simulations.box.local_cluster.objects import Object, StatusError, bad_request, expired
from simulations.box.local_cluster.paths import Target, discovery, is_true, parse
from simulations.box.local_cluster.reads import Lists, Watches
from simulations.box.local_cluster.store import Store
from simulations.box.local_cluster.writes import Writes

_UNARY_KINDS = frozenset(FaultKind) - (WATCH_KINDS - {FaultKind.RESET, FaultKind.GONE}) | {
    FaultKind.TRUNCATED
}
"""Faults that strike a request with one answer."""
_STREAM_OPEN_KINDS = frozenset(FaultKind) - WATCH_KINDS
"""Faults that strike a watch before it is a stream."""
_PROXY_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)
REQUESTS_KEPT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
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
        self.faults = Faults(wake=store.wake)
        self.requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)
        self.port = 0
        """Chosen at the first start."""
        self._store = store
        self._writes = Writes(store)
        self._lists = Lists(store)
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
            kinds = _STREAM_OPEN_KINDS if watch else _UNARY_KINDS
            fault = self.faults.strike(target.verb, target.full_resource, target.name, kinds)
            if fault is not None:
                struck = await self._suffer(fault, request)
                if struck is not None:
                    return struck
            if watch:
                return await self._watch(target, request, query)
            code, answer = self._perform(target, body, request.content_type, query)
            if fault is not None and fault.kind is FaultKind.TRUNCATED:
                return await _half(request, answer)
            return web.json_response(answer, status=code)
        except StatusError as problem:
            return _answer(problem)

    def _note(self, target: Target, request: web.BaseRequest, body: Any) -> None:
        self.requests.append(
            Request(
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
        self, target: Target, body: Any, content_type: str, query: dict[str, str]
    ) -> tuple[int, Object]:
        match target.verb:
            case "get":
                return HTTPStatus.OK, self._writes.read(target)
            case "list":
                return HTTPStatus.OK, self._lists.answer(target, query)
            case "create":
                return HTTPStatus.CREATED, self._writes.create(target, _object(body), query)
            case "update":
                return HTTPStatus.OK, self._writes.update(target, _object(body), query)
            case "patch":
                return HTTPStatus.OK, self._writes.patch(target, body, content_type, query)
            case _:
                return HTTPStatus.OK, self._writes.delete(target, body or {}, query)

    async def _watch(
        self, target: Target, request: web.BaseRequest, query: dict[str, str]
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

    async def _suffer(self, fault: Fault, request: web.BaseRequest) -> web.StreamResponse | None:
        """The answer a fault gives; None: the request goes on."""
        match fault.kind:
            case FaultKind.HANG:
                while self.faults.stands(fault):
                    await self._store.changed(self._store.version)
                return None
            case FaultKind.SLOW:
                await asyncio.sleep(fault.delay_s)
                return None
            case FaultKind.RESET:
                reset(request)
                return web.Response()
            case FaultKind.BAD_GATEWAY:
                return web.Response(
                    status=HTTPStatus.BAD_GATEWAY, text=_PROXY_PAGE, content_type="text/html"
                )
            case FaultKind.TRUNCATED:
                return None
            case _:
                problem = _PROBLEMS[fault.kind]
                raise problem()


def _too_many_requests() -> StatusError:
    return StatusError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "TooManyRequests",
        "too many requests, please try again later",
        retry_after_s=1,
    )


def _unavailable() -> StatusError:
    return StatusError(
        HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "apiserver is shutting down"
    )


def _forbidden() -> StatusError:
    return StatusError(
        HTTPStatus.FORBIDDEN, "Forbidden", "forbidden: no rule allows this, on demand"
    )


def _conflict() -> StatusError:
    return StatusError(
        HTTPStatus.CONFLICT,
        "Conflict",
        "Operation cannot be fulfilled: the object has been modified, on demand",
    )


def _gone() -> StatusError:
    return expired("The resourceVersion for the provided list is too old.")


_PROBLEMS = {
    FaultKind.TOO_MANY_REQUESTS: _too_many_requests,
    FaultKind.UNAVAILABLE: _unavailable,
    FaultKind.FORBIDDEN: _forbidden,
    FaultKind.CONFLICT: _conflict,
    FaultKind.GONE: _gone,
}


def _answer(problem: StatusError) -> web.Response:
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    return web.json_response(problem.body(), status=problem.code, headers=headers)


async def _half(request: web.BaseRequest, answer: Object) -> web.StreamResponse:
    body = json.dumps(answer).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


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
