"""Rounds of reads: each feed in its own grid of periods; what gets worse or better is logged.

A round starts on time whatever the other feeds do. One that is still under way when the next is due is
left to end, as its reads have deadlines, rather than doubled; what was missed is not caught up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import aiohttp
import structlog

from autoscaler.sources.collector.feeds import Feed, ReadResult
from autoscaler.sources.pages.outcome import ERRORS, ReadOutcome

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReport:
    """How one feed fares: for metrics, `/debug/models` and logs."""

    name: str
    source: str
    model: str
    """Empty: it serves all models."""
    targets: int
    """Read in the last round."""
    failing: tuple[str, ...]
    """Those of them that ended with an error."""
    outcome: ReadOutcome
    """Of the first of these; Read: there is none."""
    message: str
    """Of the first of these; empty: there is none."""
    warnings: tuple[str, ...]
    """Warnings that came with Prometheus's answers."""


@dataclass(slots=True)
class _Running:
    """A feed in its grid of periods."""

    feed: Feed
    due_at: float | None = None
    """Loop time of the next round; None: at once."""
    round: asyncio.Task[None] | None = None
    ended: Sequence[ReadResult] = field(default_factory=list)
    """How the reads of the last round ended."""


class Rounds:
    """Runs feeds until cancelled."""

    def __init__(self, *, deadline_s: float) -> None:
        """Make rounds of no feed yet.

        Args:
            deadline_s: Of one read; a feed with a shorter period gets that.
        """
        self._deadline_s = deadline_s
        self._running: dict[str, _Running] = {}
        self._changed = asyncio.Event()
        self.outcomes: Counter[tuple[str, ReadOutcome]] = Counter()
        """Reads so far, by source and outcome."""

    def set_feeds(self, feeds: Iterable[Feed]) -> None:
        """Replace the feeds; one of the same name keeps its grid, a new one starts at once."""
        by_name = {feed.name: feed for feed in feeds}
        for name in self._running.keys() - by_name.keys():
            del self._running[name]  # a round of it under way ends by its deadlines
        for name, feed in by_name.items():
            running = self._running.setdefault(name, _Running(feed=feed))
            running.feed = feed
        self._changed.set()

    def reports(self) -> list[FeedReport]:
        """Return how each feed fared in its last round."""
        return [_report(running) for running in self._running.values()]

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Read until cancelled; then every read that is under way is cancelled with it."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as rounds:
            while True:
                self._changed.clear()
                at = loop.time()
                for running in self._running.values():
                    if running.due_at is None or running.due_at <= at:
                        self._start_round(running, session, rounds, at=at)
                dues = [each.due_at for each in self._running.values() if each.due_at is not None]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(dues, default=None)):
                        await self._changed.wait()

    def _start_round(
        self,
        running: _Running,
        session: aiohttp.ClientSession,
        rounds: asyncio.TaskGroup,
        *,
        at: float,
    ) -> None:
        """Start a round that is due and set the next one on its grid, past what was missed."""
        begun_at = at if running.due_at is None else running.due_at
        missed = int((at - begun_at) // running.feed.period_s)
        running.due_at = begun_at + (missed + 1) * running.feed.period_s
        if running.round is None or running.round.done():
            running.round = rounds.create_task(self._round(running, session))

    async def _round(self, running: _Running, session: aiohttp.ClientSession) -> None:
        """Read one feed once, count how its reads ended, and log what changed."""
        feed = running.feed
        ended = await feed.read(session, deadline_s=min(self._deadline_s, feed.period_s))
        for each in ended:
            self.outcomes[feed.source, each.outcome] += 1
        before, running.ended = _report(running), ended
        _log_changes(before, _report(running))


def _report(running: _Running) -> FeedReport:
    """Sum up a feed's last round."""
    errors = [each for each in running.ended if each.outcome in ERRORS]
    return FeedReport(
        name=running.feed.name,
        source=running.feed.source,
        model=running.feed.model,
        targets=len(running.ended),
        failing=tuple(each.target for each in errors),
        outcome=errors[0].outcome if errors else ReadOutcome.READ,
        message=errors[0].message if errors else "",
        warnings=tuple(dict.fromkeys(text for each in running.ended for text in each.warnings)),
    )


def _log_changes(before: FeedReport, after: FeedReport) -> None:
    """Log what a round changed: targets that began to fail, a feed that is whole again."""
    log = _log.bind(source=after.source, model=after.model or None)
    if set(after.failing) - set(before.failing):
        log.warning(
            "source.failed",
            failing=len(after.failing),
            targets=after.targets,
            outcome=str(after.outcome),
            message=after.message,
        )
    elif before.failing and not after.failing:
        log.info("source.recovered", targets=after.targets)
    if set(after.warnings) - set(before.warnings):
        log.warning("source.warned", warnings=list(after.warnings))
