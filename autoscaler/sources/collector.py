"""Reads every source in its own period and keeps the last values; a slow one delays nobody.

The collector runs in the daemon's TaskGroup. Each feed (see `feeds`) has its own grid of periods; a round
starts on time whatever the other feeds do, and one that is still under way is left to end (its reads
have deadlines) rather than doubled. A tick asks for `samples()`, `framebuffers()` and `gpus()` and
gets at once what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field

import aiohttp
import structlog

from autoscaler.core.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.settings import MetricsSettings, MetricsSource, PrometheusSettings
from autoscaler.sources import SOURCES
from autoscaler.sources.dcgm import GpuReading
from autoscaler.sources.feeds import (
    DCGM,
    PROMETHEUS,
    DcgmQueryFeed,
    Ended,
    ExporterFeed,
    Feed,
    PodFeed,
    PrometheusFeed,
)
from autoscaler.sources.outcome import ERRORS, Outcome
from autoscaler.sources.prometheus import PrometheusClient
from autoscaler.sources.readings import Exporter, Readings, Target

SOURCE_LABELS: tuple[str, ...] = (*SOURCES, DCGM, PROMETHEUS)
"""Every value of the metric label `source`."""
DEADLINE_S = 1.0
"""Of one read; below the tick of 5 s, above the 0.2 s that a loaded vLLM took at worst."""

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
    outcome: Outcome
    """Of the first of these; Read: there is none."""
    message: str
    """What it said; empty: there is none."""
    warnings: tuple[str, ...]
    """What Prometheus said beside its answers."""


@dataclass(slots=True)
class _Running:
    """A feed in its grid of periods."""

    feed: Feed
    due_at: float
    """Loop time of the next round."""
    round: asyncio.Task[None] | None = None
    ended: list[Ended] = field(default_factory=list)
    """How the reads of the last round ended."""


class Collector:
    """Every source of a fleet."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        deadline_s: float = DEADLINE_S,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        """Make a collector that reads nothing yet.

        Args:
            now: Seconds since the epoch, never decreasing: the daemon's clock.
            deadline_s: Of one read.
            session: One that the caller closes; None: `run` makes one and closes it.
        """
        self._now = now
        self._deadline_s = deadline_s
        self._session = session
        self._readings = Readings()
        self._settings: dict[str, MetricsSettings] = {}
        self._exporters: tuple[Exporter, ...] = ()
        self._running: dict[str, _Running] = {}
        self._changed = asyncio.Event()
        self.outcomes: Counter[tuple[str, Outcome]] = Counter(
            {(source, outcome): 0 for source in SOURCE_LABELS for outcome in Outcome}
        )
        """Reads so far by source and outcome; every pair is there from the start."""

    def set_models(self, models: Iterable[MetricsSettings]) -> None:
        """Replace how models are read; a model whose settings stay keeps its periods."""
        self._settings = {settings.model: settings for settings in models}
        self._changed.set()

    def set_exporters(self, exporters: Iterable[Exporter]) -> None:
        """Replace the dcgm-exporters that are scraped; what one that is gone said is forgotten."""
        exporters = tuple(exporters)
        if exporters != self._exporters:
            self._exporters = exporters
            self._changed.set()

    def set_targets(self, targets: Iterable[Target]) -> None:
        """Replace the pods; what was read of a pod that is gone goes with it."""
        self._readings.set_targets(targets)

    def samples(self) -> dict[PodKey, PodSample]:
        """Return the last sample of each pod that ever had one, with its own time."""
        return self._readings.samples()

    def framebuffers(self) -> dict[PodKey, FramebufferSample]:
        """Return the last framebuffer of each pod for which it is known."""
        return self._readings.framebuffers()

    def gpus(self) -> dict[str, NodeGpuSample]:
        """Return the free GPUs of each node for which they are known."""
        return self._readings.nodes()

    def devices(self) -> list[GpuReading]:
        """Return every GPU with its memory, for `/debug/models`."""
        return self._readings.gpus()

    def reports(self) -> list[FeedReport]:
        """Return how each feed fared in its last round."""
        return [_report(running) for running in self._running.values()]

    def ages(self, *, at: float) -> dict[str, float]:
        """Return the age of the oldest last value of each source that has any, in seconds."""
        oldest_at: dict[str, float] = {}
        samples = self._readings.samples()
        for settings in self._settings.values():
            source = source_label(settings)
            for target in self._readings.targets(settings.model):
                if target.key in samples:
                    sampled_at = samples[target.key].sampled_at
                    oldest_at[source] = min(sampled_at, oldest_at.get(source, sampled_at))
        nodes = [sample.sampled_at for sample in self._readings.nodes().values()]
        if nodes:
            oldest_at[DCGM] = min(nodes)
        return {source: max(0.0, at - moment) for source, moment in oldest_at.items()}

    async def run(self) -> None:
        """Read until cancelled; then every read that is under way is cancelled with it."""
        loop = asyncio.get_running_loop()
        async with self._open_session() as session, asyncio.TaskGroup() as rounds:
            while True:
                if self._changed.is_set():
                    self._changed.clear()
                    self._follow(session, at=loop.time())
                for running in self._running.values():
                    if running.due_at <= loop.time():
                        self._start_round(running, session, rounds, at=loop.time())
                due_at = min((running.due_at for running in self._running.values()), default=None)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due_at):
                        await self._changed.wait()

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

    def _follow(self, session: aiohttp.ClientSession, *, at: float) -> None:
        """Bring the feeds in line with models and exporters; those that stay keep their grid."""
        wanted = {feed.name: feed for feed in self._feeds(session)}
        for name in self._running.keys() - wanted.keys():
            del self._running[name]  # a round of it under way ends by its deadlines
        for name, feed in wanted.items():
            running = self._running.setdefault(name, _Running(feed=feed, due_at=at))
            running.feed = feed
        self._readings.keep_exporters(
            {"/".join(exporter.key) for exporter in self._exporters} | wanted.keys()
        )

    def _feeds(self, session: aiohttp.ClientSession) -> Iterator[Feed]:
        """Make a feed for each model, for the exporters and for DCGM at each Prometheus."""
        readings, now = self._readings, self._now
        clients: dict[PrometheusSettings, PrometheusClient] = {}
        for settings in self._settings.values():
            if settings.prometheus is None:
                yield PodFeed(settings=settings, readings=readings, now=now)
                continue
            if settings.prometheus not in clients:
                client = PrometheusClient(server=settings.prometheus, session=session)
                clients[settings.prometheus] = client
                yield DcgmQueryFeed(client=client, readings=readings, now=now)
            yield PrometheusFeed(
                settings=settings, client=clients[settings.prometheus], readings=readings, now=now
            )
        if self._exporters:
            yield ExporterFeed(exporters=self._exporters, readings=readings, now=now)

    def _start_round(
        self,
        running: _Running,
        session: aiohttp.ClientSession,
        rounds: asyncio.TaskGroup,
        *,
        at: float,
    ) -> None:
        """Start a round that is due and set the next one on its grid, past what was missed."""
        missed = int((at - running.due_at) // running.feed.period_s)
        running.due_at += (missed + 1) * running.feed.period_s
        if running.round is None or running.round.done():
            running.round = rounds.create_task(self._round(running, session))

    async def _round(self, running: _Running, session: aiohttp.ClientSession) -> None:
        """Read one feed once, count how its reads ended, and tell what changed."""
        feed = running.feed
        ended = await feed.read(session, deadline_s=min(self._deadline_s, feed.period_s))
        for each in ended:
            self.outcomes[feed.source, each.outcome] += 1
        before, running.ended = _report(running), ended
        _tell(before, _report(running))


def source_label(settings: MetricsSettings) -> str:
    """Return the metric label of a model's source: its engine, or Prometheus."""
    return str(settings.engine) if settings.source is MetricsSource.PODS else PROMETHEUS


def _report(running: _Running) -> FeedReport:
    """Sum up a feed's last round."""
    errors = [each for each in running.ended if each.outcome in ERRORS]
    return FeedReport(
        name=running.feed.name,
        source=running.feed.source,
        model=running.feed.model,
        targets=len(running.ended),
        failing=tuple(each.target for each in errors),
        outcome=errors[0].outcome if errors else Outcome.READ,
        message=errors[0].message if errors else "",
        warnings=tuple(dict.fromkeys(text for each in running.ended for text in each.warnings)),
    )


def _tell(before: FeedReport, after: FeedReport) -> None:
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
