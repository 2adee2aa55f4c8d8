"""The HTTP side: routes, and the streams that the engine's tokens are written to."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from enum import Enum

from aiohttp import web

from simulations.box.vllm_server.completions import (
    DONE,
    ENGINE_DIED,
    SHUT_DOWN,
    CompletionAnswer,
    CompletionRequest,
    Refused,
    event,
    understand,
)
from simulations.box.vllm_server.live_engine import LiveEngine, LiveRequest
from simulations.box.vllm_server.options import ServerOptions
from simulations.box.vllm_server.page import CONTENT_TYPE, MetricsPage

BODY_BYTES_MAX = 64 << 20


class ServerStage(Enum):
    """Where the server is in its life."""

    SERVING = "serving"
    DRAINING = "draining"
    """New streams get an empty answer, other new requests an error; the old ones go on."""
    ABORTING = "aborting"
    """The engine is dead; everybody gets an error."""
    HANGING = "hanging"
    """The engine is dead; nobody gets anything any more."""


class Application:
    """One server's handlers and what they share."""

    def __init__(self, options: ServerOptions, engine: LiveEngine, page: MetricsPage) -> None:
        self.options = options
        self.engine = engine
        self.page = page
        self.stage = ServerStage.SERVING
        self.deserted = asyncio.Event()
        """Set while no completion request is without an end."""
        self.deserted.set()
        self._exchanges = 0
        self._random = random.Random(f"{options.seed}/lengths")
        self._created = int(time.time())
        self._ends: set[asyncio.Future[None]] = set()
        """Of those that wait for tokens."""
        self._metrics_back_s = 0.0
        """Until this moment of the monotonic clock the page answers 503: see `_fail_metrics`."""

    def build(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.add_routes(
            [
                web.post("/v1/completions", self._completions),
                web.get("/v1/models", self._models),
                web.get("/health", self._health),
                web.get("/ping", self._health),
                web.post("/ping", self._health),
                web.get("/metrics", self._metrics),
                web.get("/load", self._load),
                web.get("/version", self._version),
                web.post("/fault/metrics", self._fail_metrics),
            ]
        )
        return application

    def cut(self, *, hang: bool) -> None:
        """The engine is gone: cut what is in flight, or leave it hanging."""
        self.stage = ServerStage.HANGING if hang else ServerStage.ABORTING
        for _ in self.engine.kill():
            self.page.request_aborted()
        if not hang:
            for end in self._ends:
                if not end.done():
                    end.set_exception(Refused(500, "InternalServerError", ENGINE_DIED))

    # Completions.

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        began_s = time.monotonic()
        body = await request.read()
        status = 500
        self._exchanges += 1
        self.deserted.clear()
        try:
            response = await self._complete(request, body)
            status = response.status
            return response
        except Refused as refused:
            status = refused.status
            return web.json_response(refused.body, status=refused.status)
        finally:
            self._exchanges -= 1
            if not self._exchanges:
                self.deserted.set()
            self.page.http_answered(
                handler="/v1/completions",
                method="POST",
                status=status,
                received_bytes=len(body),
                duration_s=time.monotonic() - began_s,
            )

    async def _complete(self, request: web.Request, body: bytes) -> web.StreamResponse:
        asked = understand(body, self.options, self._random)
        match self.stage:
            case ServerStage.ABORTING:
                raise Refused(500, "InternalServerError", ENGINE_DIED)
            case ServerStage.HANGING:
                await asyncio.get_running_loop().create_future()
            case ServerStage.DRAINING if not asked.stream:
                self.page.request_aborted()
                raise Refused(500, "InternalServerError", SHUT_DOWN)
        identity = f"cmpl-{uuid.uuid4().hex}"
        answer = CompletionAnswer(asked, identity=identity, created=int(time.time()))
        if asked.stream:
            return await self._stream(request, asked, answer)
        live = self._submit(asked)
        await self._until_ended(live, lambda _fresh: None)
        return web.json_response(answer.whole(finish_reason=live.finish_reason))

    def _submit(self, asked: CompletionRequest) -> LiveRequest:
        return self.engine.submit(asked.tokens, output=asked.output, tokens_max=asked.tokens_max)

    async def _stream(
        self, request: web.Request, asked: CompletionRequest, answer: CompletionAnswer
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        if self.stage is ServerStage.DRAINING:
            # What a real vLLM does: the status line says 200, and no token ever comes.
            self.page.request_aborted()
            await response.prepare(request)
            await response.write(answer.end(0))
            await response.write_eof()
            return response
        live = self._submit(asked)
        await response.prepare(request)
        write = _writer(request)

        def on_tokens(fresh: int) -> None:
            reason = live.finish_reason if live.ended else None
            write(answer.tokens(live.delivered - fresh, fresh, finish_reason=reason))

        try:
            await self._until_ended(live, on_tokens)
            write(answer.end(live.delivered))
        except Refused as refused:
            write(event(refused.body) + DONE)
        await response.write_eof()
        return response

    async def _until_ended(self, live: LiveRequest, on_tokens: Callable[[int], None]) -> None:
        """Hand tokens on until the last; a client that goes away aborts its request."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def hear(fresh: int) -> None:
            on_tokens(fresh)
            if live.ended and not end.done():
                end.set_result(None)

        self._ends.add(end)
        live.on_tokens = hear
        try:
            await end
        except asyncio.CancelledError:
            if not self.engine.dead:
                self.engine.abort(live)
            raise
        finally:
            self._ends.discard(end)

    # The rest.

    async def _models(self, _request: web.Request) -> web.Response:
        cards = [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "vllm",
                "root": self.options.profile.model,
                "parent": None,
                "max_model_len": self.options.model_length_max,
            }
            for name in self.options.served_model_names
        ]
        return web.json_response({"object": "list", "data": cards})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=503 if self.engine.dead else 200)

    async def _fail_metrics(self, request: web.Request) -> web.Response:
        """An addition to vLLM's routes: `/metrics` answers 503 for so many seconds."""
        try:
            seconds = float(request.query["seconds"])
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text="write ?seconds=NUMBER") from error
        self._metrics_back_s = time.monotonic() + seconds
        return web.Response(text=f"/metrics answers 503 for {seconds:g} s\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        if time.monotonic() < self._metrics_back_s:
            raise web.HTTPServiceUnavailable(text="metrics are out, as /fault/metrics was asked")
        return web.Response(
            body=self.page.render(self.engine.gauges()), headers={"Content-Type": CONTENT_TYPE}
        )

    async def _load(self, _request: web.Request) -> web.Response:
        counted = self._exchanges if self.options.track_load else 0
        return web.json_response({"server_load": counted})

    async def _version(self, _request: web.Request) -> web.Response:
        version = ".".join(map(str, self.options.metrics_version))
        return web.json_response({"version": version})


def _writer(request: web.Request) -> Callable[[bytes], None]:
    """Writes to a prepared, chunked response from outside any task.

    A task per token per stream would cost more than everything else here. Tokens are small and the
    kernel's buffer is not, so nothing waits for a client that does not read.
    """
    transport = request.transport
    assert transport is not None  # the response was prepared a moment ago
    chunked = request.version >= (1, 1)

    def write(payload: bytes) -> None:
        if not transport.is_closing():
            frame = b"%x\r\n%b\r\n" % (len(payload), payload) if chunked else payload
            transport.write(frame)

    return write
