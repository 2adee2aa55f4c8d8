"""When each target is read: at its own moment of its feed's period; what gets worse or better is logged.

Five thousand pages at one moment of the period would be one burst in which the daemon hears nothing else. So
each target has a phase, which follows from what tells it from all others (a pod's uid), as Prometheus does
it: the reads are spread evenly, and the same target is read at the same distance each time. One that is new is
read at once, without waiting for its moment.

A read starts on time whatever the others do. One that is still under way when it is due again is left to end, as
it has a deadline, rather than doubled, and what it brings is used when it comes. What was missed is not caught
up.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b

import structlog

from autoscaler.foreign_text import shown
from autoscaler.sources.collector.feeds import Feed, Read, ReadResult
from autoscaler.sources.collector.reports import LATE_READS, FeedReport, ReportLog, report_of
from autoscaler.sources.pages.outcome import ERRORS, GOOD, ReadOutcome
from autoscaler.sources.pages.reader import BodyReader

IN_FLIGHT_MAX = 256
"""Reads of one feed under way at a time. A deadline starts with its read, not in the line before it:
else slow pods would make those time out that wait for them."""
FIRST_GAP_S = 0.001
"""Between the first reads of targets that are new: of a thousand, all are read within a second."""
WAKE_S = 0.05
"""What is due within this, at most, is begun in one go, so that its answers come together: ten in one pass of the
event loop cost half of what they cost one by one. So late is a moment at most, a hundredth of a period."""
WAKE_S_MIN = 0.01
"""However many are due."""
STARTS_MAX = 16
"""In one pass of the event loop; the while is as long as so many take to be due, within those limits."""
YOUNG_MAX = 64
"""Reads of all feeds that are young at a time. Where we cannot keep up with the answers that come, those that are due
wait in the order in which they are: each pod is read less often, and none is left out. All sockets that are ready are
served in one pass of the event loop, so this bounds how long it is."""
YOUNG_S = 0.25
"""Until a read is as old as this it is young: pods that hang keep nobody from being read."""
_PHASE_BYTES = 8

_log = structlog.get_logger(__name__)


def phase_of(identity: str) -> float:
    """Return a target's moment, as a share of the period: from 0, below 1.

    >>> phase_of("6d0c1b34-8f8e-4c55-9d5c-0a6b7f1c9a11") == phase_of("6d0c1b34-8f8e-4c55-9d5c-0a6b7f1c9a11")
    True
    """
    digest = blake2b(identity.encode(), digest_size=_PHASE_BYTES).digest()
    return float(int.from_bytes(digest) / 256**_PHASE_BYTES)


def moment_after(at: float, *, period_s: float, phase: float) -> float:
    """Return the next moment of a phase, in seconds; later than `at`."""
    moment = (math.floor(at / period_s - phase) + 1 + phase) * period_s
    return moment if moment > at else moment + period_s


@dataclass(slots=True)
class _Slot:
    """One target of a feed, or, without a read, the feed's own moment to tell how it fares."""

    running: _Running
    key: str
    read: Read | None
    phase: float
    due_at: float
    """Loop time."""
    gone: bool = False


@dataclass(slots=True)
class _Running:
    """A feed and its targets."""

    feed: Feed
    slots: dict[str, _Slot] = field(default_factory=dict)
    under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    ended: dict[str, list[ReadResult]] = field(default_factory=dict)
    """How the last read of each target ended."""
    late: Counter[str] = field(default_factory=Counter)
    """Reads in a row that took longer than a period, or had no answer in time."""
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT_MAX))
    log: ReportLog = field(default_factory=ReportLog)
    told_at: float | None = None
    """Loop time at which it is told how the feed fares; None: nothing has changed."""

    def report(self) -> FeedReport:
        """Sum up how its reads ended."""
        results = [each for ended in self.ended.values() for each in ended]
        return report_of(self.feed, results, late=self.late)


