"""The bytes that all reads together may hold at one time.

The first EARLY_BYTES of a body are free: a sound page mostly has no more. Whoever sends more waits for
a place as large as its kind of answer may be, so that whoever has one can end, and nobody waits for
each other. A feed has a share of it, so that a model whose pods all send what is long and slow leaves
the others their places.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from autoscaler.sources.pages.limits import BYTES_IN_FLIGHT_MAX, FEED_SHARE


class ByteBudget:
    """Counts the bytes for which there is a place."""

    def __init__(self, *, bytes_max: int = BYTES_IN_FLIGHT_MAX) -> None:
        self._bytes_max = bytes_max
        self._by_owner: Counter[str] = Counter()
        self._given_back = asyncio.Condition()
        self.held_bytes = 0
        """Of all places that are taken."""

    @contextlib.asynccontextmanager
    async def place(self, owner: str, size_bytes: int) -> AsyncIterator[None]:
        """Wait for so many bytes, and hold them; a cancelled caller holds none.

        Args:
            owner: Whose share they are of; it always has room for one.
            size_bytes: At most BYTES_IN_FLIGHT_MAX.
        """
        async with self._given_back:
            await self._given_back.wait_for(lambda: self._has_room(owner, size_bytes))
            self.held_bytes += size_bytes
            self._by_owner[owner] += size_bytes
        try:
            yield
        finally:
            self.held_bytes -= size_bytes
            self._by_owner[owner] -= size_bytes
            if not self._by_owner[owner]:
                del self._by_owner[owner]
            # Shielded: a read that is cancelled just here must still wake whoever waits.
            await asyncio.shield(self._tell())

    def _has_room(self, owner: str, size_bytes: int) -> bool:
        held = self._by_owner.get(owner, 0)
        share = self._bytes_max // FEED_SHARE
        return self.held_bytes + size_bytes <= self._bytes_max and (
            not held or held + size_bytes <= share
        )

    async def _tell(self) -> None:
        async with self._given_back:
            self._given_back.notify_all()
