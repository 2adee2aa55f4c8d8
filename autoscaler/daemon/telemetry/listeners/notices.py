"""Notices, counted and logged."""

from __future__ import annotations

import structlog

from autoscaler.core.contract.events import NoticeReceived
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.telemetry.metrics import Metrics
from autoscaler.daemon.telemetry.words import NOTICE_SOURCES

_log = structlog.get_logger(__name__)


class NoticeListener(Listener):
    """Takes note of each notice."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for source in NOTICE_SOURCES:
            metrics.count("interruption_notices_total", source, by=0)

    def handled(self, handled: Handled) -> None:
        """Count and log a notice, with the time it leaves."""
        event = handled.event
        if not isinstance(event, NoticeReceived):
            return
        notice = event.interruption
        self._metrics.count("interruption_notices_total", notice.source)
        lead_s = None
        if notice.deadline_at is not None:
            lead_s = max(0.0, notice.deadline_at - event.at)
            self._metrics.measure("notice_lead_time_seconds", lead_s)
        _log.warning(
            "notice.received",
            node=notice.node,
            interruption=str(notice.kind),
            source=notice.source,
            lead_s=None if lead_s is None else round(lead_s, 1),
        )
