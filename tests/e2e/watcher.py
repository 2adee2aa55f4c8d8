"""Seeing what happens while a test does something else: one record a second, then assertions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.e2e.load import Load
from tests.e2e.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """What was seen at one moment; None where the API server did not answer."""

    at: float
    wanted: dict[str, int] | None
    ready: int | None
    in_flight: int

    @property
    def total(self) -> int | None:
        """spec.replicas over the pools."""
        return sum(self.wanted.values()) if self.wanted else None


@dataclass(slots=True)
class Film:
    """All of them."""

    glimpses: list[Glimpse] = field(default_factory=list)

    def totals(self, since: float = 0.0) -> list[int]:
        """spec.replicas over the pools, each time they were known."""
        return [g.total for g in self.glimpses if g.at >= since and g.total is not None]

    def ready(self, since: float = 0.0) -> list[int]:
        """Ready replicas, each time they were known."""
        return [g.ready for g in self.glimpses if g.at >= since and g.ready is not None]

    def first(self, total: int, since: float = 0.0) -> float | None:
        """When so many replicas were first wanted."""
        for glimpse in self.glimpses:
            if glimpse.at >= since and (glimpse.total or 0) >= total:
                return glimpse.at
        return None


@asynccontextmanager
async def filming(scene: Scene, load: Load | None = None) -> AsyncIterator[Film]:
    """Look once a second until the end of the block."""
    film = Film()

    async def look() -> None:
        while True:
            wanted = await scene.wanted()
            ready = len(await scene.ready_pods()) if wanted else None
            film.glimpses.append(
                Glimpse(
                    at=time.monotonic(),
                    wanted=wanted or None,
                    ready=ready,
                    in_flight=load.in_flight if load else 0,
                )
            )
            await asyncio.sleep(1.0)

    task = asyncio.create_task(look())
    try:
        yield film
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
