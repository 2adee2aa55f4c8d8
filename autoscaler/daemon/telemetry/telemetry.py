"""Everything the daemon tells of itself, put together: listeners of the loop, metrics, pages, outages."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from autoscaler.daemon.clock import Clock
from autoscaler.daemon.loop import Listener
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.telemetry.gauges import current_values
from autoscaler.daemon.telemetry.listeners.commands import CommandListener
from autoscaler.daemon.telemetry.listeners.decisions import DecisionListener
from autoscaler.daemon.telemetry.listeners.drains import DrainListener
from autoscaler.daemon.telemetry.listeners.notices import NoticeListener
from autoscaler.daemon.telemetry.metrics import Metrics
from autoscaler.daemon.telemetry.outages import OutageLog
from autoscaler.daemon.telemetry.status import Status


class Telemetry:
    """Of one daemon."""

    def __init__(
        self, *, clock: Clock, tick_s: float, observer: FleetObserver, recorder: Recorder | None
    ) -> None:
        self.status = Status(clock=clock, tick_s=tick_s, observer=observer)
        self.outages = OutageLog(observer)
        metrics = Metrics(
            lambda: current_values(self.status, observer, recorder=recorder, at=clock.now())
        )
        self.registry: CollectorRegistry = metrics.registry
        """For /metrics."""
        self.listeners: tuple[Listener, ...] = (
            self.status,
            NoticeListener(metrics),
            DecisionListener(metrics),
            CommandListener(metrics),
            DrainListener(metrics),
        )
        """For the loop; what is logged of one event is logged in this order."""
