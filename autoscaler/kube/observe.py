"""The cluster as the core sees it: what the caches hold of a fleet, and the observation made of it.

What contradicts itself is left out, with the reason (`doubts`). Values that do not come from the API server
(samples, interruptions) are arguments: nothing is asked here of those who have them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import Doubt, Interruption, ModelObservation, PoolObservation
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.columns import node_columns, replica_columns
from autoscaler.kube.doubts import find_doubts
from autoscaler.kube.gone_nodes import GoneNodes
from autoscaler.kube.ownership import OVER, replicas_of
from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.kube.scale_targets import ScaleTargets
from autoscaler.kube.targets import ExporterTarget, ScrapeTarget
from autoscaler.kube.watch.caches import Caches, PodSelector
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.frames import Key
from autoscaler.kube.watch.optional import OptionalCache, Readability
from autoscaler.kube.watch.slim import SlimNode, SlimPod
from autoscaler.kube.watch.timing import Timing
from autoscaler.supervision import Supervisor

GPU_AGE_S_MAX = 90.0
"""A reading of a node's GPUs that is older is unknown: three of the DCGM exporter's own intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetObjects:
    """What the caches hold of a fleet at one moment: the raw material of an observation."""

    fleet: FleetSpec
    """Without the models of `doubts`."""
    doubts: tuple[Doubt, ...]
    """Models of which it is not known what is true, in order of key: a pool is in a namespace that refuses
    us, or what is seen of it contradicts itself."""
    replicas: tuple[list[tuple[int, SlimPod]], ...]
    """For each model its replicas as (index of the pool, pod), in no order."""
    pools: tuple[tuple[PoolObservation, ...], ...]
    """For each model its pools, as their scale targets are."""
    nodes: Mapping[Key, SlimNode]
    """All nodes there are."""
    bound: frozenset[str]
    """Names of the nodes that replicas are bound to."""
    gone_since: Mapping[str, float]
    """Of these, the nodes whose Node object is gone: when that was first certain, in seconds."""
    not_ready_since: Mapping[str, float]
    """Of these, the nodes that are there and not Ready: since when, in seconds."""
    evicting_since: Mapping[str, float]
    """Of these, the nodes that replicas are being evicted from: when the first of those that can still be
    seen was asked to go, in seconds."""
    cluster_at: float
    """When all of it was last known to be in step, in seconds."""


NodesChanged: TypeAlias = Callable[[Sequence[ObjectChange[SlimNode]], float], None]
"""Called with nodes that are not what they were, and when they were last known to be in step before that, in
seconds; must not wait."""
ObjectsChanged: TypeAlias = Callable[[Sequence[ObjectChange[Json]], float], None]
"""Likewise with Events or NodeClaims."""


