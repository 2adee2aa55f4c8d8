"""A cache that runs against a scripted server, on a clock that is the test's."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from autoscaler.kube.api.client import Client
from autoscaler.kube.api.resources import PODS
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.timing import Timing
from autoscaler.kube.watch.watch import ResourceCache


@dataclass
class Clock:
    """Moves only by pauses, and as the test says. `pauses` wakes whoever waits for one."""

    at: float = 1_000_000.0
    pauses: list[float] = field(default_factory=list)
    _tick: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> float:
        return self.at

    async def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.at += pause_s
        self._tick.set()
        await asyncio.sleep(0)

    def pass_s(self, seconds: float) -> None:
        self.at += seconds

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.001)

    async def paused(self, times: int) -> None:
        await self.until(lambda: len(self.pauses) >= times)


class Watched:
    """A cache that runs, with what it told."""

    def __init__(
        self, client: Client, clock: Clock, timing: Timing, *, seed: int = 0, crowd: int = 1
    ) -> None:
        self.told: list[ObjectChange[int]] = []
        self.cache: ResourceCache[int] = ResourceCache(
            client,
            PODS,
            lambda item: int(item["value"]),
            now=clock.now,
            rng=random.Random(seed),
            namespace="serving",
            labels="app=llama",
            sleep=clock.sleep,
            timing=timing,
            crowd=lambda: crowd,
        )
        self.cache.subscribe(self.told.extend)

    @property
    def values(self) -> dict[str, int]:
        return {name: value for (_, name), value in self.cache.objects.items()}


@contextlib.asynccontextmanager
async def watched(
    client: Client, clock: Clock, timing: Timing | None = None, *, seed: int = 0
) -> AsyncIterator[Watched]:
    made = Watched(client, clock, timing or Timing(), seed=seed)
    running = asyncio.create_task(made.cache.run())
    try:
        yield made
        assert not running.done(), "it runs until it is cancelled"
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
