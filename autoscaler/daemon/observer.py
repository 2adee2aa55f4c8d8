"""What the loop observes: the watch caches, the sources' last values and the interruptions, put together.

Nothing is asked of anybody when an observation is made: it takes what is there, with its age.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial

import structlog

from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import CapacityType, Interruption
from autoscaler.kube.api.fields import Json
from autoscaler.kube.observe import Cluster
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.optional import Readability
from autoscaler.kube.watch.slim import SlimNode
from autoscaler.notices.coverage import Signs, find_gaps
from autoscaler.notices.interruptions import Interruptions
from autoscaler.notices.mark import Watched
from autoscaler.settings import InferenceAutoscaler, metrics_settings
from autoscaler.sources.collector.collector import FIRST_READ_S as SOURCES_S
from autoscaler.sources.collector.collector import Collector

FIRST_READ_S = SOURCES_S + 0.2
"""From the first lists to the first decision: what most reads take at the longest, and a little."""

_log = structlog.get_logger(__name__)


class FleetObserver:
    """Observes a fleet through its cluster, its sources and the notices on its nodes."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        collector: Collector,
        interruptions: Interruptions,
        fleet: FleetSpec,
        resources: Iterable[InferenceAutoscaler],
        now: Callable[[], float],
        age_s_max: float,
        on_interruption: Callable[[Interruption], None],
    ) -> None:
        """Prepare; changes of nodes are followed from now on.

        Args:
            cluster: Its `run` is the caller's business.
            collector: Likewise.
            interruptions: Nobody else may tell it of nodes.
            fleet: What to observe; `follow` changes it.
            resources: The same as users wrote it.
            now: Seconds since the epoch, never decreasing: the clock of the events.
            age_s_max: The cluster counts as lost beyond this age, in seconds: the engine's
                `cluster_age_s_max`.
            on_interruption: Called as soon as an interruption is seen that is new, or whose deadline came
                nearer; must not wait.
        """
        self.cluster = cluster
        self.collector = collector
        self._interruptions = interruptions
        self._fleet = fleet
        self._resources = tuple(resources)
        self._now = now
        self._age_s_max = age_s_max
        self._on_interruption = on_interruption
        self._synced_at: float | None = None
        cluster.subscribe_to_nodes(self._nodes_changed)
        cluster.subscribe_to_events(partial(self._objects_changed, Watched.EVENT))
        cluster.subscribe_to_claims(partial(self._objects_changed, Watched.CLAIM))

    def follow(self, fleet: FleetSpec, resources: Iterable[InferenceAutoscaler]) -> None:
        """Observe this fleet from now on."""
        self._fleet = fleet
        self._resources = tuple(resources)
        self.cluster.follow(fleet)
        if self.listed:
            self._read_sources()

    @property
    def listed(self) -> bool:
        """Whether all that decisions rest on was listed once, as `synced` saw it."""
        return self._synced_at is not None

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

    def observe(self, *, number: int, at: float) -> Generator[None, None, Observed]:
        """Make the observation of this moment, as the event of this id; asks nobody.

        Yields between models. All that it takes is taken before the first of them.
        """
        objects = self.cluster.objects(self._fleet, at=at)
        self._note_readable()
        self._tell(self._interruptions.evictions_seen(objects.evicting_since, at=at))
        interruptions = self._interruptions.current(
            at=at, gone_since=objects.gone_since, not_ready_since=objects.not_ready_since
        )
        values = self.collector.last_values
        samples, framebuffers = values.samples(), values.framebuffers()
        gpus = values.nodes()
        yield
        return (
            yield from self.cluster.observe(
                objects,
                number=number,
                at=at,
                interruptions=interruptions,
                samples=samples,
                framebuffers=framebuffers,
                gpus=gpus,
            )
        )

    def refresh(self) -> None:
        """Tell the sources which pods there are. Apart from `observe`: each takes its milliseconds."""
        self.collector.set_targets(self.cluster.scrape_targets(self._fleet))
        self.collector.set_exporters(self.cluster.exporter_targets())

    def age_s(self) -> float | None:
        """Seconds since the cluster was last known to be in step; None: it never was."""
        cluster_at = self.cluster.cluster_at
        return max(0.0, self._now() - cluster_at) if cluster_at > 0 else None

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the caches and with the marks on nodes, for people; empty: nothing."""
        return self.cluster.problems() + self._interruptions.problems

    def notice_gaps(self) -> tuple[str, ...] | None:
        """What of the spot nodes would go unnoticed, a sentence each; None: it cannot be told yet."""
        readable = self.cluster.readable_notices()
        if not self.listed or Readability.UNKNOWN in readable.values():
            return None
        return find_gaps(
            Signs(
                nodes=self.cluster.all_nodes(),
                spot_pools=[
                    f"{model.key} {pool.name}"
                    for model in self._fleet.models
                    for pool in model.pools
                    if pool.capacity_type is not CapacityType.ON_DEMAND
                ],
                events=readable.get("events", Readability.UNKNOWN),
                claims=readable.get("nodeclaims", Readability.UNKNOWN),
                heard=self._interruptions.heard,
            )
        )

    def outage(self) -> str:
        """Why the cluster is not in step with us; empty: it is."""
        problems = self.problems()
        age_s = self.age_s()
        if age_s is None:
            return "; ".join(problems) or "the first lists are not in yet"
        if age_s > self._age_s_max:
            return f"the cluster was last in step {age_s:.0f} s ago: {'; '.join(problems) or 'silence'}"
        return ""

    def _read_sources(self) -> None:
        self.collector.set_models([metrics_settings(resource) for resource in self._resources])

    def _nodes_changed(self, changes: Sequence[ObjectChange[SlimNode]], after: float) -> None:
        self._tell(
            self._interruptions.nodes_changed(
                changes,
                at=self._now(),
                after=after,
                has_replicas_on=self.cluster.has_replicas_on,
            )
        )

    def _objects_changed(
        self, watched: Watched, changes: Sequence[ObjectChange[Json]], after: float
    ) -> None:
        self._note_readable()
        self._tell(
            self._interruptions.objects_changed(watched, changes, at=self._now(), after=after)
        )

    def _note_readable(self) -> None:
        events = self.cluster.readable_notices().get("events")
        self._interruptions.events_readable = events is Readability.READABLE

    def _tell(self, interruptions: Sequence[Interruption]) -> None:
        for interruption in interruptions:
            self._on_interruption(interruption)
