"""The caches that a fleet needs: all nodes, and the objects of the namespaces in use.

Pods and ReplicaSets are watched by namespace, not by a selector for each Deployment: selectors may be
shared, and one watch for a namespace costs less than one for each pool in it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from autoscaler.core.contract.spec import FleetSpec
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.resources import (
    DEPLOYMENTS,
    EVENTS,
    HPAS,
    NODE_CLAIMS,
    NODES,
    PODS,
    REPLICA_SETS,
    ApiResource,
)
from autoscaler.kube.watch.optional import OptionalCache, Readability
from autoscaler.kube.watch.rivals import SlimHpa, slim_hpa
from autoscaler.kube.watch.slim import (
    SlimDeployment,
    SlimPod,
    SlimReplicaSet,
    slim_deployment,
    slim_node,
    slim_pod,
    slim_replica_set,
)
from autoscaler.kube.watch.slim_notices import NOTHING, slim_claim, slim_event
from autoscaler.kube.watch.timing import Timing
from autoscaler.kube.watch.watch import ResourceCache
from autoscaler.supervision import Supervisor

T = TypeVar("T")

EVENTS_NAMESPACE = "default"
"""Where the API server has Events about objects that have no namespace: about Nodes and NodeClaims."""
_EVENT_KINDS = ("Node", "NodeClaim")
HPAS_S_MAX = 10.0
"""So long a namespace is not known whose HPAs were not looked for: or we would write once against one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSelector:
    """Pods other than replicas that are to be scraped, e.g. those of the DCGM exporter."""

    namespace: str
    """Empty: in all of them."""
    labels: str
    """A label selector, e.g. `app=nvidia-dcgm-exporter`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceCaches:
    """What is kept of one namespace."""

    deployments: ResourceCache[SlimDeployment]
    replica_sets: ResourceCache[SlimReplicaSet]
    pods: ResourceCache[SlimPod]
    hpas: OptionalCache[SlimHpa]
    """Nothing hangs on it but who else scales a target."""
    waits_until: float
    """So long its first answer is waited for, in seconds."""

    @property
    def all(self) -> tuple[ResourceCache[Any], ...]:
        """Those that decisions rest on."""
        return (self.deployments, self.replica_sets, self.pods)

    def confirmed_at(self, *, at: float) -> float:
        """When those were last known to be in step; 0: one was never listed, or HPAs not looked for yet.

        Args:
            at: Now, in seconds.
        """
        if self.hpas.readability is Readability.UNKNOWN and at < self.waits_until:
            return 0.0
        return min(cache.confirmed_at for cache in self.all)

    @property
    def refusal(self) -> str:
        """Which right is missing, as a sentence; empty: none, as far as is known."""
        return next((cache.problem for cache in self.all if cache.forbidden), "")


class Caches:
    """Starts, stops and judges the caches."""

    def __init__(
        self,
        client: Client,
        *,
        now: Callable[[], float],
        age_s_max: float,
        rng: random.Random,
        timing: Timing | None,
        exporters: Sequence[PodSelector],
        supervisor: Supervisor,
        wants_event: Callable[[Json], bool] | None,
    ) -> None:
        self._client = client
        self._now = now
        self._age_s_max = age_s_max
        self._rng = rng
        self._timing = timing
        self._supervisor = supervisor
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[ResourceCache[Any], asyncio.Task[None]] = {}
        self.nodes = self._cache(NODES, slim_node, never_empty=True)
        self.exporters = tuple(
            self._cache(PODS, slim_pod, namespace=each.namespace, labels=each.labels)
            for each in exporters
        )
        self.namespaces: dict[str, NamespaceCaches] = {}
        self.events: tuple[OptionalCache[Json], ...] = ()
        """About Nodes and about NodeClaims; empty: they are not asked for."""
        self.claims: OptionalCache[Json] | None = None
        """Karpenter's NodeClaims; None: they are not asked for."""
        if wants_event is not None:
            self._add_notices(wants_event)

    async def run(self) -> None:
        """Keep all of them in step until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._start([*self.all(), *self.optional()])
                await asyncio.Event().wait()
        finally:
            self._group = None
            self._tasks.clear()

    def follow(self, fleet: FleetSpec) -> None:
        """Watch the namespaces of this fleet from now on, and no others."""
        followed = {pool.target.namespace for model in fleet.models for pool in model.pools}
        for name in self.namespaces.keys() - followed:
            gone = self.namespaces.pop(name)
            for cache in (*gone.all, gone.hpas):
                task = self._tasks.pop(cache, None)
                if task is not None:
                    task.cancel()
        for name in sorted(followed - self.namespaces.keys()):
            self.namespaces[name] = NamespaceCaches(
                deployments=self._cache(DEPLOYMENTS, slim_deployment, namespace=name),
                replica_sets=self._cache(REPLICA_SETS, slim_replica_set, namespace=name),
                pods=self._cache(PODS, slim_pod, namespace=name),
                hpas=OptionalCache(
                    self._client, HPAS, slim_hpa, namespace=name, **self._optional_ways
                ),
                waits_until=self._now() + HPAS_S_MAX,
            )
            self._start([*self.namespaces[name].all, self.namespaces[name].hpas])

    def doubt(self, namespaces: Container[str]) -> None:
        """Take in in which namespaces what is held contradicts itself now."""
        for name, caches in self.namespaces.items():
            for cache in caches.all:
                cache.doubt(name in namespaces)

    def refusals(self) -> dict[str, str]:
        """Namespaces that may not be read while others may: which right is lacking.

        One that was read within `age_s_max` is not among them: an API server that has just begun refuses,
        for a moment, whom it will answer. Where all refuse, none is: then the whole cluster is unknown.
        """
        oldest_at = self._now() - self._age_s_max
        found = {
            name: caches.refusal
            for name, caches in self.namespaces.items()
            if caches.refusal and caches.confirmed_at(at=self._now()) < oldest_at
        }
        return found if len(found) < len(self.namespaces) else {}

    @property
    def confirmed_at(self) -> float:
        """When what decisions rest on was last known to be in step; 0: part of it was never listed.

        That is all but the exporters' pods and the namespaces that refuse: one team's missing RoleBinding
        must not leave the whole fleet without observations.
        """
        refusals = self.refusals()
        readable = (each for name, each in self.namespaces.items() if name not in refusals)
        now = self._now()
        return min([self.nodes.confirmed_at, *(each.confirmed_at(at=now) for each in readable)])

    def notices(self) -> list[OptionalCache[Any]]:
        """Those of the optional caches that notices are read from."""
        return [*self.events, *([] if self.claims is None else [self.claims])]

    def optional(self) -> list[OptionalCache[Any]]:
        """The caches that no decision waits for."""
        return [*self.notices(), *(each.hpas for each in self.namespaces.values())]

    def readable_notices(self) -> dict[str, Readability]:
        """Whether notices can be read, by the resource's plural; of two of one resource the one that fares worse."""
        found: dict[str, Readability] = {}
        for cache in self.notices():
            if found.get(cache.resource.plural, Readability.READABLE) is Readability.READABLE:
                found[cache.resource.plural] = cache.readability
        return found

    def all(self) -> list[ResourceCache[Any]]:
        """Every cache but the optional ones."""
        namespaced = (cache for each in self.namespaces.values() for cache in each.all)
        return [self.nodes, *namespaced, *self.exporters]

    @property
    def _optional_ways(self) -> dict[str, Any]:
        return {
            "now": self._now,
            "rng": self._rng,
            "timing": self._timing,
            "crowd": self._crowd,
        }

    def _add_notices(self, wants_event: Callable[[Json], bool]) -> None:
        """Prepare the caches of what notices are read from beside Nodes."""

        def slim(item: Json) -> Json:
            kept = slim_event(item)
            return kept if wants_event(kept) else NOTHING

        more = self._optional_ways
        self.events = tuple(
            OptionalCache(
                self._client,
                EVENTS,
                slim,
                namespace=EVENTS_NAMESPACE,
                fields=f"involvedObject.kind={kind}",
                **more,
            )
            for kind in _EVENT_KINDS
        )
        self.claims = OptionalCache(self._client, NODE_CLAIMS, slim_claim, **more)

    def _cache(
        self,
        resource: ApiResource,
        slim: Callable[[Json], T],
        *,
        namespace: str = "",
        labels: str = "",
        never_empty: bool = False,
    ) -> ResourceCache[T]:
        return ResourceCache(
            self._client,
            resource,
            slim,
            now=self._now,
            rng=self._rng,
            namespace=namespace,
            labels=labels,
            never_empty=never_empty,
            timing=self._timing,
            crowd=self._crowd,
        )

    def _crowd(self) -> int:
        return len(self._tasks)

    def _start(self, caches: Iterable[ResourceCache[Any]]) -> None:
        if self._group is None:
            return
        for cache in caches:
            which = f"{cache.resource.plural} {cache.namespace}".rstrip()
            self._tasks[cache] = self._group.create_task(
                self._supervisor.keep("watch", cache.run, which=which)
            )
