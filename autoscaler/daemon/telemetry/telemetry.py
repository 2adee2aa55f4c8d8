"""Everything the daemon tells of itself, put together: listeners of the loop, metrics, pages, outages."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from autoscaler.daemon.clock import Clock
from autoscaler.daemon.history_watch import HistoryWatch
from autoscaler.daemon.loop import Listener
from autoscaler.daemon.observer import FleetObserver
from autoscaler.daemon.recording.recorder import Recorder
from autoscaler.daemon.telemetry.gauges import current_values
from autoscaler.daemon.telemetry.listeners.commands import CommandListener
from autoscaler.daemon.telemetry.listeners.decisions import DecisionListener
from autoscaler.daemon.telemetry.listeners.departures import DepartureListener
from autoscaler.daemon.telemetry.listeners.drains import DrainListener
from autoscaler.daemon.telemetry.listeners.histories import HistoryListener
from autoscaler.daemon.telemetry.listeners.notices import NoticeListener
from autoscaler.daemon.telemetry.metrics import Metrics
from autoscaler.daemon.telemetry.outages import OutageLog
from autoscaler.daemon.telemetry.status import Status
from autoscaler.kube.lease.election import Election
from autoscaler.supervision import Supervisor


class Telemetry:
    """Of one daemon."""

    def __init__(
        self,
        *,
        clock: Clock,
        tick_s: float,
        observer: FleetObserver,
        recorder: Recorder | None,
        supervisor: Supervisor | None = None,
        history_watch: HistoryWatch | None = None,
        status_writes: Mapping[str, int] | None = None,
        event_writes: Mapping[str, int] | None = None,
        election: Election | None = None,
        dry_run: bool = False,
    ) -> None:
        self.status = Status(
            clock=clock,
            tick_s=tick_s,
            observer=observer,
            supervisor=supervisor,
            history_watch=history_watch,
            status_writes=status_writes,
            event_writes=event_writes,
            election=election,
            dry_run=dry_run,
        )
        self.outages = OutageLog(observer)
        metrics = Metrics(
            lambda: current_values(self.status, observer, recorder=recorder, at=clock.now()),
            lateness=observer.collector.lateness,
        )
        self.registry: CollectorRegistry = metrics.registry
        """Of everything that is exported."""
        self.page = metrics.page
        """Writes `/metrics`, step by step."""
        self.listeners: tuple[Listener, ...] = (
            self.status,
            NoticeListener(metrics),
            HistoryListener(),
            DecisionListener(metrics),
            CommandListener(metrics),
            DrainListener(metrics),
            DepartureListener(metrics),
        )
        """For the loop; what is logged of one event is logged in this order."""
