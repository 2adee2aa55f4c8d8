"""What waits to be handled, in the order in which the engine is to see it.

Every event is stamped as it is put in. They come out ordered by time; at equal times first what our own
commands led to, then notices, then a new specification, then what an earlier process
had learnt of a model, then what was read of its past. An observation is not kept here: the loop makes
it when nothing else is left, so it can never be older than what came before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import heapq
import itertools
from typing import TypeAlias

from autoscaler.core.contract.events import (
    CommandFinished,
    HistoryRead,
    KnowledgeRead,
    NoticeReceived,
    SpecChanged,
)
from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import Interruption
from autoscaler.daemon.clock import Clock

Waiting: TypeAlias = CommandFinished | NoticeReceived | SpecChanged | KnowledgeRead | HistoryRead

_ORDER: dict[type[Waiting], int] = {
    CommandFinished: 0,
    NoticeReceived: 1,
    SpecChanged: 2,
    KnowledgeRead: 3,
    HistoryRead: 4,
}
_NO_ID = 0
"""Until it is taken out: ids count what was handled, without gaps."""


class Inbox:
    """A queue of events that are not observations."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, int, Waiting]] = []
        self._arrivals = itertools.count()
        self._arrived = asyncio.Event()
        self._last_id = 0

    def put_finished(self, command: str, *, accepted: bool, reason: str, message: str = "") -> None:
        """One command came to its end."""
        self._put(
            CommandFinished(
                id=_NO_ID,
                at=self._clock.now(),
                command=command,
                accepted=accepted,
                reason=reason,
                message=message,
            )
        )

    def put_notice(self, interruption: Interruption) -> None:
        """A node is being, or has been, taken away."""
        self._put(NoticeReceived(id=_NO_ID, at=self._clock.now(), interruption=interruption))

    def put_spec(self, fleet: FleetSpec) -> None:
        """The specification of the whole fleet is this from now on."""
        self._put(SpecChanged(id=_NO_ID, at=self._clock.now(), fleet=fleet))

    def put_history(self, model: str, history: HistoryColumns) -> None:
        """One model's past was read."""
        self._put(HistoryRead(id=_NO_ID, at=self._clock.now(), model=model, history=history))

    def put_knowledge(self, model: str, text: str) -> None:
        """What an earlier process had learnt of one model was read."""
        self._put(KnowledgeRead(id=_NO_ID, at=self._clock.now(), model=model, text=text))

    def take(self) -> Waiting | None:
        """Take the next event out and number it; None: nothing waits."""
        if not self._heap:
            return None
        _, _, _, event = heapq.heappop(self._heap)
        return dataclasses.replace(event, id=self.take_id())

    def take_id(self) -> int:
        """Number an event that did not wait here: an observation."""
        self._last_id += 1
        return self._last_id

    @property
    def next_id(self) -> int:
        """The id that will be given next."""
        return self._last_id + 1

    def __len__(self) -> int:
        return len(self._heap)

    async def wait(self, timeout_s: float) -> None:
        """Until something was put in, or the time is up; at once if something waits."""
        if self._heap:
            return
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()

    def nudge(self) -> None:
        """End a `wait` without an event: what it waits for has changed."""
        self._arrived.set()

    def _put(self, event: Waiting) -> None:
        heapq.heappush(self._heap, (event.at, _ORDER[type(event)], next(self._arrivals), event))
        self._arrived.set()
