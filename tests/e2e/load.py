"""Clients: streamed completions through a Service, each request accounted for.

A request is whole when its stream brought every token, a finish_reason and [DONE]. Anything else is
lost, whatever the status line said: a draining vLLM answers 200 with an empty stream.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp


@dataclass(slots=True)
class Request:
    """One request's story."""

    sent_at: float
    tokens: int = 0
    first_token_at: float | None = None
    last_token_at: float | None = None
    ended_at: float | None = None
    finish_reason: str | None = None
    done: bool = False
    error: str | None = None

    def whole(self, tokens: int) -> bool:
        """It got all it asked for."""
        return self.done and self.finish_reason == "length" and self.tokens == tokens


@dataclass(slots=True)
class Load:
    """A schedule of requests against one Service address."""

    url: str
    model: str
    tokens: int
    prompt_tokens: int = 64
    timeout_s: float = 120.0
    requests: list[Request] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def in_flight(self) -> int:
        """Sent and not ended."""
        return sum(1 for request in self.requests if request.ended_at is None)

    def lost(self) -> list[Request]:
        """Ended without being whole."""
        return [r for r in self.requests if r.ended_at is not None and not r.whole(self.tokens)]

    async def play(self, rates: Sequence[tuple[float, float]], *, seed: int) -> None:
        """Send Poisson arrivals: `rates` is (seconds, requests per second) piece by piece.

        Returns when each request sent has ended.
        """
        # a connection a request: kube-proxy balances connections, not requests
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            began_at = time.monotonic()
            for after_s in _arrivals(rates, random.Random(seed)):
                if await self._is_over_by(began_at + after_s):
                    break
                self._send(session)
            await self._is_over_by(began_at + sum(seconds for seconds, _ in rates))
            while self._tasks:
                await asyncio.gather(*self._tasks)

    @asynccontextmanager
    async def playing(
        self, rates: Sequence[tuple[float, float]], *, seed: int
    ) -> AsyncIterator[None]:
        """Play while the block runs. At its end nothing more is sent, and what is in flight ends.

        To cut it there would count it as lost.
        """
        played = asyncio.create_task(self.play(rates, seed=seed))
        try:
            yield
            self._over.set()
            await played
        finally:  # a failure of the block does not wait for streams
            played.cancel()
            await asyncio.gather(played, return_exceptions=True)

    async def _is_over_by(self, moment: float) -> bool:
        """Wait for that moment, or for the end of the block, whichever is first."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), max(0.0, moment - time.monotonic()))
        return self._over.is_set()

    def _send(self, session: aiohttp.ClientSession) -> None:
        request = Request(sent_at=time.monotonic())
        self.requests.append(request)
        task = asyncio.create_task(self._perform(session, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _perform(self, session: aiohttp.ClientSession, request: Request) -> None:
        body = {
            "model": self.model,
            "prompt": [1] * self.prompt_tokens,
            "max_tokens": self.tokens,
            "ignore_eos": True,
            "stream": True,
        }
        try:
            async with session.post(
                f"{self.url}/v1/completions",
                json=body,
                timeout=aiohttp.ClientTimeout(total=self.timeout_s),
            ) as answer:
                if answer.status != 200:
                    request.error = f"HTTP {answer.status}: {(await answer.text())[:200]}"
                    return
                async for line in answer.content:
                    self._read(request, line.strip())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            request.error = f"{type(error).__name__}: {error}"
        finally:
            request.ended_at = time.monotonic()

    def _read(self, request: Request, line: bytes) -> None:
        if not line.startswith(b"data: "):
            return
        if line == b"data: [DONE]":
            request.done = True
            return
        chunk = json.loads(line[6:])
        if "error" in chunk:
            request.error = str(chunk["error"])
            return
        for choice in chunk.get("choices", ()):
            if choice.get("text"):
                request.tokens += 1
                request.last_token_at = time.monotonic()
                request.first_token_at = request.first_token_at or request.last_token_at
            request.finish_reason = choice.get("finish_reason") or request.finish_reason


def _arrivals(rates: Sequence[tuple[float, float]], rng: random.Random) -> Iterator[float]:
    """Seconds from the beginning to each arrival."""
    began = 0.0
    for seconds, rate in rates:
        at, end = began, began + seconds
        while rate > 0 and (at := at + rng.expovariate(rate)) < end:
            yield at
        began = end
