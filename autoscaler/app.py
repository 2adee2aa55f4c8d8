"""The composition root of the daemon: builds every object, owns the TaskGroup, signals and shutdown.

Nothing is decided here. Order of a shutdown: no more events, writes under way are finished and those
that wait are dropped, the recording is closed, then the rest is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from autoscaler import __version__
from autoscaler.core.contract.commands import COMMAND_TIMEOUT_S, Command
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.daemon.actuator import Actuator, CommandEnding
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.config_watch import ConfigWatch
from autoscaler.daemon.inbox import Inbox
from autoscaler.daemon.loop import Loop
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import SEGMENT_BYTES, Recorder
from autoscaler.daemon.telemetry.http import HttpServer, parse_listen
from autoscaler.daemon.telemetry.telemetry import Telemetry
from autoscaler.errors import AutoscalerError, SettingsError
from autoscaler.kube.api.client import Client, connect
from autoscaler.kube.observe import Cluster
from autoscaler.kube.perform.perform import perform
from autoscaler.kube.watch.caches import PodSelector
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.interruptions import Interruptions
from autoscaler.settings import Config, load_config, to_fleet
from autoscaler.sources.collector.collector import Collector

_OUTAGE_LOOK_S = 5.0
_SHUTDOWN_S = COMMAND_TIMEOUT_S + 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonOptions:
    """What the command line gives, under the names that `autoscaler run` gives its options."""

    config: Path
    dry_run: bool = False
    record: Path | None = None
    record_limit_mib: int = 512
    kubeconfig: str | None = None
    context: str | None = None
    listen: str = ":8080"
    tick_s: float = 5.0
    gpu_budget: int | None = None
    dcgm_namespace: str = "gpu-operator"
    """Where the DCGM exporter's pods are; empty: in any."""
    dcgm_selector: str = "app=nvidia-dcgm-exporter"
    """A label selector; empty: none are read."""
    dcgm_port: int = 9400


async def run(options: DaemonOptions) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Raises:
        SettingsError: Something it was given cannot be worked with.
        AutoscalerError: A bug ended it, which has been logged.
    """
    config = load_config(options.config)
    host, port = parse_listen(options.listen)
    if options.record is not None:
        _check_recording_folder(options.record)
    stop = asyncio.Event()
    with _signals(stop):
        async with await connect(options.kubeconfig, context=options.context) as client:
            daemon = Daemon(options, config=config, client=client)
            telemetry = daemon.telemetry
            server = HttpServer(telemetry.status, telemetry.registry, host=host, port=port)
            address = await server.start()
            _log.info(
                "daemon.started",
                version=__version__,
                server=client.server,
                address=address,
                dry_run=options.dry_run,
                record=None if options.record is None else str(options.record),
            )
            # What was imported stays for good; the garbage collector need not walk it ever again.
            gc.collect()
            gc.freeze()
            try:
                await daemon.run(stop)
            except ExceptionGroup as group:
                _log.exception("daemon.broke")
                raise AutoscalerError(
                    "a bug of ours ended the daemon; its log has the trace; please report it"
                ) from group
            finally:
                await server.close()
    _log.info("daemon.stopped")


class Daemon:
    """Every object of a running daemon, wired."""

    def __init__(
        self, options: DaemonOptions, *, config: Config, client: Client, clock: Clock | None = None
    ) -> None:
        self._options = options
        self._client = client
        self.clock = clock = clock or Clock()
        settings = EngineSettings(tick_s=options.tick_s)
        fleet = self._fleet(config)
        self.inbox = Inbox(clock)
        self.cluster = Cluster(
            client,
            fleet,
            now=clock.now,
            age_s_max=settings.cluster_age_s_max,
            exporters=[PodSelector(namespace=options.dcgm_namespace, labels=options.dcgm_selector)]
            if options.dcgm_selector
            else [],
        )
        self.collector = Collector(now=clock.now, dcgm_port=options.dcgm_port)
        self.observer = FleetObserver(
            cluster=self.cluster,
            collector=self.collector,
            interruptions=Interruptions(NOTICE_SOURCES["node_marks"]),
            fleet=fleet,
            resources=config.resources,
            now=clock.now,
            age_s_max=settings.cluster_age_s_max,
            on_interruption=self.inbox.put_notice,
        )
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
        self.telemetry = Telemetry(
            clock=clock, tick_s=options.tick_s, observer=self.observer, recorder=self.recorder
        )
        self.actuator = Actuator(
            perform=partial(perform, client, now=clock.now, uid_of=self.cluster.pod_uid),
            clock=clock,
            finished=self._command_ended,
            withhold=options.dry_run,
        )
        self.loop = Loop(
            engine=build_engine(settings),
            inbox=self.inbox,
            clock=clock,
            observer=self.observer,
            actuator=self.actuator,
            recorder=self.recorder,
            listeners=self.telemetry.listeners,
        )
        self.config_watch = ConfigWatch(
            options.config,
            config=config,
            changed=self._config_changed,
            problems=self.telemetry.status.set_spec_problems,
        )
        self._put_fleet(config, fleet)

    async def run(self, stop: asyncio.Event) -> None:
        """Run everything until `stop`, then end it in order."""
        try:
            async with asyncio.TaskGroup() as group:
                background = [
                    group.create_task(self.cluster.run(), name="cluster"),
                    group.create_task(self.collector.run(), name="collector"),
                    group.create_task(self.config_watch.run(), name="config"),
                    group.create_task(self._look_for_outages(), name="outages"),
                ]
                actuator = group.create_task(self.actuator.run(), name="actuator")
                loop = group.create_task(self.loop.run(), name="loop")
                await stop.wait()
                self.loop.stop()
                await loop
                self.actuator.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SHUTDOWN_S):
                        await actuator
                for task in background:
                    task.cancel()
        finally:
            if self.recorder is not None:
                await asyncio.to_thread(self.recorder.close)

    async def _look_for_outages(self) -> None:
        while True:
            await asyncio.sleep(_OUTAGE_LOOK_S)
            self.telemetry.outages.look()

    def _fleet(self, config: Config) -> FleetSpec:
        return to_fleet(config.resources, gpu_budget=self._options.gpu_budget)

    def _put_fleet(self, config: Config, fleet: FleetSpec) -> None:
        self.inbox.put_spec(fleet)
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
        folder.mkdir(parents=True, exist_ok=True)
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
