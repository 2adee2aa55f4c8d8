"""A daemon's own parts over a fleet of any size, without an API server: what the benchmarks of the loop run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.daemon.actuator import Actuator
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.inbox import Inbox
from autoscaler.daemon.loop import Loop
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.telemetry.telemetry import Telemetry
from autoscaler.kube.observe import Cluster
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.interruptions import Interruptions
from autoscaler.settings import load_config, to_fleet
from autoscaler.sources.collector.collector import Collector
from tests.benchmarks.fleet import documents, fill
from tests.test_settings import write


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonParts:
    """Put together and not begun."""

    clock: Clock
    collector: Collector
    observer: FleetObserver
    telemetry: Telemetry
    recorder: Recorder | None
    actuator: Actuator
    loop: Loop


def daemon_parts(
    pods: int, *, models: int, folder: Path, tick_s: float, records: bool = False, **spec: Any
) -> DaemonParts:
    """Put a daemon together over a fleet of this size; what it commands is done 10 ms later.

    Args:
        pods: of all models.
        models: among which they are.
        folder: for its configuration, and for what it records.
        tick_s: seconds.
        records: whether it does.
        spec: more of each resource's spec.
    """
    clock = Clock()
    config = load_config(write(folder, *documents(models, pods=pods, **spec)))
    fleet = to_fleet(config.resources, gpu_budget=None)
    settings = EngineSettings(tick_s=tick_s)
    age_s_max = settings.cluster_age_s_max
    cluster = Cluster(None, fleet, now=clock.now, age_s_max=age_s_max)  # type: ignore[arg-type]
    fill(cluster, pods, models=models, at=clock.now())
    collector = Collector(now=clock.now)
    inbox = Inbox(clock)
    observer = FleetObserver(
        cluster=cluster,
        collector=collector,
        interruptions=Interruptions(NOTICE_SOURCES),
        fleet=fleet,
        resources=config.resources,
        now=clock.now,
        age_s_max=age_s_max,
        on_interruption=inbox.put_notice,
    )
    recorder = None
    if records:
        recorder = Recorder(folder / "recording", settings=settings, started_at=clock.now())
    telemetry = Telemetry(clock=clock, tick_s=tick_s, observer=observer, recorder=recorder)

    async def perform(_: object) -> None:
        await asyncio.sleep(0.01)

    actuator = Actuator(
        perform=perform,
        clock=clock,
        finished=lambda command, ending: loop.command_ended(command, ending),  # noqa: PLW0108  made below
    )
    loop = Loop(
        engine=build_engine(settings),
        inbox=inbox,
        clock=clock,
        observer=observer,
        actuator=actuator,
        recorder=recorder,
        listeners=telemetry.listeners,
    )
    inbox.put_spec(fleet)
    return DaemonParts(
        clock=clock,
        collector=collector,
        observer=observer,
        telemetry=telemetry,
        recorder=recorder,
        actuator=actuator,
        loop=loop,
    )