class _Young:
    """Reads that began a short while ago and have not ended."""

    def __init__(self) -> None:
        self._begun: deque[tuple[float, asyncio.Task[None]]] = deque()

    def add(self, task: asyncio.Task[None], *, at: float) -> None:
        self._begun.append((at, task))

    def are_many(self, at: float) -> bool:
        """Tell whether no other is to begin now, loop time."""
        begun = self._begun
        while begun and (begun[0][0] <= at - YOUNG_S or begun[0][1].done()):
            begun.popleft()
        if len(begun) < YOUNG_MAX:
            return False
        self._begun = deque(each for each in begun if not each[1].done())
        return len(self._begun) >= YOUNG_MAX


class Rounds:
    """Reads feeds until cancelled."""

    def __init__(self) -> None:
        """Make rounds of no feed yet."""
        self._running: dict[str, _Running] = {}
        self._due: list[tuple[float, int, _Slot]] = []
        """A heap; a slot that is gone, or is due at another time by now, is passed over."""
        self._numbers = itertools.count()
        self._stale = False
        """What is to be read may have changed."""
        self._changed = asyncio.Event()
        self._young = _Young()
        self.outcomes: Counter[tuple[str, ReadOutcome]] = Counter()
        """Reads so far, by source and outcome."""

    def set_feeds(self, feeds: Iterable[Feed]) -> None:
        """Replace the feeds; one of the same name keeps its targets, those of a new one are read at once."""
        by_name = {feed.name: feed for feed in feeds}
        for name in self._running.keys() - by_name.keys():
            for slot in self._running.pop(name).slots.values():
                slot.gone = True  # its reads under way end by their deadlines
        for name, feed in by_name.items():
            self._running.setdefault(name, _Running(feed=feed)).feed = feed
        self.look_again()

    def look_again(self) -> None:
        """What there is to read has changed."""
        self._stale = True
        self._changed.set()

    def reports(self) -> list[FeedReport]:
        """Return how each feed fared, by the last read of each of its targets."""
        return [running.report() for running in self._running.values()]

    async def run(self, reader: BodyReader) -> None:
        """Read until cancelled; then every read that is under way is cancelled with it."""
        loop = asyncio.get_running_loop()
        for running in self._running.values():
            running.under_way.clear()  # of an earlier life
        wake_s = WAKE_S_MIN
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                while self._stale:
                    await self._take_feeds()
                    wake_s = WAKE_S_MIN  # many may be new
                started = 0
                while (
                    not (crowded := self._young.are_many(loop.time()))
                    and (slot := self._next_due(loop.time())) is not None
                ):
                    self._start(slot, reader, group, at=loop.time())
                    started += 1
                    if started % STARTS_MAX == 0:
                        await asyncio.sleep(0)
                wake_s *= min(2.0, STARTS_MAX / max(1, started))
                wake_s = min(WAKE_S, max(WAKE_S_MIN, wake_s))
                wake_at = None
                if self._due:
                    wake_at = loop.time() + (WAKE_S_MIN if crowded else wake_s)
                    if not crowded:
                        wake_at = max(self._due[0][0], wake_at)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(wake_at):
                        await self._changed.wait()

    async def _take_feeds(self) -> None:
        """Look what there is to read, feed by feed, with a pause between them."""
        self._stale = False
        first_at = asyncio.get_running_loop().time()
        for running in list(self._running.values()):
            first_at = self._take_reads(running, first_at=first_at)
            await asyncio.sleep(0)
            if self._stale:
                return

    def _take_reads(self, running: _Running, *, first_at: float) -> float:
        """Look what a feed has to read.

        Args:
            running: The feed.
            first_at: Loop time at which the first of its new targets may be read.

        Returns:
            When the next new target may be read.
        """
        reads, slots = running.feed.reads(), running.slots
        for key in slots.keys() - reads.keys():
            slots.pop(key).gone = True
            running.ended.pop(key, None)
            running.late.pop(key, None)
        for key, read in reads.items():
            slot = slots.get(key)
            if slot is not None and slot.read is not None and slot.read.identity == read.identity:
                slot.read = read
                continue
            if slot is not None:
                slot.gone = True
                running.ended.pop(key, None)
            slots[key] = slot = _Slot(running, key, read, phase_of(read.identity), first_at)
            self._push(slot)
            first_at += FIRST_GAP_S
        return first_at

    def _push(self, slot: _Slot) -> None:
        heapq.heappush(self._due, (slot.due_at, next(self._numbers), slot))

    def _next_due(self, at: float) -> _Slot | None:
        """Take the next slot that is due out; None: none is."""
        while self._due and self._due[0][0] <= at:
            due_at, _, slot = heapq.heappop(self._due)
            if not slot.gone and slot.due_at == due_at:
                return slot
        return None

    def _start(
        self, slot: _Slot, reader: BodyReader, group: asyncio.TaskGroup, *, at: float
    ) -> None:
        """Begin a read that is due, and set the next one, past what was missed."""
        running, key = slot.running, slot.key
        if slot.read is None:
            running.told_at = None
            running.log.tell(running.report(), at=at)
            return
        # No sooner than half a period later: after a first read, and after one that was late, too.
        period_s = running.feed.period_s
        slot.due_at = moment_after(at + period_s / 2, period_s=period_s, phase=slot.phase)
        self._push(slot)
        if key not in running.under_way:
            task = group.create_task(self._read(running, key, slot.read, reader))
            running.under_way[key] = task
            self._young.add(task, at=at)
            task.add_done_callback(partial(_forget, running.under_way, key))

    async def _read(self, running: _Running, key: str, read: Read, reader: BodyReader) -> None:
        """Read one target, count how it ended, and see to it that what changed is logged."""
        loop, feed = asyncio.get_running_loop(), running.feed
        async with running.places:
            begun_at = loop.time()
            ended = await _contained(read, key, reader, running, at=begun_at)
        took_s = loop.time() - begun_at
        if took_s > feed.period_s:
            ended = [_with_lateness(each, took_s=took_s, period_s=feed.period_s) for each in ended]
        for each in ended:
            self.outcomes[feed.source, each.outcome] += 1
        was_late = running.late[key] >= LATE_READS
        if any(each.outcome in (ReadOutcome.LATE, ReadOutcome.TIMED_OUT) for each in ended):
            running.late[key] += 1
        else:
            running.late.pop(key, None)
        if key not in running.slots:
            running.late.pop(key, None)
            return  # it has gone meanwhile
        before = running.ended.get(key)
        running.ended[key] = ended
        if was_late != (running.late[key] >= LATE_READS) or _news(before, ended):
            self._tell_soon(running, at=loop.time())

    def _tell_soon(self, running: _Running, *, at: float) -> None:
        """Tell how a feed fares once its other targets had their turn, unless that is to be done already."""
        if running.told_at is None:
            others = 1.0 - 1.0 / len(running.slots)
            running.told_at = at + others * running.feed.period_s
            self._push(_Slot(running, "", None, 0.0, running.told_at))
            self._changed.set()


