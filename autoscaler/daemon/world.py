"""What the loop observes: the watch caches and the sources' last values, cut together.

Nothing is asked of anybody when an observation is cut: it takes what is there, with its age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import structlog

from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.kube.observe import Cluster
from autoscaler.settings import InferenceAutoscaler, metrics_settings
from autoscaler.sources.collector.collector import DEADLINE_S, Collector

LOST_AGE_S = 30.0
"""As the engine's `cluster_age_s_max`: older knowledge of the cluster is blind."""
FIRST_READ_S = DEADLINE_S + 0.2
"""From the first lists to the first decision: a read's deadline, and a little."""

_log = structlog.get_logger(__name__)


class World:
    """The cluster and the sources of a fleet."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        collector: Collector,
        fleet: FleetSpec,
        resources: Iterable[InferenceAutoscaler],
        now: Callable[[], float],
    ) -> None:
        self.cluster = cluster
        self.collector = collector
        self._fleet = fleet
        self._now = now
        self._resources = tuple(resources)
        self._synced_at: float | None = None
        self._lost = ""
        self._refusals: dict[str, str] = {}

    def follow(self, fleet: FleetSpec, resources: Iterable[InferenceAutoscaler]) -> None:
        """Observe this fleet from now on."""
        self._fleet = fleet
        self._resources = tuple(resources)
        self.cluster.follow(fleet)
        if self._synced_at is not None:
            self._read_sources()

    @property
    def synced(self) -> bool:
        """Whether there is something to decide on. Once true, it stays true.

        That is: all that decisions rest on was listed, and the sources had the time to be read once.
        """
        now = self._now()
        if self._synced_at is None and self.cluster.cluster_at > 0:
            self._synced_at = now
            # Only now are there targets, so that the first round of each source has some.
            self.refresh()
            self._read_sources()
            _log.info("cluster.synced")
        return self._synced_at is not None and now - self._synced_at >= FIRST_READ_S

    def _read_sources(self) -> None:
        self.collector.set_models([metrics_settings(resource) for resource in self._resources])

    def observe(self, *, number: int, at: float) -> Observed:
        """Cut the level of now."""
        collector = self.collector
        seen = self.cluster.observe(
            at=at,
            fleet=self._fleet,
            samples=collector.samples(),
            framebuffers=collector.framebuffers(),
            gpus=collector.gpus(),
        )
        return Observed(
            id=number,
            at=at,
            nodes=seen.nodes,
            interruptions=seen.interruptions,
            models=seen.models,
            cluster_at=seen.cluster_at,
        )

    def refresh(self) -> None:
        """Tell the sources which pods there are. Apart from `observe`: each takes its milliseconds."""
        self.collector.set_targets(self.cluster.scrape_targets(self._fleet))
        self.collector.set_exporters(self.cluster.exporter_targets())

    def age_s(self) -> float | None:
        """Seconds since the cluster was last known to be in step; None: it never was."""
        cluster_at = self.cluster.cluster_at
        return max(0.0, self._now() - cluster_at) if cluster_at > 0 else None

    def problem(self) -> str:
        """Why the cluster is not in step with us; empty: it is."""
        problems = self.cluster.problems()
        age_s = self.age_s()
        if age_s is None:
            return "; ".join(problems) or "the first lists are not in yet"
        if age_s > LOST_AGE_S:
            return f"the cluster was last in step {age_s:.0f} s ago: {'; '.join(problems) or 'silence'}"
        return ""

    def watch_over(self) -> None:
        """Say once what is lost, the API server or a namespace, and once that it is back.

        Called now and then.
        """
        self._watch_namespaces()
        problem = self.problem()
        told = self._synced_at is not None or self.cluster.problems()
        if problem and not self._lost and told:
            _log.warning("cluster.lost", message=problem)
            self._lost = problem
        elif self._lost and not problem:
            _log.info("cluster.recovered")
            self._lost = ""

    def _watch_namespaces(self) -> None:
        before, self._refusals = self._refusals, self.cluster.refusals()
        for namespace, message in self._refusals.items():
            if namespace not in before:
                _log.warning("namespace.refused", namespace=namespace, message=message)
        for namespace in before.keys() - self._refusals.keys():
            _log.info("namespace.readable", namespace=namespace)

    def sources(self) -> list[dict[str, Any]]:
        """How each source fares, for /debug/models."""
        return [
            {
                "name": report.name,
                "source": report.source,
                "model": report.model,
                "targets": report.targets,
                "failing": list(report.failing),
                "outcome": str(report.outcome),
                "message": report.message,
                "warnings": list(report.warnings),
            }
            for report in self.collector.reports()
        ]
