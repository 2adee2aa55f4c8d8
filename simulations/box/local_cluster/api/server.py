"""The API server over plain HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
from collections import deque

from aiohttp import web

from simulations.box.local_cluster.api.discovery import DISCOVERY
from simulations.box.local_cluster.api.faults import WATCH_KINDS, ApiFault, ApiFaultKind, ApiFaults
from simulations.box.local_cluster.api.reads import Watches, list_answer
from simulations.box.local_cluster.api.requests import ApiRequest, reset, understand
from simulations.box.local_cluster.api.writes import ApiWrites
from simulations.box.local_cluster.objects import Object, StatusError
from simulations.box.local_cluster.store import Store

_PROXY_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)
_OF_ANSWERS = frozenset(ApiFaultKind) - WATCH_KINDS
REQUESTS_KEPT = 20_000
_REFUSALS = {
    ApiFaultKind.UNAVAILABLE: ("ServiceUnavailable", "apiserver is shutting down"),
    ApiFaultKind.FORBIDDEN: ("Forbidden", "forbidden: no rule allows this, on demand"),
    ApiFaultKind.CONFLICT: ("Conflict", "the object has been modified, on demand"),
    ApiFaultKind.GONE: ("Expired", "the resourceVersion of the list is too old, on demand"),
}


class ApiServer:
    """Serves a store; may be stopped and started again on the same port."""

    def __init__(self, store: Store, *, bookmark_every_s: float = 60.0) -> None:
        self.faults = ApiFaults(wake=store.wake)
        self.requests: deque[ApiRequest] = deque(maxlen=REQUESTS_KEPT)
        """As they came in, for tests that count and compare."""
        self.port = 0
        """Chosen at the first start."""
        self._store = store
        self._writes = ApiWrites(store)
        self._watches = Watches(
            store, self.faults, bookmark_every_s=bookmark_every_s, written=self.written
        )
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def connections(self) -> web.Server:
        """What speaks HTTP on a connection: a factory of protocols, for sockets or anything like them."""
        return web.Server(self._handle, handler_cancellation=True, access_log=None)

    async def start(self, *, port: int = 0) -> None:
        """Listen; raises OSError when the port is taken."""
        if self._runner is not None:
            return
        runner = web.ServerRunner(self.connections(), shutdown_timeout=0.2)
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

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        if http.path in {"/healthz", "/livez", "/readyz"}:
            return web.Response(text="ok")
        if http.path in DISCOVERY:
            return web.json_response(DISCOVERY[http.path])
        try:
            request = await understand(http)
            self.requests.append(request)
            # a watch is hurt as a stream, once it is one
            watch = request.verb == "watch"
            kinds = _OF_ANSWERS if watch else frozenset(ApiFaultKind)
            fault = self.faults.strike(request.verb, request.resource, kinds)
            if fault is not None:
                struck = await self._suffer(fault, http)
                if struck is not None:
                    return struck
            if watch:
                return await self._watches.answer(request, http)
            answer = self._perform(request)
            if fault is not None and fault.kind is ApiFaultKind.ANSWER_LOST:
                reset(http)
            code = 201 if request.verb == "create" else 200
            body = self.written(request, answer)
            return web.Response(body=body, status=code, content_type="application/json")
        except StatusError as problem:
            return web.json_response(problem.body(), status=problem.code)

    def written(self, _request: ApiRequest, answer: Object) -> bytes:
        """An answer, or the event of a watch, as bytes: one that writes otherwise overrides this."""
        return json.dumps(answer).encode()

    def _perform(self, request: ApiRequest) -> Object:
        if request.query.get("dryRun"):
            raise StatusError("BadRequest", "a dry run is not understood here; leave dryRun out")
        match request.verb:
            case "get":
                return self._writes.read(request)
            case "list":
                return list_answer(self._store, request)
            case "create":
                return self._writes.create(request)
            case "update":
                return self._writes.update(request)
            case "patch":
                return self._writes.patch(request)
            case _:
                return self._writes.delete(request)

    async def _suffer(self, fault: ApiFault, http: web.BaseRequest) -> web.StreamResponse | None:
        """The answer a fault gives; None: the request goes on."""
        match fault.kind:
            case ApiFaultKind.HANG:
                await self.faults.lifted(fault)
            case ApiFaultKind.SLOW:
                await asyncio.sleep(fault.delay_s)
            case ApiFaultKind.ANSWER_LOST:
                pass  # once there is an answer
            case ApiFaultKind.RESET:
                reset(http)
                return web.Response()
            case ApiFaultKind.BAD_GATEWAY:
                return web.Response(status=502, text=_PROXY_PAGE, content_type="text/html")
            case _:
                raise StatusError(*_REFUSALS[fault.kind])
        return None
