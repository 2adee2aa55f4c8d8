"""Has what was learnt of each model given back when the model is first heard of, and keeps what is learnt since.

Every daemon reads; the one that acts writes, some minutes apart, and once more before it ends. A standby has been given
what was there when it began and has seen since what the other has: it reads nothing when it takes over. What could
not be read yet is never written over. Nothing fails by any of it: what goes wrong is counted, logged once and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus

import structlog

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.errors import LeadershipLost
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.knowledge import SHELVES, Shelf, entry_key, shelf_names, shelf_of

WRITE_S = 180.0
"""Between two writes of one shelf: what is lost with a process that is killed is some minutes of what was seen."""
FIRST_WRITE_S = 30.0
"""From when a daemon begins to act: one that is ended again and again keeps something all the same."""
LOOK_S = 5.0
RETRIES_S = (5.0, 15.0, 60.0)
"""After a read that failed; the last one over and over."""
FIRST_READ_S = 10.0
"""So long the first observation waits for what is kept, no longer: a daemon that cannot read it begins without."""
LAST_WRITE_S = 3.0
"""Of a shutdown, for writing."""

_log = structlog.get_logger(__name__)


class KnowledgeReadOutcome(StrEnum):
    """How the reading of one model's knowledge ended."""

    FOUND = "Found"
    ABSENT = "Absent"
    """Nothing is kept of it."""
    FAILED = "Failed"
    """It is tried again."""


class KnowledgeWriteOutcome(StrEnum):
    """How one write of a ConfigMap ended."""

    WRITTEN = "Written"
    CONFLICT = "Conflict"
    """Somebody else wrote it meanwhile; it is tried again."""
    FAILED = "Failed"
    LEFT_OUT = "LeftOut"
    """It was written without some models, for which there was no room."""