def _news(before: list[ReadResult] | None, ended: list[ReadResult]) -> bool:
    """Whether a read ended otherwise than the one before it, as far as that is told."""

    def told(results: list[ReadResult]) -> list[object]:
        return [(each.target, each.outcome in ERRORS, each.warnings) for each in results]

    if before is None:
        return any(each.outcome in ERRORS or each.warnings for each in ended)
    return before is not ended and told(before) != told(ended)


def _forget(under_way: dict[str, asyncio.Task[None]], key: str, _: asyncio.Task[None]) -> None:
    """Leave a read out that has ended."""
    under_way.pop(key, None)


async def _contained(
    read: Read, key: str, reader: BodyReader, running: _Running, *, at: float
) -> list[ReadResult]:
    """Read, and keep a bug in it from everything else: what it is read for is unknown, and that is said."""
    try:
        return await read.ask(reader)
    except Exception as error:  # noqa: BLE001  one target that breaks us must not end the others
        if running.log.may_tell_of_bug(at=at):
            _log.exception("source.broke", source=running.feed.source, target=shown(key))
        message = f"a bug of ours in reading it ({type(error).__name__}); the log has the trace"
        return [ReadResult(target=key, outcome=ReadOutcome.BROKEN, message=message)]


def _with_lateness(result: ReadResult, *, took_s: float, period_s: float) -> ReadResult:
    """Say of a read that it was late, if it was."""
    if result.outcome not in GOOD:
        return result
    message = f"it took {took_s:.1f} s, more than the period of {period_s:g} s"
    return replace(result, outcome=ReadOutcome.LATE, message=message)
