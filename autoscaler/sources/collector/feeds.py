"""What is read once a period: the pods of a model, a Prometheus for a model, DCGM's exporters.

A feed says what there is to read now; `rounds` reads it, each within its own deadline. A read stores
each value the moment it comes, and returns how it ended. It raises nothing but what is a bug.
"""

from __future__ import annotations

import ipaddress
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodSample
from autoscaler.kube.targets import ExporterTarget, ScrapeTarget
from autoscaler.settings import MetricsSettings, TlsSettings
from autoscaler.sources import dcgm
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import page_steps
from autoscaler.sources.pages.fetch import ReadRequest
from autoscaler.sources.pages.limits import EXPORTER_PAGE_BYTES_MAX
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.pages.signals import sum_of_pages
from autoscaler.sources.pages.turns import Steps

DCGM_PERIOD_S = 15.0
"""Half of the 30 s in which the exporter collects."""
DCGM_PORT = 9400
DCGM = "DCGM"
"""In the metric label `source`, beside the names of SOURCES and PROMETHEUS."""
PROMETHEUS = "Prometheus"
REQUESTS_KEPT_MAX = 16_384
"""What is asked of so many pods is kept: some 2 kB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """How one read ended."""

    target: str
    """For people: a pod's `namespace/name`, an address."""
    outcome: ReadOutcome
    message: str = ""
    warnings: tuple[str, ...] = ()
    """Warnings that came with an answer."""


class Read(NamedTuple):
    """One read that can be made now."""

    identity: str
    """Tells what is read from everything else, a pod from a later one of the same name: its uid. The moment
    of the period at which it is read follows from it."""
    ask: Callable[[BodyReader], Awaitable[list[ReadResult]]]


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
    """Between two reads of each target."""
    deadline_s: float = DCGM_PERIOD_S
    """Of one read."""
    last_values: LastValues
    now: Callable[[], float]

    @abstractmethod
    def reads(self) -> Mapping[str, Read]:
        """Return what there is to read now, by what tells one read from another, for people."""


@dataclass(slots=True, kw_only=True)
class PodFeed(Feed):
    """The pods of one model, each by its own page: those that stay, or those that are being deleted."""

    settings: MetricsSettings
    leaving: bool = False
    """Which of them. What the last page of one that goes says is all that is ever known of its end."""

    def reads(self) -> Mapping[str, Read]:
        """Every pod that has an address."""
        targets = self.last_values.targets(self.settings.model)
        return {
            "/".join(target.key): Read(target.uid, partial(self._scrape, target))
            for target in targets
            if target.ip and target.leaving == self.leaving
        }

    async def _scrape(self, target: ScrapeTarget, reader: BodyReader) -> list[ReadResult]:
        key = "/".join(target.key)
        # The start of the read: the page is at least as new as that.
        at = self.now()
        pages: list[PodSample] = []
        try:
            # One after the other: a pod of sixteen ranks is read like a pod, not like sixteen.
            for port in self.settings.ports:
                request = page_request(
                    self.settings,
                    ip=target.ip,
                    port=port,
                    deadline_s=self.deadline_s,
                    owner=self.name,
                )
                pages.append(await reader.read(request, partial(self._steps, at=at)))
            self.last_values.put_sample(target, sum_of_pages(pages))
        except SourceError as error:
            return [failed_read(key, error, ready=target.ready)]
        return [ReadResult(target=key, outcome=ReadOutcome.READ)]

    def _steps(self, body: bytes, *, at: float) -> Steps[PodSample]:
        engine = SOURCES[self.settings.engine]
        page = yield from page_steps(body, engine.names, engine.histograms)
        yield
        return engine.sample(page, model_names=self.settings.model_names, at=at)


@dataclass(slots=True, kw_only=True)
class ExporterFeed(Feed):
    """Every dcgm-exporter, each by its own page."""

    name: str = "dcgm-exporters"
    exporters: Sequence[ExporterTarget]
    port: int

    def reads(self) -> Mapping[str, Read]:
        """Every exporter."""
        return {
            "/".join(exporter.key): Read(exporter.uid, partial(self._scrape, exporter))
            for exporter in self.exporters
        }

    async def _scrape(self, exporter: ExporterTarget, reader: BodyReader) -> list[ReadResult]:
        key = "/".join(exporter.key)
        at = self.now()
        try:
            url = URL.build(scheme="http", host=exporter.ip, port=self.port, path="/metrics")
            request = ReadRequest(
                url=url,
                bytes_max=EXPORTER_PAGE_BYTES_MAX,
                deadline_s=self.deadline_s,
                owner=self.name,
            )
            reading = await reader.read(request, partial(self._steps, at=at, node=exporter.node))
        except SourceError as error:
            return [failed_read(key, error)]
        self.last_values.put_dcgm(key, reading)
        return [ReadResult(target=key, outcome=ReadOutcome.READ)]

    def _steps(self, body: bytes, *, at: float, node: str) -> Steps[dcgm.DcgmReading]:
        page = yield from page_steps(body, dcgm.NAMES)
        yield
        return dcgm.read(page, at=at, node=node)


@lru_cache(maxsize=REQUESTS_KEPT_MAX)
def page_request(
    settings: MetricsSettings, *, ip: str, port: int, deadline_s: float, owner: str = ""
) -> ReadRequest:
    """Say what is asked of one pod: always at its own address, whatever the path.

    Cached, as it is the same every period.

    Raises:
        SourceError: Its address is none.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError as error:
        message = "the pod's address is no IP address"
        raise SourceError(message, outcome=ReadOutcome.REFUSED) from error
    host = f"[{address}]" if address.version == 6 else str(address)
    path, _, query = settings.path.partition("?")
    url = URL.build(
        scheme=settings.scheme, host=host, port=port, path=path, query_string=query, encoded=True
    )
    secure = settings.scheme == "https"
    return ReadRequest(
        url=url,
        bytes_max=SOURCES[settings.engine].page_bytes_max,
        deadline_s=deadline_s,
        owner=owner or settings.model,
        tls=_tls_context(settings.tls) if secure else None,
        server_name=(settings.tls.server_name or None) if secure else None,
    )


@lru_cache(maxsize=64)
def _tls_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """Return what to trust; None is the system's authorities. Cached, as it takes milliseconds.

    Raises:
        SourceError: The certificates do not parse.
    """
    if tls.insecure_skip_verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if not tls.ca:
        return None
    try:
        return ssl.create_default_context(cadata=tls.ca)
    except (ssl.SSLError, ValueError) as error:
        message = "spec.metrics.tls.ca holds no PEM certificate"
        raise SourceError(message, outcome=ReadOutcome.REFUSED) from error


def failed_read(target: str, error: SourceError, *, ready: bool = True) -> ReadResult:
    """Describe a read that failed; a pod that is not Ready need not answer."""
    outcome = ReadOutcome(error.outcome) if ready else ReadOutcome.NOT_READY
    return ReadResult(target=target, outcome=outcome, message=str(error))
