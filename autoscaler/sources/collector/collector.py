"""Reads every source in its own period and keeps the last values; a slow one delays nobody.

The collector runs in the daemon's TaskGroup: `feeds` says what is read, `rounds` when. A tick
asks `last_values` and gets at once what is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import aiohttp

from autoscaler.kube.targets import ExporterTarget, ScrapeTarget
from autoscaler.settings import MetricsSettings, MetricsSource, PrometheusSettings
from autoscaler.sources.collector.feeds import (
    DCGM,
    DCGM_PORT,
    PROMETHEUS,
    DcgmQueryFeed,
    ExporterFeed,
    Feed,
    PodFeed,
    PrometheusFeed,
)
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.collector.rounds import FeedReport, Rounds
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.prometheus import PrometheusClient

SOURCE_LABELS: tuple[str, ...] = (*SOURCES, DCGM, PROMETHEUS)
"""Every value of the metric label `source`."""
DEADLINE_S = 1.0
"""Of one read; below the tick of 5 s, above the 0.2 s that a loaded vLLM took at worst."""


class Collector:
    """Every source of a fleet."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        deadline_s: float = DEADLINE_S,
        session: aiohttp.ClientSession | None = None,
        dcgm_port: int = DCGM_PORT,
    ) -> None:
        """Make a collector that reads nothing yet.

        Args:
            now: Seconds since the epoch, never decreasing: the daemon's clock.
            deadline_s: Of one read.
            session: One that the caller closes; None: `run` makes one and closes it.
            dcgm_port: Of the dcgm-exporters' pages.
        """
        self._now = now
        self._session = session
        self._dcgm_port = dcgm_port
        self.last_values = LastValues()
        """What a tick takes."""
        self._rounds = Rounds(deadline_s=deadline_s)
        self._settings: tuple[MetricsSettings, ...] = ()
        self._exporters: tuple[ExporterTarget, ...] = ()

    def set_models(self, models: Iterable[MetricsSettings]) -> None:
        """Replace how models are read; a model that stays keeps its grid of periods."""
        self._settings = tuple(models)
        self._rounds.set_feeds(self._feeds())

    def set_exporters(self, exporters: Iterable[ExporterTarget]) -> None:
        """Replace the dcgm-exporters that are scraped; readings of one that is gone are forgotten."""
        exporters = tuple(exporters)
        if exporters != self._exporters:
            self._exporters = exporters
            self._rounds.set_feeds(self._feeds())

    def set_targets(self, targets: Iterable[ScrapeTarget]) -> None:
        """Replace the pods; what was read of a pod that is gone goes with it."""
        self.last_values.set_targets(targets)

    @property
    def outcomes(self) -> Mapping[tuple[str, ReadOutcome], int]:
        """Reads so far by source and outcome: a count for every pair, from the start."""
        counts = self._rounds.outcomes
        return {
            (source, outcome): counts[source, outcome]
            for source in SOURCE_LABELS
            for outcome in ReadOutcome
        }

    def reports(self) -> list[FeedReport]:
        """Return how each feed fared in its last round."""
        return self._rounds.reports()

    def ages(self, *, at: float) -> dict[str, float]:
        """Return the age of the oldest last value of each source that has any, in seconds."""
        oldest_at: dict[str, float] = {}
        samples = self.last_values.samples()
        for settings in self._settings:
            source = source_label(settings)
            for target in self.last_values.targets(settings.model):
                if target.key in samples:
                    sampled_at = samples[target.key].sampled_at
                    oldest_at[source] = min(sampled_at, oldest_at.get(source, sampled_at))
        nodes = [sample.sampled_at for sample in self.last_values.nodes().values()]
        if nodes:
            oldest_at[DCGM] = min(nodes)
        return {source: max(0.0, at - moment) for source, moment in oldest_at.items()}

    async def run(self) -> None:
        """Read until cancelled; then every read that is under way is cancelled with it."""
        async with self._open_session() as session:
            await self._rounds.run(session)

    @contextlib.asynccontextmanager
    async def _open_session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Open the one session of all reads, unless the caller gave one."""
        if self._session is not None:
            yield self._session
            return
        # No limit: IN_FLIGHT_MAX bounds each feed, and a limit here would let one starve the others.
        # Pods are addressed directly: a proxy of the environment is not for them.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        ) as session:
            yield session

    def _feeds(self) -> list[Feed]:
        """Make a feed for each model, for the exporters and for DCGM at each Prometheus."""
        last_values, now = self.last_values, self._now
        feeds: list[Feed] = []
        clients: dict[PrometheusSettings, PrometheusClient] = {}
        for settings in self._settings:
            of_model: dict[str, Any] = {
                "source": source_label(settings),
                "model": settings.model,
                "period_s": settings.period_s,
                "settings": settings,
                "last_values": last_values,
                "now": now,
            }
            if settings.prometheus is None:
                feeds.append(PodFeed(name=f"pods of {settings.model}", **of_model))
                continue
            client = clients.get(settings.prometheus)
            if client is None:
                client = clients[settings.prometheus] = PrometheusClient(settings.prometheus)
                # One of each server, called after the first model that asks it.
                name = f"DCGM through the Prometheus of {settings.model}"
                feeds.append(
                    DcgmQueryFeed(name=name, client=client, last_values=last_values, now=now)
                )
            name = f"Prometheus for {settings.model}"
            feeds.append(PrometheusFeed(name=name, client=client, **of_model))
        if self._exporters:
            feeds.append(
                ExporterFeed(
                    exporters=self._exporters,
                    last_values=last_values,
                    now=now,
                    port=self._dcgm_port,
                )
            )
        pods = ("/".join(exporter.key) for exporter in self._exporters)
        last_values.set_exporters([*pods, *(feed.name for feed in feeds)])
        return feeds


def source_label(settings: MetricsSettings) -> str:
    """Return the metric label of a model's source: its engine, or Prometheus."""
    return str(settings.engine) if settings.source is MetricsSource.PODS else PROMETHEUS
