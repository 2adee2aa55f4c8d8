"""What is read once a period: the pods of a model, a Prometheus for a model, DCGM's exporters.

A feed reads all its targets at once, each within its own deadline, stores each value the moment it
comes, and returns how each read ended. It raises nothing but what is a bug.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.kube.targets import ExporterTarget, ScrapeTarget
from autoscaler.settings import MetricsSettings
from autoscaler.sources import dcgm, prometheus
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.fetch import fetch_page
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.prometheus import PODS_PER_QUERY, Answer, PrometheusClient

IN_FLIGHT_MAX = 256
"""Reads of one feed under way at a time. A deadline starts with its read, not in the line before it:
else the first sweep over a thousand pods, one millisecond of connecting each, would time out."""
DCGM_PERIOD_S = 15.0
"""Half of the 30 s in which the exporter collects."""
DCGM_PORT = 9400
DCGM = "DCGM"
"""In the metric label `source`, beside the names of SOURCES and PROMETHEUS."""
PROMETHEUS = "Prometheus"
LOOKBACK_S_MIN = 60.0
"""Prometheus is asked this far back: two scrapes of the customary 30 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """How one read ended."""

    target: str
    """For people: a pod's `namespace/name`, an address."""
    outcome: ReadOutcome
    message: str = ""
    warnings: tuple[str, ...] = ()
    """Warnings that came with an answer."""


@dataclass(slots=True, kw_only=True)
class Feed(ABC):
    """Something that is read once a period."""

    name: str
    """Tells it from the others of a collector."""
    source: str = DCGM
    """The metric label."""
    model: str = ""
    """`ModelSpec.key`; empty: it serves all models."""
    period_s: float = DCGM_PERIOD_S
    """Between the starts of two rounds."""
    last_values: LastValues
    now: Callable[[], float]

    @abstractmethod
    async def read(self, session: aiohttp.ClientSession, *, deadline_s: float) -> list[ReadResult]:
        """Read everything once."""


@dataclass(slots=True, kw_only=True)
class PodFeed(Feed):
    """The pods of one model, each by its own page."""

    settings: MetricsSettings

    async def read(self, session: aiohttp.ClientSession, *, deadline_s: float) -> list[ReadResult]:
        """Scrape every pod that has an address."""

        async def scrape(target: ScrapeTarget) -> ReadResult:
            key = "/".join(target.key)
            # The start of the read: the page is at least as new as that.
            at = self.now()
            try:
                url = URL.build(scheme="http", host=target.ip, port=self.settings.port)
                url = url.join(URL(self.settings.path))
                body = await fetch_page(session, url, deadline_s=deadline_s)
                engine = SOURCES[self.settings.engine]
                page = read_page(body, engine.names)
                sample = engine.sample(page, model_names=self.settings.model_names, at=at)
            except SourceError as error:
                return _failed_read(key, error, ready=target.ready)
            self.last_values.put_sample(target, sample)
            return ReadResult(target=key, outcome=ReadOutcome.READ)

        targets = [target for target in self.last_values.targets(self.settings.model) if target.ip]
        return await _all_at_once(scrape, targets)


