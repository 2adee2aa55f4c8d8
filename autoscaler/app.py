"""The composition root of the daemon: builds every object, owns the TaskGroup, signals and shutdown.

Nothing is decided here. Order of a shutdown: no more events, writes under way are finished and those
that wait are dropped, the recording is closed, then the rest is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import structlog

from autoscaler import __version__
from autoscaler.core.contract.commands import COMMAND_TIMEOUT_S, Command
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.core.tick.parts import Parts
from autoscaler.daemon.actuator import Actuator, CommandEnding
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.config_watch import ConfigWatch
from autoscaler.daemon.garbage import seldom_look_through_everything
from autoscaler.daemon.history_watch import DAYS as HISTORY_DAYS
from autoscaler.daemon.history_watch import HistoryWatch
from autoscaler.daemon.inbox import Inbox
from autoscaler.daemon.knowledge_keeper import KnowledgeKeeper
from autoscaler.daemon.loop import Listener, Loop
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import SEGMENT_BYTES, Recorder
from autoscaler.daemon.recording.segments import make_folder
from autoscaler.daemon.resource_events import EventWriter
from autoscaler.daemon.resource_watch import ResourceWatch, no_resources
from autoscaler.daemon.status_writer import StatusWriter
from autoscaler.daemon.telemetry.http import DebugServer, HttpServer, parse_listen
from autoscaler.daemon.telemetry.telemetry import Telemetry
from autoscaler.errors import AutoscalerError, SettingsError
from autoscaler.kube.api.access import is_pod, pod_namespace
from autoscaler.kube.api.client import Client, connect
from autoscaler.kube.api.fence import FencedClient
from autoscaler.kube.lease.contender import LeaseTimes
from autoscaler.kube.lease.election import Election, PresentFence
from autoscaler.kube.observe import Cluster
from autoscaler.kube.perform.perform import perform
from autoscaler.kube.watch.caches import PodSelector
from autoscaler.notices import NOTICE_SOURCES, events
from autoscaler.notices.interruptions import Interruptions
from autoscaler.settings import Config, Servers, SpecError, read_config, read_servers, to_fleet
from autoscaler.settings.servers import CREDENTIALS
from autoscaler.sources.collector.collector import Collector
from autoscaler.supervision import Supervisor

_OUTAGE_LOOK_S = 5.0
_SHUTDOWN_S = COMMAND_TIMEOUT_S + 5.0
LEASE_NAME = "inference-autoscaler"
"""Of the Lease, and of the namespace that it is in where none is known."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """What the command line gives, under the names that `autoscaler run` gives its options."""

    config: Path | None = None
    """None: resources are watched."""
    watch_resources: bool = False
    """InferenceAutoscalers of the cluster, instead of documents in files."""
    namespaces: tuple[str, ...] = ()
    """Where they are watched; empty: in all of them."""
    dry_run: bool = False
    record: Path | None = None
    record_limit_mib: int = 512
    kubeconfig: str | None = None
    context: str | None = None
    leader_elect: bool | None = None
    """Whether one of several daemons acts, by a Lease; None: where this one is a pod, and no dry run."""
    lease_namespace: str = ""
    """Of the Lease; empty: this pod's, or `LEASE_NAME`."""
    lease_name: str = LEASE_NAME
    listen: str = ":8080"
    """For the probes and /metrics: whoever reaches it may read it."""
    debug_listen: str = "127.0.0.1:8081"
    """For /debug: decisions, addresses and prices are nobody's business; empty: not served."""
    tick_s: float = 5.0
    gpu_budget: int | None = None
    dcgm_namespace: str = "gpu-operator"
    """Where the DCGM exporter's pods are; empty: in any."""
    dcgm_selector: str = "app=nvidia-dcgm-exporter"
    """A label selector; empty: none are read."""
    dcgm_port: int = 9400
    dcgm_period_s: float = 15.0
    """Between two reads of each; half of the 30 s in which the exporter collects."""
    prometheus_servers: tuple[str, ...] = ()
    """Each as `NAME=URL[,KEY=VALUE]...`: `settings.servers`."""
    history_days: int = HISTORY_DAYS
    """Of a model's past that are read from Prometheus once; 0: none."""
    credentials: Path = CREDENTIALS
    """The folder below which their token files lie."""

    memory: bool | None = None
    """Whether what was learnt of models is kept in ConfigMaps beside the Lease; None: where this daemon is a pod."""

    def keeps(self) -> bool:
        """Whether what an earlier daemon had learnt is read, and, but for a dry run, what is learnt is kept."""
        if self.memory is None:
            return is_pod(self.kubeconfig, context=self.context)
        return self.memory

    def own_namespace(self) -> str:
        """Where the Lease is, and what was learnt."""
        return self.lease_namespace or pod_namespace() or LEASE_NAME

    def elects(self) -> bool:
        """Whether this daemon takes part in an election.

        Raises:
            SettingsError: It was asked for with a dry run, which writes nothing: no lease either.
        """
        if self.dry_run and self.leader_elect:
            raise SettingsError(
                "--leader-elect and --dry-run: a dry run writes nothing, so it cannot take a lease; leave one out"
            )
        if self.leader_elect is None:
            return not self.dry_run and is_pod(self.kubeconfig, context=self.context)
        return self.leader_elect

    def servers(self) -> Servers:
        """Return the Prometheus servers that may be asked.

        Raises:
            SettingsError: One of them cannot be worked with.
        """
        return read_servers(self.prometheus_servers, credentials=self.credentials)


