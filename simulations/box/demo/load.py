"""Clients: streamed completions on a schedule, each request accounted for.

A request is completed when its stream brought every token it asked for, a finish_reason and the end
mark. Anything else is lost, whatever the status line said: a draining server may answer 200 with an
empty stream. No client tries twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from simulations.rng import stream
from simulations.serving.columns import RequestColumns

PATIENCE_S = 120.0
"""After so long without its whole answer a client gives up."""
PROMPT_TOKENS_MEAN = 160
OUTPUT_TOKENS_MEAN = 48
_TOKENS_SPREAD = 0.5
"""Sigma of the lognormal lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request that will be sent."""

    at_s: float
    """Since the load began."""
    prompt_tokens: int
    output_tokens: int


def schedule(
    rate: Callable[[float], float], *, seconds: float, rate_max: float, seed: int
) -> list[Arrival]:
    """Poisson arrivals whose rate follows `rate` (requests a second), drawn by thinning.

    The same seed sends the same requests at the same moments, whatever the autoscaler does.
    """
    random = stream(seed, "demo/load")
    arrivals: list[Arrival] = []
    at = 0.0
    while True:
        at += float(random.exponential(1.0 / rate_max))
        if at >= seconds:
            return arrivals
        kept = float(random.uniform()) * rate_max < rate(at)
        prompt, output = (
            _tokens(mean, float(random.standard_normal()))
            for mean in (PROMPT_TOKENS_MEAN, OUTPUT_TOKENS_MEAN)
        )
        if kept:
            arrivals.append(Arrival(at_s=at, prompt_tokens=prompt, output_tokens=output))


def _tokens(mean: int, normal: float) -> int:
    """A lognormal length with this mean, between a quarter and four times it."""
    drawn = mean * np.exp(_TOKENS_SPREAD * normal - _TOKENS_SPREAD**2 / 2)
    return int(np.clip(round(drawn), mean // 4, 4 * mean))


def columns(arrivals: Sequence[Arrival]) -> RequestColumns:
    """The same requests, as the serving model takes them."""
    return RequestColumns(
        arrival_ns=np.array([round(a.at_s * 1e9) for a in arrivals], dtype=np.int64),
        prompt_tokens=np.array([a.prompt_tokens for a in arrivals], dtype=np.int64),
        output_tokens=np.array([a.output_tokens for a in arrivals], dtype=np.int64),
    )


@dataclass(slots=True, kw_only=True)
class SentRequest:
    """One request's story; moments are of the event loop's clock."""

    arrival: Arrival
    sent_at: float
    first_token_at: float | None = None
    ended_at: float | None = None
    tokens: int = 0
    finish_reason: str | None = None
    is_done: bool = False
    problem: str = ""

    @property
    def is_completed(self) -> bool:
        """It got all it asked for."""
        return (
            self.is_done
            and self.finish_reason == "length"
            and self.tokens == self.arrival.output_tokens
        )

    @property
    def ttft_s(self) -> float | None:
        """Seconds to the first token; None: none came."""
        return None if self.first_token_at is None else self.first_token_at - self.sent_at

    @property
    def tpot_s(self) -> float | None:
        """Seconds per further token; None: there was at most one."""
        if self.first_token_at is None or self.ended_at is None or self.tokens < 2:
            return None
        return (self.ended_at - self.first_token_at) / (self.tokens - 1)


@dataclass(slots=True, kw_only=True)
class Load:
    """Plays a schedule against one address."""

    url: str
    model: str
    arrivals: Sequence[Arrival]
    requests: list[SentRequest] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """Sent and not ended."""
        return sum(1 for request in self.requests if request.ended_at is None)

    @property
    def completed(self) -> int:
        """Ended with all they asked for."""
        return sum(1 for request in self.requests if request.is_completed)

    @property
    def lost(self) -> list[SentRequest]:
        """Ended otherwise."""
        return [r for r in self.requests if r.ended_at is not None and not r.is_completed]

    async def play(self) -> None:
        """Send everything when it is due, and wait for the last answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        # a connection a request: a Service balances connections, not requests
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            for arrival in self.arrivals:
                await asyncio.sleep(max(0.0, began + arrival.at_s - loop.time()))
                request = SentRequest(arrival=arrival, sent_at=loop.time())
                self.requests.append(request)
                group.create_task(self._perform(http, request))

    async def _perform(self, http: aiohttp.ClientSession, request: SentRequest) -> None:
        body = {
            "model": self.model,
            "prompt": [1] * request.arrival.prompt_tokens,
            "max_tokens": request.arrival.output_tokens,
            "ignore_eos": True,
            "stream": True,
        }
        loop = asyncio.get_running_loop()
        try:
            async with http.post(f"{self.url}/v1/completions", json=body) as answer:
                if answer.status != 200:
                    request.problem = f"HTTP {answer.status}: {(await answer.text())[:200]}"
                    return
                async for line in answer.content:
                    _read(request, line.strip(), at=loop.time())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            request.problem = f"{type(error).__name__}: {error}"
        finally:
            request.ended_at = loop.time()


def _read(request: SentRequest, line: bytes, *, at: float) -> None:
    """Take in one line of a stream of server-sent events."""
    if not line.startswith(b"data: "):
        return
    if line == b"data: [DONE]":
        request.is_done = True
        return
    chunk = json.loads(line[6:])
    if "error" in chunk:
        request.problem = str(chunk["error"])
        return
    for choice in chunk.get("choices", ()):
        if choice.get("text"):
            request.tokens += 1
            if request.first_token_at is None:
                request.first_token_at = at
        request.finish_reason = choice.get("finish_reason") or request.finish_reason
