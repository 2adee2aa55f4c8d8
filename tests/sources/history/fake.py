"""A Prometheus that answers queries over a range as a test says: exactly, late, in part, or with nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from autoscaler.settings import PrometheusSettings
from tests.sources.servers import serving

FIGURES = {
    "running": 8.0,
    "waiting": 1.0,
    "finished": 2.0,
    "change": 0.5,
    "kv_usage": 0.5,
    "replicas": 2.0,
}


@dataclass(frozen=True)
class Query:
    """One, as it came."""

    expression: str
    start: float
    end: float
    step: float

    @property
    def probes(self) -> bool:
        return "count_over_time" in self.expression

    @property
    def moments(self) -> list[float]:
        return [
            self.start + k * self.step
            for k in range(round((self.end - self.start) / self.step) + 1)
        ]


Answer = Callable[[Query], Awaitable[web.StreamResponse]]


def series(moments: list[float], value: float, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "values": [[at, f"{value:g}"] for at in moments]}


def matrix(*result: dict[str, Any], **beside: Any) -> web.Response:
    data = {"resultType": "matrix", "result": list(result)}
    return web.json_response({"status": "success", "data": data, **beside})


def error(status: int, kind: str, message: str) -> web.Response:
    body = {"status": "error", "errorType": kind, "error": message}
    return web.json_response(body, status=status)


def as_asked(query: Query, **figures: float) -> web.Response:
    """Forty samples in ten minutes, and the same figures at every moment."""
    if query.probes:
        return matrix(series(query.moments, 40.0))
    found = re.findall(r'"figure", "(\w+)"', query.expression)
    values = {**FIGURES, **figures}
    return matrix(*(series(query.moments, values[name], figure=name) for name in found))


@dataclass
class FakePrometheus:
    """Its queries so far, and how it answers."""

    answer: Callable[[Query], Awaitable[web.StreamResponse] | web.StreamResponse] = as_asked
    queries: list[Query] = field(default_factory=list)
    port: int = 0

    @property
    def asked(self) -> list[Query]:
        """Without those that look how often pods are scraped."""
        return [query for query in self.queries if not query.probes]

    @property
    def settings(self) -> PrometheusSettings:
        return PrometheusSettings(name="main", server_address=f"http://127.0.0.1:{self.port}")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with serving({"127.0.0.1": self._take}, path="/api/v1/query_range") as self.port:
            yield

    async def _take(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        query = Query(
            str(form["query"]), *(float(str(form[key])) for key in ("start", "end", "step"))
        )
        self.queries.append(query)
        answer = self.answer(query)
        return await answer if asyncio.iscoroutine(answer) else answer
