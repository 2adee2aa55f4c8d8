"""Work that gives the event loop back: a generator that yields between pieces, run a slice at a time.

A tick over five hundred models is a fifth of a second of work. Done in one go the daemon would hear nothing
meanwhile: no notice, no page, no probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

SLICE_S = 0.005
"""Of work, before others get their turn on the event loop; a piece that has begun is ended."""


async def in_slices(steps: Generator[None, None, T]) -> T:
    """Run steps to their end, a slice in each pass of the event loop; returns their result."""
    clock = asyncio.get_running_loop().time
    ends_at = clock() + SLICE_S
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if clock() >= ends_at:
            await asyncio.sleep(0)
            ends_at = clock() + SLICE_S