@dataclass(slots=True, kw_only=True)
class PrometheusFeed(Feed):
    """The pods of one model, through Prometheus."""

    settings: MetricsSettings
    client: PrometheusClient

    async def read(self, session: aiohttp.ClientSession, *, deadline_s: float) -> list[ReadResult]:
        """Ask for all pods of the model, some hundreds in a query."""
        address = self.client.server.server_address
        engine = SOURCES[self.settings.engine]
        window_s = max(LOOKBACK_S_MIN, 4 * self.settings.period_s)
        at = self.now()

        async def ask(targets: Sequence[ScrapeTarget]) -> list[ReadResult]:
            matchers = prometheus.pod_matchers(
                self.settings.namespace, sorted(target.key[1] for target in targets)
            )
            expression = prometheus.raw_samples(engine.names, window_s=window_s, matchers=matchers)
            try:
                answer = await self.client.query(session, expression, deadline_s=deadline_s)
            except SourceError as error:
                return [_failed_read(address, error)]
            parts = prometheus.by_pod(answer)
            ended = [self._take(target, parts.get(target.key), at=at) for target in targets]
            return [
                ReadResult(target=address, outcome=ReadOutcome.READ, warnings=answer.warnings),
                *ended,
            ]

        targets = self.last_values.targets(self.settings.model)
        chunks = [
            targets[start : start + PODS_PER_QUERY]
            for start in range(0, len(targets), PODS_PER_QUERY)
        ]
        return [ended for chunk in await _all_at_once(ask, chunks) for ended in chunk]

    def _take(self, target: ScrapeTarget, part: Answer | None, *, at: float) -> ReadResult:
        """Take one pod's part of an answer."""
        key = "/".join(target.key)
        if part is None:
            message = "Prometheus has no recent sample of this pod's series"
            error = SourceError(message, outcome=ReadOutcome.NO_SIGNAL)
            return _failed_read(key, error, ready=target.ready)
        try:
            sample = SOURCES[self.settings.engine].sample(
                part, model_names=self.settings.model_names, at=at
            )
        except SourceError as error:
            return _failed_read(key, error, ready=target.ready)
        self.last_values.put_sample(target, sample)
        return ReadResult(target=key, outcome=ReadOutcome.READ)


@dataclass(slots=True, kw_only=True)
class ExporterFeed(Feed):
    """Every dcgm-exporter, each by its own page."""

    name: str = "dcgm-exporters"
    exporters: Sequence[ExporterTarget]
    port: int

    async def read(self, session: aiohttp.ClientSession, *, deadline_s: float) -> list[ReadResult]:
        """Scrape every exporter."""

        async def scrape(exporter: ExporterTarget) -> ReadResult:
            key = "/".join(exporter.key)
            at = self.now()
            try:
                url = URL.build(scheme="http", host=exporter.ip, port=self.port, path="/metrics")
                body = await fetch_page(session, url, deadline_s=deadline_s)
                page = read_page(body, dcgm.NAMES)
                reading = dcgm.read(page, at=at, node=exporter.node)
            except SourceError as error:
                return _failed_read(key, error)
            self.last_values.put_dcgm(key, reading)
            return ReadResult(target=key, outcome=ReadOutcome.READ)

        return await _all_at_once(scrape, self.exporters)


@dataclass(slots=True, kw_only=True)
class DcgmQueryFeed(Feed):
    """All dcgm-exporters that one Prometheus scrapes."""

    client: PrometheusClient

    async def read(self, session: aiohttp.ClientSession, *, deadline_s: float) -> list[ReadResult]:
        """Ask for every GPU. A cluster without an exporter is no error: nothing is known then."""
        address = self.client.server.server_address
        at = self.now()
        expression = prometheus.raw_samples(dcgm.NAMES, window_s=4 * DCGM_PERIOD_S)
        try:
            answer = await self.client.query(session, expression, deadline_s=deadline_s)
            if answer.by_name:
                self.last_values.put_dcgm(self.name, dcgm.read(answer, at=at))
        except SourceError as error:
            return [_failed_read(address, error)]
        return [ReadResult(target=address, outcome=ReadOutcome.READ, warnings=answer.warnings)]


T = TypeVar("T")
R = TypeVar("R")


async def _all_at_once(read: Callable[[T], Awaitable[R]], targets: Iterable[T]) -> list[R]:
    """Read all targets, IN_FLIGHT_MAX of them under way; a cancelled caller cancels them all."""
    places = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def one(target: T) -> R:
        async with places:
            return await read(target)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(target)) for target in targets]
    return [task.result() for task in tasks]


def _failed_read(target: str, error: SourceError, *, ready: bool = True) -> ReadResult:
    """Describe a read that failed; a pod that is not Ready need not answer."""
    outcome = ReadOutcome(error.outcome) if ready else ReadOutcome.NOT_READY
    return ReadResult(target=target, outcome=outcome, message=str(error))
