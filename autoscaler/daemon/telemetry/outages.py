"""Logs that the API server, or a namespace, is lost, once, and once that it is back.

So it does with what nothing hangs on: HPAs of a namespace, and what notices are read from beside Nodes; and with spot
nodes of which nobody could ever give notice.
"""

from __future__ import annotations

import re

import structlog

from autoscaler.daemon.observer import FleetObserver
from autoscaler.kube.watch.optional import Readability

_log = structlog.get_logger(__name__)


class OutageLog:
    """Compares what can be seen now with what could be seen the last time."""

    def __init__(self, observer: FleetObserver) -> None:
        self._observer = observer
        self._outage = ""
        self._refusals: dict[str, str] = {}
        self._readable: dict[str, Readability] = {}
        self._gaps: frozenset[str] = frozenset()
        self._unreadable: tuple[str, ...] = ()
        self._doubts: dict[str, str] = {}
        self._missing: frozenset[str] = frozenset()
        """Models of which a scale target does not exist."""
        self._unseen: frozenset[str] = frozenset()
        """Namespaces whose HPAs cannot be read."""

    def look(self) -> None:
        """Look once, and log what changed. To be called every few seconds."""
        self._look_at_namespaces()
        self._look_at_notices()
        self._look_at_objects()
        self._look_at_targets()
        self._look_at_rivals()
        outage = self._observer.outage()
        # Before the first lists are in, silence is no outage: only what was answered wrongly is.
        certain = self._observer.listed or self._observer.problems()
        if outage and not self._outage and certain:
            _log.warning("cluster.lost", message=outage)
            self._outage = outage
        elif self._outage and not outage:
            _log.info("cluster.recovered")
            self._outage = ""

    def _look_at_objects(self) -> None:
        cluster = self._observer.cluster
        before, self._unreadable = self._unreadable, cluster.unreadable()
        for line in self._unreadable:
            if line not in before:
                _log.warning("objects.unreadable", message=line)
        if before and not self._unreadable:
            _log.info("objects.readable")
        held, self._doubts = self._doubts, {each.model: each.message for each in cluster.doubts}
        for model, message in self._doubts.items():
            if model not in held:
                _log.warning("model.doubted", model=model, message=message)
        for model in held.keys() - self._doubts.keys():
            _log.info("model.believed", model=model)

    def _look_at_targets(self) -> None:
        missing = self._observer.cluster.missing_targets()
        before, self._missing = self._missing, frozenset(missing)
        for model, message in missing.items():
            if model not in before:
                _log.warning("target.missing", model=model, message=message)
        for model in before - missing.keys():
            _log.info("target.found", model=model)

    def _look_at_rivals(self) -> None:
        if not self._observer.listed:
            return
        before, self._unseen = (
            self._unseen,
            frozenset(found := self._observer.cluster.unread_hpas()),
        )
        for namespace, message in found.items():
            if namespace not in before:
                _log.warning("rivals.unseen", namespace=namespace, message=message)
        for namespace in before - found.keys():
            _log.info("rivals.seen", namespace=namespace)

    def _look_at_namespaces(self) -> None:
        before, self._refusals = self._refusals, self._observer.cluster.refusals()
        for namespace, message in self._refusals.items():
            if namespace not in before:
                _log.warning("namespace.refused", namespace=namespace, message=message)
        for namespace in before.keys() - self._refusals.keys():
            _log.info("namespace.readable", namespace=namespace)

    def _look_at_notices(self) -> None:
        cluster = self._observer.cluster
        before, self._readable = self._readable, cluster.readable_notices()
        problems = cluster.optional_problems()
        for resource, readability in self._readable.items():
            if readability in {before.get(resource), Readability.UNKNOWN}:
                continue
            if readability is Readability.FORBIDDEN:
                _log.warning(
                    "notices.refused", resource=resource, message=problems.get(resource, "")
                )
            else:
                _log.info("notices.watched", resource=resource, readability=str(readability))
        # Its numbers change as nodes come and go; what it is about does not.
        gaps = self._observer.notice_gaps()
        if gaps is None:
            return
        kinds = frozenset(_without_numbers(gap) for gap in gaps)
        for gap in gaps:
            if _without_numbers(gap) not in self._gaps:
                _log.warning("notices.uncovered", message=gap)
        self._gaps = kinds


def _without_numbers(sentence: str) -> str:
    """A sentence without its numbers and what it names in parentheses."""
    return re.sub(r"\d+|\([^)]*\)", "", sentence)