class KnowledgeKeeper(Listener):
    """Of one daemon."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        lease_name: str,
        put: Callable[[str, str], None],
        remember: Callable[[str], str | None],
        now: Callable[[], float],
        acts: Callable[[], bool],
    ) -> None:
        """Prepare; `run` reads and writes.

        Args:
            client: The shared client, or one whose writes pass a fence.
            namespace: The daemon's own.
            lease_name: That of the daemons that may stand in for each other.
            put: takes a model's knowledge to the engine; must not wait.
            remember: asks the engine for it; called between events alone.
            now: Seconds, never decreasing.
            acts: Whether this daemon is the one that writes.
        """
        self.reads: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self._shelves = [
            Shelf(client, namespace=namespace, name=name) for name in shelf_names(lease_name)
        ]
        self._put, self._remember = put, remember
        self._now, self._acts = now, acts
        self._heard_at: float | None = None
        """When the first model was heard of."""
        self._known: frozenset[str] = frozenset()
        self._waiting: set[str] = set()
        """Models whose knowledge was not read yet."""
        self._has_read = False
        self._read_failures = 0
        self._free_at = 0.0
        """Until when nothing is read."""
        self._sought: set[str] = set()
        """Models that are to be asked of the engine, at their next decision."""
        self._asked: set[int] = set()
        """Shelves whose models were asked for, and are written at the next look."""
        self._texts: dict[str, str] = {}
        """What is to be written, by model."""
        self._kept: dict[str, str] = {}
        """By model, what was learnt, as it was last written."""
        self._due_at = [now() + FIRST_WRITE_S] * SHELVES
        self._unread = self._unwritten = ""
        """Why the last read, or write, failed; empty: it did not."""
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()

    def follow(self, fleet: FleetSpec) -> None:
        """Have what is kept of new models read; forget those that are gone."""
        keys = frozenset(model.key for model in fleet.models)
        self._waiting = (self._waiting & keys) | (keys - self._known)
        self._known = keys
        if keys and self._heard_at is None:
            self._heard_at = self._now()
        for held in (self._texts, self._kept):
            for gone in held.keys() - keys:
                del held[gone]
        self._sought &= keys
        self._changed.set()

    def has_recalled(self) -> bool:
        """Tell whether the first observation need not wait any more."""
        return (
            self._has_read
            or self._heard_at is None
            or self._read_failures > 0
            or self._now() - self._heard_at > FIRST_READ_S
        )

    def decided(self, handled: Handled, decision: Decision) -> None:  # noqa: ARG002  Listener's
        """Ask the engine for what is to be written: between two events, as it must be."""
        if decision.model in self._sought:
            self._sought.discard(decision.model)
            self._ask(decision.model)

    async def run(self) -> None:
        """Read what is new and write what is due, until cancelled."""
        while True:
            self._changed.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()

    async def look(self) -> None:
        """Do what is to be done now."""
        now = self._now()
        if self._waiting and now >= self._free_at:
            await self._read()
        if not self._acts():
            for held in (self._sought, self._asked, self._texts):
                held.clear()
            self._due_at = [now + FIRST_WRITE_S] * SHELVES
            return
        for shelf in range(SHELVES):
            if now < self._due_at[shelf]:
                continue
            if shelf in self._asked:
                await self._write(shelf)
                continue
            # Written at the next look: between the two each model is decided on, and is asked for then.
            self._asked.add(shelf)
            mine = self._known - self._waiting
            self._sought |= {model for model in mine if shelf_of(model) == shelf}

    async def write_last(self) -> None:
        """Write all that is known, before this process ends. The loop must have ended."""
        if not self._acts():
            return
        for model in self._known - self._waiting:
            self._ask(model)
        try:
            async with asyncio.timeout(LAST_WRITE_S):
                for shelf in range(SHELVES):
                    await self._write(shelf)
        except TimeoutError:
            self._fail_to_write(f"no answer within {LAST_WRITE_S:g} s")

    def _ask(self, model: str) -> None:
        text = self._remember(model)
        if text is not None and _learnt(text) != self._kept.get(model):
            self._texts[model] = text

    async def _read(self) -> None:
        waiting = sorted(self._waiting)
        shelves = sorted({shelf_of(model) for model in waiting})
        entries: dict[int, dict[str, str]] = {}
        try:
            for shelf in shelves:
                entries[shelf] = await self._shelves[shelf].read()
        except ApiError as error:
            self._fail_to_read(str(error), models=len(waiting))
            return
        self._read_failures, self._has_read = 0, True
        if self._unread:
            _log.info("knowledge.recovered", what="read")
        self._unread = ""
        for model in waiting:
            if model not in self._waiting:
                continue  # it went meanwhile
            self._waiting.discard(model)
            text = entries[shelf_of(model)].get(entry_key(model))
            if text is None:
                self.reads[KnowledgeReadOutcome.ABSENT] += 1
                continue
            self.reads[KnowledgeReadOutcome.FOUND] += 1
            self._put(model, text)

    def _fail_to_read(self, why: str, *, models: int) -> None:
        self.reads[KnowledgeReadOutcome.FAILED] += models
        pause_s = RETRIES_S[min(self._read_failures, len(RETRIES_S) - 1)]
        self._read_failures += 1
        self._free_at = self._now() + pause_s
        said = shown(why, limit=400)
        if said != self._unread:
            _log.warning("knowledge.unread", models=models, message=said, again_s=pause_s)
        self._unread = said

    async def _write(self, number: int) -> None:
        """Write what is new of one shelf; one write at a time, or they would refuse each other."""
        async with self._writing:
            await self._write_now(number)

    async def _write_now(self, number: int) -> None:
        put = {model: text for model, text in self._texts.items() if shelf_of(model) == number}
        if not put:
            self._end(number)
            return
        asked_for = frozenset(entry_key(model) for model in self._known)
        shelf = self._shelves[number]
        try:
            filled = await shelf.write(
                {entry_key(model): text for model, text in put.items()}, asked_for=asked_for
            )
        except LeadershipLost:
            return  # the next look sees it too
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:
                self.written[KnowledgeWriteOutcome.CONFLICT] += 1
                return  # at the next look, over what stands there then
            self._end(number, pause_s=max(WRITE_S, error.retry_after_s or 0.0))
            self._fail_to_write(str(error))
            return
        left_out = set(filled.left_out)
        self._kept |= {
            model: _learnt(text) for model, text in put.items() if entry_key(model) not in left_out
        }
        self._end(number)
        if filled.left_out:
            self.written[KnowledgeWriteOutcome.LEFT_OUT] += 1
            why = f"no room in {shelf.namespace}/{shelf.name} for {len(filled.left_out)} models"
            self._tell_unwritten(why)
            return
        self.written[KnowledgeWriteOutcome.WRITTEN] += 1
        if self._unwritten:
            _log.info("knowledge.recovered", what="write")
        self._unwritten = ""

    def _end(self, number: int, *, pause_s: float = WRITE_S) -> None:
        """Leave a shelf alone for a while, however its write ended: what is learnt by then is asked for anew."""
        self._due_at[number] = self._now() + pause_s
        self._asked.discard(number)
        for model in [model for model in self._texts if shelf_of(model) == number]:
            del self._texts[model]

    def _fail_to_write(self, why: str) -> None:
        self.written[KnowledgeWriteOutcome.FAILED] += 1
        self._tell_unwritten(why)

    def _tell_unwritten(self, why: str) -> None:
        said = shown(why, limit=400)
        if said != self._unwritten:
            _log.warning("knowledge.unwritten", message=said, again_s=WRITE_S)
        self._unwritten = said


def _learnt(text: str) -> str:
    """What a text says but for the moment at which it was written."""
    packed: str = json.loads(text)["packed"]
    return packed
