"""What a server does at SIGTERM: end at once, abort, drain, or overrun and hang.

Measured on vLLM 0.32; the constants are what was seen there.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from aiohttp import web

from simulations.box.vllm_server.application import Application, ServerStage

IDLE_S = 0.4
"""From SIGTERM to a closed port, where nothing was in flight (gone after 1.1 s)."""
ABORTED_S = 0.2
"""The same where requests were aborted."""
EXIT_S = 0.5
"""From the closed port to the end of the process."""
DEAD_S = 0.04
"""For how long /health says 503 after an overrun killed the engine."""


class Shutdown:
    """Brings one server to its end, once; a second SIGTERM changes nothing."""

    def __init__(self, application: Application, site: web.BaseSite) -> None:
        self._application = application
        self._site = site
        self._options = application.options
        self._random = random.Random(f"{self._options.seed}/ending")

    async def run(self) -> None:
        """From SIGTERM to the moment at which the process may go."""
        engine = self._application.engine
        timeout_s = self._options.shutdown_timeout_s
        mode = f"drain timeout={timeout_s:g}s" if timeout_s else "abort"
        print(f"shutdown triggered mode={mode} in_flight={engine.in_flight}", flush=True)
        if timeout_s:
            await self._drain(timeout_s)
        elif engine.in_flight:
            await self._abort()
        else:
            await self._close(after_s=IDLE_S)
        await asyncio.sleep(EXIT_S)

    async def _close(self, *, after_s: float) -> None:
        """Close the port; connections that are open stay so."""
        await asyncio.sleep(after_s)
        await self._site.stop()

    async def _abort(self) -> None:
        hang = self._random.random() < self._options.abort_hangs_ratio
        self._application.cut(hang=hang)
        await self._close(after_s=ABORTED_S)
        if hang:
            await self._until_clients_leave()

    async def _drain(self, timeout_s: float) -> None:
        """Let what is in flight finish; what comes now gets an answer without content."""
        application, engine = self._application, self._application.engine
        application.stage = ServerStage.DRAINING
        if not engine.in_flight:
            await self._close(after_s=IDLE_S)
            return
        print(f"draining in-flight requests count={engine.in_flight}", flush=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(engine.idle.wait(), timeout_s)
        if engine.in_flight:
            print(f"drain overran with {engine.in_flight} requests in flight", flush=True)
            application.cut(hang=True)
            await self._close(after_s=DEAD_S)
            await self._until_clients_leave()
            return
        print("request processing complete", flush=True)
        await self._close(after_s=self._options.teardown_s)

    async def _until_clients_leave(self) -> None:
        """The process lives as long as somebody waits for it in vain."""
        await self._application.deserted.wait()