class Cluster:
    """Watches the namespaces of a fleet; `run` must run for as long as it is asked."""

    def __init__(
        self,
        client: Client,
        fleet: FleetSpec,
        *,
        now: Callable[[], float],
        age_s_max: float,
        rng: random.Random | None = None,
        exporters: Sequence[PodSelector] = (),
        wants_event: Callable[[Json], bool] | None = None,
        timing: Timing | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        """Prepare the caches.

        Args:
            client: The shared client.
            fleet: Its namespaces are watched; `follow` changes them.
            now: Seconds since the epoch, never decreasing: the clock of the events.
            age_s_max: What is known of the cluster is not relied on beyond this age, in seconds:
                the engine's `cluster_age_s_max`.
            rng: For jitter; its own by default.
            exporters: Further pods to keep addresses of.
            wants_event: Which Events about Nodes and NodeClaims are kept; None: neither they nor NodeClaims
                are watched.
            timing: Of the watches.
            supervisor: Keeps each watch running; one of its own by default.
        """
        self._fleet = fleet
        self._targets: dict[PodKey, tuple[SlimPod, ScrapeTarget]] = {}
        self._caches = Caches(
            client,
            now=now,
            age_s_max=age_s_max,
            rng=rng or random.Random(),  # noqa: S311  jitter
            timing=timing,
            exporters=exporters,
            supervisor=supervisor or Supervisor(),
            wants_event=wants_event,
        )
        self._doubts: tuple[Doubt, ...] = ()
        self._gone_nodes = GoneNodes(self._caches.nodes, age_s_max=age_s_max)
        self._scale_targets = ScaleTargets(self._caches.namespaces)
        self.follow(fleet)

    def subscribe_to_nodes(self, changed: NodesChanged) -> None:
        """Call this with every change of nodes from now on, as soon as the watch tells it."""
        nodes = self._caches.nodes
        nodes.subscribe(lambda changes: changed(changes, nodes.confirmed_before_at))

    def subscribe_to_events(self, changed: ObjectsChanged) -> None:
        """Likewise with Events about Nodes and NodeClaims, where they can be read."""
        for cache in self._caches.events:
            _subscribe(cache, changed)

    def subscribe_to_claims(self, changed: ObjectsChanged) -> None:
        """Likewise with Karpenter's NodeClaims, where there are any."""
        if self._caches.claims is not None:
            _subscribe(self._caches.claims, changed)

    def readable_notices(self) -> dict[str, Readability]:
        """Whether what notices are read from beside Nodes can be read, by the resource's plural."""
        return self._caches.readable_notices()

    def optional_problems(self) -> dict[str, str]:
        """What is wrong with those now, by the resource's plural, for people; nothing hangs on it."""
        return {
            each.resource.plural: each.problem for each in self._caches.optional() if each.problem
        }

    def unread_hpas(self) -> dict[str, str]:
        """Namespaces in which HorizontalPodAutoscalers cannot be read, and why: one on a target would not be seen."""
        return {
            name: caches.hpas.problem or "they were not listed yet"
            for name, caches in self._caches.namespaces.items()
            if caches.hpas.readability in {Readability.FORBIDDEN, Readability.UNKNOWN}
        }

    def all_nodes(self) -> list[SlimNode]:
        """All nodes there are, ordered by name."""
        nodes = self._caches.nodes.objects
        return [nodes[key] for key in sorted(nodes)]

    async def run(self) -> None:
        """Keep what is known in step until cancelled."""
        await self._caches.run()

    def follow(self, fleet: FleetSpec) -> None:
        """Watch the namespaces of this fleet from now on, and no others."""
        self._scale_targets.forget_findings()
        self._fleet = fleet
        self._caches.follow(fleet)

    @property
    def cluster_at(self) -> float:
        """When all of it was last known to be in step, in seconds; 0: part of it was never listed.

        The exporters' pods are left out: without them GPUs are unknown, nothing more. So are the
        namespaces of `refusals`, whose models are in no observation.
        """
        return self._caches.confirmed_at

    def refusals(self) -> dict[str, str]:
        """Namespaces that may not be read while others may, and which right is missing."""
        return self._caches.refusals()

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the caches now, for people; empty: nothing."""
        caches = tuple(cache.problem for cache in self._caches.all() if cache.problem)
        no_nodes = self._gone_nodes.problem(self._caches.namespaces.values())
        return (
            caches
            + self.unreadable()
            + tuple(f"{doubt.model} is held: {doubt.message}" for doubt in self._doubts)
            + ((no_nodes,) if no_nodes else ())
            + self._scale_targets.problems(self._fleet)
        )

    def missing_targets(self) -> dict[str, str]:
        """By model, which of its scale targets do not exist, and what there is in their place, for people."""
        return self._scale_targets.missing(self._fleet)

    def unreadable(self) -> tuple[str, ...]:
        """Objects that are there and cannot be read, a line for each cache, for people; empty: none."""
        lines = (cache.unreadable_text() for cache in self._caches.all())
        return tuple(line for line in lines if line)

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Models of which it was not known what is true when it was last looked."""
        return self._doubts

    @property
    def unreadable_objects(self) -> int:
        """Objects that are there and cannot be read now."""
        return sum(len(cache.unreadable) for cache in self._caches.all())

    @property
    def unreadable_total(self) -> int:
        """Times that an object could not be read, since the start."""
        return sum(cache.unreadable_total for cache in self._caches.all())

    @property
    def failures_total(self) -> int:
        """Lists and watches that failed, or ended too soon, since the start."""
        return sum(cache.failures_total for cache in self._caches.all())

    def objects(self, fleet: FleetSpec, *, at: float) -> FleetObjects:
        """What the caches hold of a fleet now; its namespaces are those given to `follow`."""
        every = replicas_of(fleet, self._caches.namespaces)
        self._doubts = find_doubts(
            fleet, every, namespaces=self._caches.namespaces, refusals=self.refusals()
        )
        doubted = {doubt.model for doubt in self._doubts}
        self._caches.doubt(
            {
                pool.target.namespace
                for model in fleet.models
                if model.key in doubted
                for pool in model.pools
            }
        )
        kept = [i for i, model in enumerate(fleet.models) if model.key not in doubted]
        fleet = replace(fleet, models=tuple(fleet.models[i] for i in kept))
        replicas = tuple(every[i] for i in kept)
        self._scale_targets.look_at_promises(fleet, at=at)
        nodes = self._caches.nodes.objects
        pods = [pod for of_model in replicas for _, pod in of_model if pod.node]
        bound = frozenset(pod.node for pod in pods)
        namespaces = self._caches.namespaces.values()
        gone_since = self._gone_nodes.look(pods, namespaces=namespaces, at=at)
        found = ((name, nodes.get(("", name))) for name in bound)
        return FleetObjects(
            fleet=fleet,
            doubts=self._doubts,
            replicas=replicas,
            pools=tuple(
                tuple(self._scale_targets.observe(model, pool, at=at) for pool in model.pools)
                for model in fleet.models
            ),
            nodes=nodes,
            bound=bound,
            gone_since=gone_since,
            not_ready_since={
                name: node.not_ready_since for name, node in found if node and not node.ready
            },
            evicting_since=_evicting_since(pods),
            cluster_at=self.cluster_at,
        )

    def observe(
        self,
        objects: FleetObjects,
        *,
        number: int,
        at: float,
        interruptions: tuple[Interruption, ...],
        samples: Mapping[PodKey, PodSample],
        framebuffers: Mapping[PodKey, FramebufferSample],
        gpus: Mapping[str, NodeGpuSample],
    ) -> Generator[None, None, Observed]:
        """Build the observation of this moment; yields after each model, and what happens then is not in it.

        Args:
            objects: What the caches held a moment ago.
            number: The event's id.
            at: Now, in seconds.
            interruptions: Nodes that are being, or have been, taken away, ordered by node.
            samples: Last engine sample by pod, with its own time.
            framebuffers: Last GPU memory by pod, with its own time.
            gpus: What is known of GPUs by node, with their own time.
        """
        nodes = objects.nodes
        gpus = {
            name: gpu
            for name, gpu in gpus.items()
            if gpu.sampled_at >= at - GPU_AGE_S_MAX and ("", name) in nodes
        }
        # One that is empty again is seen as long as our cordon is on it, or nobody would take it away.
        ours = {node.name for node in nodes.values() if node.cordoned_by_us}
        names = sorted(objects.bound | gpus.keys() | ours | {each.node for each in interruptions})
        node_index = {name: index for index, name in enumerate(names)}
        columns = node_columns(names, nodes=nodes, gone=objects.gone_since.keys(), gpus=gpus)
        models = []
        seen = zip(objects.fleet.models, objects.pools, objects.replicas, strict=True)
        for model, pools, rows in seen:
            replicas = replica_columns(
                rows,
                node_index=node_index,
                samples=samples,
                framebuffers=framebuffers,
                gpus=gpus,
            )
            models.append(ModelObservation(model=model.key, pools=pools, replicas=replicas))
            yield
        return Observed(
            id=number,
            at=at,
            nodes=columns,
            interruptions=interruptions,
            models=tuple(models),
            cluster_at=objects.cluster_at,
            doubts=objects.doubts,
        )

    def has_replicas_on(self, node: str) -> bool:
        """Whether a pod that has not ended is bound to this node."""
        return any(
            pod.node == node and pod.phase not in OVER
            for caches in self._caches.namespaces.values()
            for pod in caches.pods.objects.values()
        )

    def scrape_targets(self, fleet: FleetSpec) -> list[ScrapeTarget]:
        """The replicas of a fleet, ordered by pod; those being deleted are among them."""
        # A pod that did not change keeps its target: at 5,000 replicas this runs on the event loop.
        before, self._targets = self._targets, {}
        for model, rows in zip(
            fleet.models, replicas_of(fleet, self._caches.namespaces), strict=True
        ):
            for _, pod in rows:
                known, target = before.get((pod.namespace, pod.name), (None, None))
                if target is None or known is not pod or target.model != model.key:
                    target = ScrapeTarget(
                        key=(pod.namespace, pod.name),
                        uid=pod.uid,
                        ip=pod.ip,
                        model=model.key,
                        ready=pod.ready and not pod.deleting,
                        leaving=pod.deleting,
                    )
                self._targets[target.key] = (pod, target)
        return [target for _, (_, target) in sorted(self._targets.items())]

    def exporter_targets(self) -> list[ExporterTarget]:
        """Pods of the exporters that run and have an address, ordered by pod."""
        found = {
            key: ExporterTarget(key=key, uid=pod.uid, ip=pod.ip, node=pod.node)
            for cache in self._caches.exporters
            for key, pod in cache.objects.items()
            if pod.ip and pod.phase == "Running" and not pod.deleting
        }
        return [found[key] for key in sorted(found)]

    def pod_uid(self, namespace: str, name: str) -> str | None:
        """The uid of a pod that is known: a precondition of deleting it."""
        caches = self._caches.namespaces.get(namespace)
        pod = caches.pods.objects.get((namespace, name)) if caches else None
        return pod.uid if pod else None


def _subscribe(cache: OptionalCache[Json], changed: ObjectsChanged) -> None:
    cache.subscribe(lambda changes: changed(changes, cache.confirmed_before_at))


def _evicting_since(pods: Sequence[SlimPod]) -> dict[str, float]:
    """By node, when the first eviction began of those whose pods are still there."""
    found: dict[str, float] = {}
    for pod in pods:
        if pod.evicted and pod.deleting:
            found[pod.node] = min(pod.deleting_since, found.get(pod.node, math.inf))
    return found
