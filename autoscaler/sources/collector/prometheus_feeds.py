"""What is asked of Prometheus servers once a period: a model's pods, and the GPUs of the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from autoscaler.errors import SourceError
from autoscaler.foreign_text import listed
from autoscaler.kube.targets import ScrapeTarget
from autoscaler.settings import MetricsSettings
from autoscaler.sources import dcgm
from autoscaler.sources.collector.feeds import (
    DCGM_PERIOD_S,
    PROMETHEUS,
    Feed,
    Read,
    ReadResult,
    failed_read,
)
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.pages.signals import sum_of_pages
from autoscaler.sources.pages.turns import Steps
from autoscaler.sources.prometheus.answer import Answer
from autoscaler.sources.prometheus.client import PrometheusClient
from autoscaler.sources.prometheus.expressions import label_matchers, pod_matchers
from autoscaler.sources.prometheus.pod_rows import by_pod, pod_rows, sample_interval_s

PODS_PER_QUERY = 50
"""Names in one expression: their answer, of eight ranks each, is within ANSWER_BYTES_MAX, and
Prometheus looks each name up directly."""
LOOKBACK_S_MIN = 150.0
"""Prometheus is asked this far back: two scrapes of a minute, which tell how far they are apart."""
LOOKBACK_S_MAX = 600.0
INTERVAL_S_MAX = 120.0
"""Between samples that decisions can rest on; beyond it that is said."""
_SCRAPES = 2.5
"""Looked back, once their interval is known: one may be lost."""


@dataclass(slots=True, kw_only=True)
class PrometheusFeed(Feed):
    """The pods of one model, through Prometheus."""

    source: str = PROMETHEUS
    settings: MetricsSettings
    client: PrometheusClient
    interval_s: float = 0.0
    """Between the samples of these pods, as last seen; 0: not yet."""
    _newest_at: dict[str, float] = field(default_factory=dict)
    """By pod, of those of which an answer had one sample alone."""

    def reads(self) -> Mapping[str, Read]:
        """All pods of the model, some dozens in a query."""
        targets = sorted(
            self.last_values.targets(self.settings.model), key=lambda target: target.key
        )
        chunks = [
            targets[start : start + PODS_PER_QUERY]
            for start in range(0, len(targets), PODS_PER_QUERY)
        ]
        address = self.client.server.server_address
        return {
            f"{address} ({number})": Read(f"{self.name} {number}", partial(self._ask, chunk))
            for number, chunk in enumerate(chunks)
        }

    async def _ask(self, targets: Sequence[ScrapeTarget], reader: BodyReader) -> list[ReadResult]:
        address = self.client.server.server_address
        matchers = [
            *pod_matchers(self.settings.namespace, sorted(target.key[1] for target in targets)),
            *label_matchers(self.settings.matchers),
        ]
        window_s = max(LOOKBACK_S_MIN, 4 * self.period_s, _SCRAPES * self.interval_s)
        at = self.now()
        try:
            answer = await self.client.series(
                reader,
                SOURCES[self.settings.engine].names,
                window_s=min(window_s, LOOKBACK_S_MAX),
                matchers=matchers,
                deadline_s=self.deadline_s,
                owner=self.name,
            )
        except SourceError as error:
            return [failed_read(address, error)]
        ended = await reader.turns.take(self._take_all(targets, answer, at=at))
        warnings = list(answer.warnings)
        if self.interval_s > INTERVAL_S_MAX:
            warnings.append(
                f"Prometheus has a new sample of these pods every {self.interval_s:.0f} s; scrape them "
                f"at least every {INTERVAL_S_MAX:.0f} s, or write source: Pods"
            )
        return [
            ReadResult(target=address, outcome=ReadOutcome.READ, warnings=tuple(warnings)),
            *ended,
        ]

    def _take_all(
        self, targets: Sequence[ScrapeTarget], answer: Answer, *, at: float
    ) -> Steps[list[ReadResult]]:
        """Take an answer pod by pod, with a pause between them."""
        parts = by_pod(answer)
        ended: list[ReadResult] = []
        for target in targets:
            yield
            try:
                ended.append(self._take(target, parts.get(target.key), at=at))
            except SourceError as error:
                ended.append(failed_read("/".join(target.key), error, ready=target.ready))
        return ended

    def _take(self, target: ScrapeTarget, part: Answer | None, *, at: float) -> ReadResult:
        """Take one pod's part of an answer."""
        key = "/".join(target.key)
        if part is None:
            message = "Prometheus has no recent sample of this pod's series"
            raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)
        engine, settings = SOURCES[self.settings.engine], self.settings
        found = pod_rows(part, labels=engine.labels, ip=target.ip, ports=settings.ports)
        sample = sum_of_pages(
            [engine.sample(page, model_names=settings.model_names, at=at) for page in found.pages]
        )
        self._learn_interval(key, sample.sampled_at, sample_interval_s(found.pages))
        self.last_values.put_sample(
            target, replace(sample, sample_interval_s=self.interval_s or None)
        )
        if not found.other_ports:
            return ReadResult(target=key, outcome=ReadOutcome.READ)
        warning = (
            f"Prometheus scrapes pods of this model at the ports {listed(found.other_ports)} too; "
            "write spec.metrics.ports if they are data-parallel ranks"
        )
        return ReadResult(target=key, outcome=ReadOutcome.READ, warnings=(warning,))

    def _learn_interval(self, key: str, sampled_at: float, seen_s: float | None) -> None:
        """Keep the seconds between samples: of two in one answer, or of two answers."""
        before_at = self._newest_at.get(key)
        if seen_s is not None:
            self.interval_s = seen_s
        elif before_at is not None and sampled_at > before_at:
            self.interval_s = max(self.interval_s, sampled_at - before_at)
        self._newest_at[key] = sampled_at


@dataclass(slots=True, kw_only=True)
class DcgmQueryFeed(Feed):
    """All dcgm-exporters that one Prometheus scrapes, which its operator says may speak for GPUs."""

    client: PrometheusClient

    def reads(self) -> Mapping[str, Read]:
        """One query for every GPU."""
        return {self.client.server.server_address: Read(self.name, self._ask)}

    async def _ask(self, reader: BodyReader) -> list[ReadResult]:
        """Ask for every GPU. A cluster without an exporter is no error: nothing is known then."""
        address = self.client.server.server_address
        at = self.now()
        try:
            answer = await self.client.series(
                reader,
                dcgm.NAMES,
                window_s=4 * DCGM_PERIOD_S,
                matchers=(),
                deadline_s=self.deadline_s,
                owner=self.name,
            )
            if answer.by_name:
                self.last_values.put_dcgm(self.name, dcgm.read(answer, at=at))
        except SourceError as error:
            return [failed_read(address, error)]
        return [ReadResult(target=address, outcome=ReadOutcome.READ, warnings=answer.warnings)]


@dataclass(slots=True, kw_only=True)
class UnknownServerFeed(Feed):
    """A model whose document names a server that the daemon was not given."""

    source: str = PROMETHEUS
    server: str
    known: tuple[str, ...]

    def reads(self) -> Mapping[str, Read]:
        """Nothing is asked of anybody; that is said."""
        return {self.server: Read(self.name, self._say)}

    async def _say(self, _reader: BodyReader) -> list[ReadResult]:
        known = f"it has {', '.join(self.known)}" if self.known else "it has none"
        message = (
            f"the daemon was given no Prometheus called {self.server}; {known}; name it with "
            f"--prometheus-server {self.server}=URL"
        )
        return [ReadResult(target=self.server, outcome=ReadOutcome.REFUSED, message=message)]