async def run(options: DaemonOptions) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Raises:
        SettingsError: Something it was given cannot be worked with.
        AutoscalerError: A bug ended it, which has been logged.
    """
    config = first_config(options)
    options.elects()
    host, port = parse_listen(options.listen)
    debug = parse_listen(options.debug_listen, "--debug-listen") if options.debug_listen else None
    if options.record is not None:
        _check_recording_folder(options.record)
    stop = asyncio.Event()
    with _signals(stop):
        async with await connect(options.kubeconfig, context=options.context) as client:
            daemon = Daemon(options, config=config, client=client)
            telemetry = daemon.telemetry
            server = HttpServer(telemetry.status, telemetry.page, host=host, port=port)
            address = await server.start()
            debug_server = (
                DebugServer(telemetry.status, host=debug[0], port=debug[1]) if debug else None
            )
            try:
                debug_address = await debug_server.start() if debug_server else None
            except SettingsError:
                await server.close()
                raise
            _log.info(
                "daemon.started",
                version=__version__,
                server=client.server,
                address=address,
                debug_address=debug_address,
                dry_run=options.dry_run,
                record=None if options.record is None else str(options.record),
            )
            seldom_look_through_everything()
            try:
                await daemon.run(stop)
            except ExceptionGroup as group:
                _log.exception("daemon.broke")
                raise AutoscalerError(
                    "a bug of ours ended the daemon; its log has the trace; please report it"
                ) from group
            finally:
                await server.close()
                if debug_server is not None:
                    await debug_server.close()
    _log.info("daemon.stopped")


def first_config(options: DaemonOptions) -> Config:
    """Read the configuration as a daemon does that starts: as far as it is valid, and be it no document.

    What stands in a file can be mended while the daemon runs, and a pod that restarts, because its node is
    drained, must not end for what one tenant wrote: it lives, is not ready and says why. A path with nothing at
    it is the command line's own mistake.

    Raises:
        SpecError: There is neither a file nor a folder of that name.
    """
    if options.config is None:
        return no_resources()
    config = read_config(options.config, servers=options.servers())
    if not (config.resources or options.config.is_file() or options.config.is_dir()):
        raise SpecError(config.problems)
    return config


class Daemon:
    """Every object of a running daemon, wired."""

    def __init__(
        self,
        options: DaemonOptions,
        *,
        config: Config,
        client: Client,
        clock: Clock | None = None,
        session: aiohttp.ClientSession | None = None,
        rng: random.Random | None = None,
        listeners: Sequence[Listener] = (),
        parts: Parts | None = None,
        lease_times: LeaseTimes | None = None,
    ) -> None:
        """Wire them; `run` runs them.

        Args:
            options: Of the command line.
            config: As `first_config` reads it.
            client: Of the API server; the caller closes it.
            clock: Of the events; the machine's unless given.
            session: For pages and Prometheus, closed by the caller; one of its own unless given.
            rng: For jitter; its own unless given.
            listeners: Told of what the loop does, after telemetry.
            parts: Of the engine; the production ones unless given.
            lease_times: Of the election, if there is one; the usual ones unless given.
        """
        rng = rng or random.Random()  # noqa: S311  jitter
        self._options = options
        self._client = client
        self.clock = clock = clock or Clock()
        self.supervisor = Supervisor()
        settings = EngineSettings(tick_s=options.tick_s)
        servers = options.servers()
        fleet = self._fleet(config)
        self.inbox = Inbox(clock)
        self.cluster = Cluster(
            client,
            fleet,
            now=clock.now,
            age_s_max=settings.cluster_age_s_max,
            rng=rng,
            exporters=[PodSelector(namespace=options.dcgm_namespace, labels=options.dcgm_selector)]
            if options.dcgm_selector
            else [],
            wants_event=events.concerns_us,
            supervisor=self.supervisor,
        )
        self.collector = Collector(
            now=clock.now,
            servers=servers,
            session=session,
            dcgm_port=options.dcgm_port,
            dcgm_period_s=options.dcgm_period_s,
        )
        self.observer = FleetObserver(
            cluster=self.cluster,
            collector=self.collector,
            interruptions=Interruptions(NOTICE_SOURCES),
            fleet=fleet,
            resources=config.resources,
            now=clock.now,
            age_s_max=settings.cluster_age_s_max,
            on_interruption=self.inbox.put_notice,
        )
        self.history_watch = HistoryWatch(
            servers=servers,
            put=self.inbox.put_history,
            now=clock.now,
            days=options.history_days,
            session=session,
        )
        status_writes: Counter[str] = Counter()
        event_writes: Counter[str] = Counter()
        self.recorder: Recorder | None = None
        if options.record is not None:
            total_bytes = options.record_limit_mib * 1024 * 1024
            self.recorder = Recorder(
                options.record,
                settings=settings,
                started_at=clock.now(),
                segment_bytes=min(SEGMENT_BYTES, total_bytes // 4),
                total_bytes=total_bytes,
            )
        self.election: Election | None = None
        if options.elects():
            self.election = Election(
                client,
                namespace=options.own_namespace(),
                name=options.lease_name,
                rng=rng,
                times=lease_times,
                unfit=self._unfit,
            )
        self.telemetry = Telemetry(
            clock=clock,
            tick_s=options.tick_s,
            observer=self.observer,
            recorder=self.recorder,
            supervisor=self.supervisor,
            history_watch=self.history_watch,
            status_writes=status_writes,
            event_writes=event_writes,
            election=self.election,
            dry_run=options.dry_run,
        )
        self.config_watch = self._watch_config(config, servers=servers, rng=rng)
        telling = client
        if self.election is not None:
            telling = FencedClient(client, PresentFence(election=self.election))
        self.status_writer: StatusWriter | None = None
        if isinstance(self.config_watch, ResourceWatch) and not options.dry_run:
            self.status_writer = StatusWriter(
                telling,
                watch=self.config_watch,
                now=clock.now,
                outcomes=status_writes,
                missing=self.cluster.missing_targets,
                events=EventWriter(telling, now=clock.now, outcomes=event_writes),
                acts=lambda: self.telemetry.status.acts,
            )
            listeners = (self.status_writer, *listeners)
        self._perform_by = partial(perform, now=clock.now, uid_of=self.cluster.pod_uid, rng=rng)
        self.actuator = Actuator(
            perform=self._perform,
            clock=clock,
            finished=self._command_ended,
            withhold=options.dry_run,
            term=None if self.election is None else self.election.term,
        )
        engine = build_engine(settings, parts=parts)
        self.knowledge_keeper: KnowledgeKeeper | None = None
        if options.keeps():
            self.knowledge_keeper = KnowledgeKeeper(
                telling,
                namespace=options.own_namespace(),
                lease_name=options.lease_name,
                put=self.inbox.put_knowledge,
                remember=engine.remember,
                now=clock.now,
                acts=lambda: self.telemetry.status.acts,
            )
            self.telemetry.status.follow_knowledge(self.knowledge_keeper)
            listeners = (self.knowledge_keeper, *listeners)
        self.loop = Loop(
            engine=engine,
            inbox=self.inbox,
            clock=clock,
            observer=self.observer,
            actuator=self.actuator,
            recorder=self.recorder,
            listeners=(*self.telemetry.listeners, *listeners),
            has_recalled=self.knowledge_keeper.has_recalled
            if self.knowledge_keeper
            else lambda: True,
        )
        self._put_fleet(config, fleet)

    async def run(self, stop: asyncio.Event) -> None:
        """Run everything until `stop`, then end it in order.

        Nothing else ends it: a task that breaks is begun anew, and the others go on.
        """
        try:
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self.supervisor.keep(kind, run), name=kind)
                    for kind, run in (
                        ("cluster", self.cluster.run),
                        ("collector", self.collector.run),
                        ("config", self.config_watch.run),
                        ("history", self.history_watch.run),
                        ("outages", self._look_for_outages),
                        *([("status", self.status_writer.run)] if self.status_writer else []),
                        *(
                            [("knowledge", self.knowledge_keeper.run)]
                            if self.knowledge_keeper
                            else []
                        ),
                    )
                ]
                keep = self.supervisor.keep
                lease = None
                if self.election is not None:
                    lease = group.create_task(keep("lease", self.election.run), name="lease")
                actuator = group.create_task(keep("actuator", self.actuator.run), name="actuator")
                loop = group.create_task(keep("loop", self.loop.run), name="loop")
                await stop.wait()
                self.loop.stop()
                self.supervisor.close()
                await loop
                self.actuator.close()
                drained = False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SHUTDOWN_S):
                        await actuator
                        drained = True
                if self.knowledge_keeper is not None:
                    await self.knowledge_keeper.write_last()
                if self.election is not None and lease is not None:
                    lease.cancel()
                    await asyncio.wait((lease,))
                    await self.election.release(drained=drained)
                for task in background:
                    task.cancel()
        finally:
            if self.recorder is not None:
                await asyncio.to_thread(self.recorder.close)

    async def _perform(self, command: Command) -> None:
        """Do one write; where there is a lease, only while it is held in the term of this moment."""
        client = self._client
        if self.election is not None:
            client = FencedClient(client, self.election.fence())
        await self._perform_by(client, command)

    def _unfit(self) -> str:
        """Why others should act: who decides nothing any more must not keep them from it until it is ended."""
        return self.telemetry.status.unhealthy()

    async def _look_for_outages(self) -> None:
        while True:
            await asyncio.sleep(_OUTAGE_LOOK_S)
            self.telemetry.outages.look()

    def _watch_config(
        self, config: Config, *, servers: Servers, rng: random.Random
    ) -> ConfigWatch | ResourceWatch:
        """Follow what is asked for: resources of the cluster, or documents in files."""
        if self._options.config is None:
            return ResourceWatch(
                self._client,
                namespaces=self._options.namespaces,
                config=config,
                servers=servers,
                now=self.clock.now,
                changed=self._config_changed,
                problems=self.telemetry.status.set_spec_problems,
                supervisor=self.supervisor,
                rng=rng,
            )
        return ConfigWatch(
            self._options.config,
            config=config,
            servers=servers,
            changed=self._config_changed,
            problems=self.telemetry.status.set_spec_problems,
        )

    def _fleet(self, config: Config) -> FleetSpec:
        budget = self._options.gpu_budget
        return to_fleet(config.resources, gpu_budget=budget, complete=config.complete)

    def _put_fleet(self, config: Config, fleet: FleetSpec) -> None:
        self.inbox.put_spec(fleet)
        if self.knowledge_keeper is not None:
            self.knowledge_keeper.follow(fleet)
        self.history_watch.follow(fleet, config.resources)
        _log.info(
            "settings.loaded",
            path=str(config.path),
            models=[model.key for model in fleet.models],
            gpu_budget=fleet.gpu_budget,
        )

    def _config_changed(self, config: Config) -> None:
        fleet = self._fleet(config)
        self.observer.follow(fleet, config.resources)
        self._put_fleet(config, fleet)

    def _command_ended(self, command: Command, ending: CommandEnding) -> None:
        # The loop is made after the actuator, which it needs.
        self.loop.command_ended(command, ending)


def _check_recording_folder(folder: Path) -> None:
    """Refuse a folder for the recording that can never be written; a full disk may be mended."""
    try:
        make_folder(folder)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        raise SettingsError(
            f"--record {folder}: {error.strerror}; name a folder that can be made and written"
        ) from error
    if not writable:
        raise SettingsError(f"--record {folder}: not writable; name a folder that is")


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; a second one ends the process as it would without us."""
    loop = asyncio.get_running_loop()

    def stop_once(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_once, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
