"""Logs that the API server, or a namespace, is lost, once, and once that it is back."""

from __future__ import annotations

import structlog

from autoscaler.daemon.observer import FleetObserver

_log = structlog.get_logger(__name__)


class OutageLog:
    """Compares what can be seen now with what could be seen the last time."""

    def __init__(self, observer: FleetObserver) -> None:
        self._observer = observer
        self._outage = ""
        self._refusals: dict[str, str] = {}

    def look(self) -> None:
        """Look once, and log what changed. To be called every few seconds."""
        self._look_at_namespaces()
        outage = self._observer.outage()
        # Before the first lists are in, silence is no outage: only what was answered wrongly is.
        certain = self._observer.listed or self._observer.problems()
        if outage and not self._outage and certain:
            _log.warning("cluster.lost", message=outage)
            self._outage = outage
        elif self._outage and not outage:
            _log.info("cluster.recovered")
            self._outage = ""

    def _look_at_namespaces(self) -> None:
        before, self._refusals = self._refusals, self._observer.cluster.refusals()
        for namespace, message in self._refusals.items():
            if namespace not in before:
                _log.warning("namespace.refused", namespace=namespace, message=message)
        for namespace in before.keys() - self._refusals.keys():
            _log.info("namespace.readable", namespace=namespace)
