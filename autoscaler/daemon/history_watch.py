"""Has each model's last days read once, when it is first heard of, and hands them to the engine.

Nothing waits for it. One model is read at a time; a server that does not answer is left alone for a while, and then for
longer, and then for good: until a model is added, or the daemon begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp
import numpy as np
import structlog

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.settings import (
    InferenceAutoscaler,
    PrometheusSettings,
    Servers,
    metrics_settings,
)
from autoscaler.sources.history.reader import HistoryOutcome, HistoryReader, PastRead
from autoscaler.sources.history.whom import PastQuestion, whom_to_ask
from autoscaler.sources.pages.connector import open_session
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.prometheus.client import PrometheusClient

DAYS = 7
"""Read by default, and at most: of what is older hardly anything is left in a forecast."""
RETRIES_S = (60.0, 300.0, 900.0)
"""Seconds after which a server is asked again that did not answer."""
_DAY_S = 86_400.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReport:
    """How the reading of one model's history ended."""

    model: str
    server: str
    """The name of the Prometheus."""
    outcome: HistoryOutcome
    read_at: float
    """When; seconds."""
    from_at: float | None
    """The end of the first row of which something is known; None: of none."""
    until_at: float | None
    known_ratio: float
    """Of all minutes that were asked for."""
    interval_s: float | None
    """Between scrapes; None: not known."""
    queries: int
    message: str
    retry_at: float | None
    """When it is tried again; None: not any more."""


@dataclass(slots=True)
class _Server:
    """One server, and how it fared."""

    reader: HistoryReader
    failures: int = 0
    """In a row."""
    free_at: float = 0.0
    """Until when it is left alone."""


class HistoryWatch:
    """Of one daemon."""

    def __init__(
        self,
        *,
        servers: Servers,
        put: Callable[[str, HistoryColumns], None],
        now: Callable[[], float],
        days: float = DAYS,
        session: aiohttp.ClientSession | None = None,
        reader_of: Callable[[PrometheusSettings], HistoryReader] | None = None,
    ) -> None:
        """Prepare; `run` reads.

        Args:
            servers: that may be asked.
            put: takes a model's history to the engine; must not wait.
            now: Seconds since the epoch, never decreasing: the daemon's clock.
            days: how many; 0: nothing is read.
            session: One that the caller closes; None: `run` makes one and closes it.
            reader_of: makes what reads from one server; one that asks it unless given.
        """
        reader_of = reader_of or _reader_of
        self.reports: dict[str, HistoryReport] = {}
        """By model."""
        self.outcomes: Counter[HistoryOutcome] = Counter()
        self._servers = servers
        self._readers = {name: _Server(reader_of(server)) for name, server in servers.items()}
        self._put = put
        self._now = now
        self._days = days
        self._session = session
        self._known: frozenset[str] = frozenset()
        self._waiting: dict[str, PastQuestion] = {}
        self._changed = asyncio.Event()

    def follow(self, fleet: FleetSpec, resources: Iterable[InferenceAutoscaler]) -> None:
        """Have those of these models read that are new; forget those that are gone."""
        metrics = {resource.key: metrics_settings(resource) for resource in resources}
        keys = frozenset(model.key for model in fleet.models)
        for gone in self._known - keys:
            self._waiting.pop(gone, None)
            self.reports.pop(gone, None)
        for model in fleet.models if self._days > 0 else ():
            if model.key in self._known or model.key not in metrics:
                continue
            asked = whom_to_ask(model, metrics[model.key], self._servers)
            if asked is not None:
                self._waiting[model.key] = asked
                server = self._readers[asked.server]
                server.failures, server.free_at = 0, 0.0
        self._known = keys
        self._changed.set()

    async def run(self) -> None:
        """Read what waits, for ever."""
        async with open_session(self._session) as session:
            reader = BodyReader(session=session)
            while True:
                self._changed.clear()
                asked = self._next()
                if asked is None:
                    await self._wait()
                    continue
                await self._read(asked, reader)

    def _next(self) -> PastQuestion | None:
        """Return the first model whose server is not left alone; None: none."""
        now = self._now()
        for asked in self._waiting.values():
            if self._readers[asked.server].free_at <= now:
                return asked
        return None

    async def _wait(self) -> None:
        """Wait until a server may be asked again, or a model comes."""
        free = [self._readers[asked.server].free_at for asked in self._waiting.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(free) - self._now()) if free else None):
                await self._changed.wait()

    async def _read(self, asked: PastQuestion, reader: BodyReader) -> None:
        server = self._readers[asked.server]
        try:
            read = await server.reader.read(
                reader, asked.pods, asked.series, until=self._now(), span_s=self._days * _DAY_S
            )
        except Exception:
            # A bug of ours, which ends the task: when it is begun anew, the other models are read.
            self._waiting.pop(asked.model, None)
            raise
        if self._waiting.get(asked.model) is not asked:
            return  # it is gone, or another one by now
        self.outcomes[read.outcome] += 1
        gave_up = self._note(asked, server, read)
        retry_at = server.free_at if asked.model in self._waiting else None
        report = self.reports[asked.model] = _report(asked, read, at=self._now(), retry_at=retry_at)
        _tell(report, asked=self._days * _DAY_S)
        for other in gave_up:
            _log.warning("history.abandoned", model=other, server=asked.server)
        if report.from_at is not None:
            self._put(asked.model, read.history)

    def _note(self, asked: PastQuestion, server: _Server, read: PastRead) -> list[str]:
        """Decide whether it is tried again; return the other models that are not tried any more."""
        if read.outcome is not HistoryOutcome.FAILED or read.refused:
            server.failures = 0
            del self._waiting[asked.model]
            return []
        server.failures += 1
        if server.failures <= len(RETRIES_S):
            server.free_at = self._now() + RETRIES_S[server.failures - 1]
            return []
        given_up = [key for key, each in self._waiting.items() if each.server == asked.server]
        for key in given_up:
            del self._waiting[key]
        return [key for key in given_up if key != asked.model]


def _reader_of(server: PrometheusSettings) -> HistoryReader:
    return HistoryReader(PrometheusClient(server))


def _report(
    asked: PastQuestion, read: PastRead, *, at: float, retry_at: float | None
) -> HistoryReport:
    known = np.flatnonzero(~np.isnan(read.history.running_requests))
    moments = read.history.at
    return HistoryReport(
        model=asked.model,
        server=asked.server,
        outcome=read.outcome,
        read_at=at,
        from_at=float(moments[known[0]]) if len(known) else None,
        until_at=float(moments[known[-1]]) if len(known) else None,
        known_ratio=read.known_ratio,
        interval_s=read.interval_s,
        queries=read.queries,
        message=read.message,
        retry_at=retry_at,
    )


def _tell(report: HistoryReport, *, asked: float) -> None:
    log = _log.bind(model=report.model, server=report.server, queries=report.queries)
    if report.outcome is HistoryOutcome.FAILED:
        again_s = None if report.retry_at is None else round(report.retry_at - report.read_at)
        log.warning("history.failed", message=report.message, again_s=again_s)
        return
    log.info(
        "history.read",
        outcome=str(report.outcome),
        asked_s=round(asked),
        from_at=report.from_at,
        until_at=report.until_at,
        known_ratio=round(report.known_ratio, 3),
        message=report.message,
    )
