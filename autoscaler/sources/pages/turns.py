"""Parsing that gives the event loop back: step by step, one body at a time.

What is parsed is written as steps, a generator that yields between pieces of bounded work. `Turns`
runs them so that in one pass of the event loop little more than SLICE_S of them is done, however many bodies
came in it: a thousand pods that answer at the same moment hold up nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""Yields between steps, each of bounded work; returns the result. May raise SourceError."""

SLICE_S = 0.005
"""Of parsing, before others get their turn on the event loop; a step that has begun is ended."""


class Turns:
    """The one place in which bodies are parsed, for all feeds of a collector, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Steps[Any], asyncio.Future[Any]]] = deque()
        self._due = False
        """Whether a slice is to be parsed in the next pass."""

    async def take(self, steps: Steps[T]) -> T:
        """Have steps run to their end, a slice in each pass of the event loop; returns their result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((steps, future))
        if not self._due:
            self._due = True
            loop.call_soon(self._parse, loop)
        return await future

    def _parse(self, loop: asyncio.AbstractEventLoop) -> None:
        """Parse a slice of what waits, of as many bodies as it has room for."""
        # The loop's own clock: where its time is simulated, its order must be the same in every run.
        ends_at = loop.time() + SLICE_S
        while self._waiting:
            steps, future = self._waiting[0]
            if _step(steps, future):
                self._waiting.popleft()
            if loop.time() >= ends_at:
                break
        self._due = bool(self._waiting)
        if self._due:
            loop.call_soon(self._parse, loop)


def _step(steps: Steps[Any], future: asyncio.Future[Any]) -> bool:
    """Do one step; whether it was the last, as there are no more, it raised, or nobody waits for it."""
    if future.done():
        steps.close()
        return True
    try:
        next(steps)
    except StopIteration as end:
        future.set_result(end.value)
    except Exception as error:  # noqa: BLE001  whatever it is, it is who waits for it that it concerns
        future.set_exception(error)
    else:
        return False
    return True


def at_once(steps: Steps[T]) -> T:
    """Run steps without a pause, where there is no event loop."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
