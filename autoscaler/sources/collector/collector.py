"""Reads every target at its own moment of its period and keeps the last values; a slow one delays nobody.

The collector runs in the daemon's TaskGroup: `feeds` says what is read, `rounds` when. A tick
asks `last_values` and gets at once what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import aiohttp

from autoscaler.kube.targets import ExporterTarget, ScrapeTarget
from autoscaler.settings import MetricsSettings, MetricsSource, PrometheusSettings
from autoscaler.sources.collector.feeds import (
    DCGM,
    DCGM_PERIOD_S,
    DCGM_PORT,
    PROMETHEUS,
    ExporterFeed,
    Feed,
    PodFeed,
)
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.collector.prometheus_feeds import (
    DcgmQueryFeed,
    PrometheusFeed,
    UnknownServerFeed,
)
from autoscaler.sources.collector.reports import FeedReport
from autoscaler.sources.collector.rounds import Rounds
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.connector import open_session
from autoscaler.sources.pages.lateness import Lateness
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.prometheus.client import PrometheusClient

LEAVING_PERIOD_S = 1.0
"""Between two readings of a pod that is being deleted: the drain hook sees it idle for two or three seconds
before its engine ends, and a page of 5 s before would still show its last streams."""
SOURCE_LABELS: tuple[str, ...] = (*SOURCES, DCGM, PROMETHEUS)
"""Every value of the metric label `source`."""
FIRST_READ_S = 1.0
"""In which most first reads have ended; above the 0.2 s that a loaded vLLM on GPUs took at worst."""


class Collector:
    """Every source of a fleet."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        servers: Mapping[str, PrometheusSettings] = MappingProxyType({}),
        session: aiohttp.ClientSession | None = None,
        dcgm_port: int = DCGM_PORT,
        dcgm_period_s: float = DCGM_PERIOD_S,
    ) -> None:
        """Make a collector that reads nothing yet.

        Args:
            now: Seconds since the epoch, never decreasing: the daemon's clock.
            servers: That may be asked, by the name that documents use.
            session: One that the caller closes; None: `run` makes one and closes it.
            dcgm_port: Of the dcgm-exporters' pages.
            dcgm_period_s: Between two reads of each.
        """
        self._now = now
        self._session = session
        self._dcgm_port = dcgm_port
        self._dcgm_period_s = dcgm_period_s
        self.last_values = LastValues()
        """What a tick takes."""
        self.lateness = Lateness()
        """Of the event loop, as the collector finds it."""
        self._rounds = Rounds()
        self._clients = {name: PrometheusClient(server) for name, server in servers.items()}
        self._settings: tuple[MetricsSettings, ...] = ()
        self._prometheus_feeds: dict[str, PrometheusFeed] = {}
        """By model, with the interval that was learnt."""
        self._targets: tuple[ScrapeTarget, ...] = ()
        self._exporters: tuple[ExporterTarget, ...] = ()
        self._leaving: frozenset[str] = frozenset()
        """Models that have pods which are being deleted."""

    def set_models(self, models: Iterable[MetricsSettings]) -> None:
        """Replace how models are read; a model that stays keeps its pods' moments."""
        self._settings = tuple(models)
        keys = {settings.model for settings in self._settings}
        self._prometheus_feeds = {
            model: feed for model, feed in self._prometheus_feeds.items() if model in keys
        }
        self._rounds.set_feeds(self._feeds())

    def set_exporters(self, exporters: Iterable[ExporterTarget]) -> None:
        """Replace the dcgm-exporters that are scraped; readings of one that is gone are forgotten."""
        exporters = tuple(exporters)
        if exporters != self._exporters:
            self._exporters = exporters
            self._rounds.set_feeds(self._feeds())

    def set_targets(self, targets: Iterable[ScrapeTarget]) -> None:
        """Replace the pods; what was read of a pod that is gone goes with it."""
        targets = tuple(targets)
        if targets == self._targets:
            return  # almost every tick
        self._targets = targets
        self.last_values.set_targets(targets)
        leaving = frozenset(target.model for target in targets if target.leaving)
        if leaving != self._leaving:
            self._leaving = leaving
            self._rounds.set_feeds(self._feeds())
        else:
            self._rounds.look_again()

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
        async with open_session(self._session) as session, asyncio.TaskGroup() as group:
            group.create_task(self.lateness.run())
            await self._rounds.run(BodyReader(session=session, lateness=self.lateness))

    def _feeds(self) -> list[Feed]:
        """Make a feed for each model, for the exporters and for each server that speaks for GPUs."""
        last_values, now = self.last_values, self._now
        feeds = [feed for settings in self._settings for feed in self._feeds_of(settings)]
        feeds += [
            DcgmQueryFeed(
                name=f"DCGM through {name}", client=client, last_values=last_values, now=now
            )
            for name, client in self._clients.items()
            if client.server.dcgm
        ]
        if self._exporters:
            feeds.append(
                ExporterFeed(
                    exporters=self._exporters,
                    last_values=last_values,
                    now=now,
                    port=self._dcgm_port,
                    period_s=self._dcgm_period_s,
                )
            )
        pods = ("/".join(exporter.key) for exporter in self._exporters)
        last_values.set_exporters([*pods, *(feed.name for feed in feeds)])
        return feeds

    def _feeds_of(self, settings: MetricsSettings) -> list[Feed]:
        """Make the feeds of one model: two while pods of it are being deleted."""
        of_model: dict[str, Any] = {
            "model": settings.model,
            "period_s": settings.period_s,
            "deadline_s": settings.deadline_s,
            "last_values": self.last_values,
            "now": self._now,
        }
        if settings.source is MetricsSource.PODS:
            of_model |= {"source": source_label(settings), "settings": settings}
            feeds: list[Feed] = [PodFeed(name=f"pods of {settings.model}", **of_model)]
            if settings.model in self._leaving:
                of_model["period_s"] = min(settings.period_s, LEAVING_PERIOD_S)
                name = f"leaving pods of {settings.model}"
                feeds.append(PodFeed(name=name, leaving=True, **of_model))
            return feeds
        name = f"Prometheus for {settings.model}"
        client = self._clients.get(settings.server)
        if client is None:
            known_names = tuple(sorted(self._clients))
            return [
                UnknownServerFeed(name=name, server=settings.server, known=known_names, **of_model)
            ]
        known = self._prometheus_feeds.get(settings.model)
        interval_s = known.interval_s if known else 0.0
        feed = PrometheusFeed(
            name=name, settings=settings, client=client, interval_s=interval_s, **of_model
        )
        self._prometheus_feeds[settings.model] = feed
        return [feed]


def source_label(settings: MetricsSettings) -> str:
    """Return the metric label of a model's source: its engine, or Prometheus."""
    return str(settings.engine) if settings.source is MetricsSource.PODS else PROMETHEUS
