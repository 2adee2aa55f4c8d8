"""Reads bodies for all feeds of a collector: one session, one budget, one place to parse in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp

from autoscaler.sources.pages.budget import ByteBudget
from autoscaler.sources.pages.fetch import ReadRequest, fetched
from autoscaler.sources.pages.lateness import Lateness
from autoscaler.sources.pages.turns import Steps, Turns

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyReader:
    """What a read needs beside what is asked."""

    session: aiohttp.ClientSession
    budget: ByteBudget = field(default_factory=ByteBudget)
    turns: Turns = field(default_factory=Turns)
    lateness: Lateness = field(default_factory=Lateness)
    """Of the event loop, which is no fault of who is read."""

    async def read(self, request: ReadRequest, steps: Callable[[bytes], Steps[T]]) -> T:
        """Ask, and parse what comes, in turn with all others; the wait for the turn has no deadline.

        Raises:
            SourceError: With the outcome that names how it ended.
        """
        async with fetched(
            self.session, request, budget=self.budget, lateness=self.lateness
        ) as body:
            return await self.turns.take(steps(body))
