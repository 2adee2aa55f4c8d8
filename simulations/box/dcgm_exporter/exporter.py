"""The server: it follows the pods of its node, and answers `/metrics`, `/health` and `/fault`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
from aiohttp import web

from simulations.box.dcgm_exporter.cards import Cards, holder_of
from simulations.box.dcgm_exporter.page import CONTENT_TYPE, write_page

_GPU = "nvidia.com/gpu"


class Exporter:
    """One node's exporter."""

    def __init__(self, *, node: str, api: aiohttp.ClientSession, period_s: float) -> None:
        """Make one that knows nothing yet.

        Args:
            node: Its name.
            api: Of the API server, with what authorizes.
            period_s: Between two looks at the pods; a real one collects every 30 s.
        """
        self.cards = Cards(node)
        self.seen = False
        """The node and its pods were read once: before that there is no page."""
        self._api = api
        self._period_s = period_s

    def build(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/health", self._health),
                web.post("/fault", self._fault),
            ]
        )
        return application

    async def run(self) -> None:
        """Follow the pods until cancelled; while the API server is away the page stands."""
        while True:
            try:
                await self.look()
            except (aiohttp.ClientError, TimeoutError) as error:
                print(f"the API server does not answer: {error!r}", flush=True)
            await asyncio.sleep(self._period_s)

    async def look(self) -> None:
        """Read the node and its pods once."""
        node = await self._get(f"/api/v1/nodes/{self.cards.node}")
        found = await self._get(f"/api/v1/pods?fieldSelector=spec.nodeName={self.cards.node}")
        self.cards.resize(int(node.get("status", {}).get("capacity", {}).get(_GPU, 0)))
        holders = [holder_of(pod, at=time.time()) for pod in found["items"]]
        self.cards.assign(holder for holder in holders if holder is not None)
        self.seen = True

    async def _get(self, path: str) -> dict[str, Any]:
        async with self._api.get(path) as answer:
            answer.raise_for_status()
            body: dict[str, Any] = await answer.json()
            return body

    async def _metrics(self, _request: web.Request) -> web.Response:
        if not self.seen:
            raise web.HTTPServiceUnavailable(text="no pods were listed yet\n")
        body = write_page(self.cards.cards).encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="KO" if not self.seen else "OK")

    async def _fault(self, request: web.Request) -> web.Response:
        """`POST /fault?xid=79&gpu=0&gpu=1`; without `gpu`: all cards. `xid=0` mends them."""
        count = len(self.cards.cards)
        try:
            xid = int(request.query["xid"])
            numbers = [int(number) for number in request.query.getall("gpu", [])]
        except (KeyError, ValueError):
            raise web.HTTPBadRequest(text="ask for ?xid=CODE[&gpu=NUMBER]...\n") from None
        if any(not 0 <= number < count for number in numbers):
            raise web.HTTPBadRequest(text=f"{self.cards.node} has GPUs 0 to {count - 1}\n")
        self.cards.fail(numbers=numbers or range(count), xid=xid)
        return web.Response(text=f"Xid {xid} on {numbers or 'all'} of {count}\n")
