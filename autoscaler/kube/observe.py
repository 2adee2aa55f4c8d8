"""The cluster as the core sees it: what the caches hold of a fleet, and the observation made of it.

A pod belongs to a pool by owner references (Deployment, ReplicaSet, pod): two Deployments of one model
share their labels, and a selector would count each one's pods twice. Values that do not come from the
API server (samples, interruptions) are arguments: nothing is asked here of those who have them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import FleetSpec, PoolSpec
from autoscaler.core.contract.state import Interruption, ModelObservation, PoolObservation
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.resources import DEPLOYMENTS, SCALE_TARGETS
from autoscaler.kube.columns import node_columns, replica_columns
from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.kube.targets import ExporterTarget, ScrapeTarget
from autoscaler.kube.watch.caches import Caches, PodSelector
from autoscaler.kube.watch.slim import SlimDeployment, SlimNode, SlimPod
from autoscaler.kube.watch.watch import Key, ObjectChange, Timing

GPU_AGE_S_MAX = 90.0
"""A reading of free GPUs that is older is unknown: three of the DCGM exporter's own intervals."""
_OVER = frozenset({"Succeeded", "Failed"})
"""Phases of pods that are no replicas any more: their ReplicaSet replaces them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetObjects:
    """What the caches hold of a fleet at one moment: the raw material of an observation."""

    fleet: FleetSpec
    """Without the models that have a pool in a namespace that refuses us."""
    replicas: tuple[list[tuple[int, SlimPod]], ...]
    """For each model its replicas as (index of the pool, pod), in no order."""
    nodes: Mapping[Key, SlimNode]
    """All nodes there are."""
    bound: frozenset[str]
    """Names of the nodes that replicas are bound to."""
    gone_since: Mapping[str, float]
    """Of these, the nodes whose Node object is gone: when that was first certain, in seconds."""
    not_ready_since: Mapping[str, float]
    """Of these, the nodes that are there and not Ready: since when, in seconds."""


NodesChanged: TypeAlias = Callable[[Sequence[ObjectChange[SlimNode]]], None]
"""Called with nodes that are not what they were; must not wait."""
_Place: TypeAlias = tuple[int, int]
"""Index of the model, index of its pool."""


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
        timing: Timing | None = None,
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
            timing: Of the watches.
        """
        self._fleet = fleet
        self._age_s_max = age_s_max
        self._gone_since: dict[str, float] = {}
        self._targets: dict[PodKey, tuple[SlimPod, ScrapeTarget]] = {}
        self._caches = Caches(
            client,
            now=now,
            age_s_max=age_s_max,
            rng=rng or random.Random(),  # noqa: S311  jitter
            timing=timing,
            exporters=exporters,
        )
        self.follow(fleet)

    def subscribe_to_nodes(self, changed: NodesChanged) -> None:
        """Call this with every change of nodes from now on, as soon as the watch tells it."""
        self._caches.nodes.subscribe(changed)

    async def run(self) -> None:
        """Keep what is known in step until cancelled."""
        await self._caches.run()

    def follow(self, fleet: FleetSpec) -> None:
        """Watch the namespaces of this fleet from now on, and no others."""
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
        return caches + self._unknown_gpus()

    @property
    def failures_total(self) -> int:
        """Lists and watches that failed, or ended too soon, since the start."""
        return sum(cache.failures_total for cache in self._caches.all())

    def objects(self, fleet: FleetSpec, *, at: float) -> FleetObjects:
        """What the caches hold of a fleet now; its namespaces are those given to `follow`."""
        fleet = self._readable(fleet)
        replicas = tuple(self._replicas(fleet))
        nodes = self._caches.nodes.objects
        pods = [pod for of_model in replicas for _, pod in of_model if pod.node]
        bound = frozenset(pod.node for pod in pods)
        self._gone_since = self._find_gone(pods, at=at)
        found = ((name, nodes.get(("", name))) for name in bound)
        return FleetObjects(
            fleet=fleet,
            replicas=replicas,
            nodes=nodes,
            bound=bound,
            gone_since=self._gone_since,
            not_ready_since={
                name: node.not_ready_since for name, node in found if node and not node.ready
            },
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
    ) -> Observed:
        """Build the observation of this moment.

        Args:
            objects: What the caches held a moment ago.
            number: The event's id.
            at: Now, in seconds.
            interruptions: Nodes that are being, or have been, taken away, ordered by node.
            samples: Last engine sample by pod, with its own time.
            framebuffers: Last GPU memory by pod, with its own time.
            gpus: Free GPUs by node, with their own time.
        """
        nodes = objects.nodes
        measured = {name for name in gpus if ("", name) in nodes}
        names = sorted(objects.bound | measured | {each.node for each in interruptions})
        node_index = {name: index for index, name in enumerate(names)}
        return Observed(
            id=number,
            at=at,
            nodes=node_columns(
                names,
                nodes=nodes,
                gone=objects.gone_since.keys(),
                gpus=gpus,
                gpus_at_least=at - GPU_AGE_S_MAX,
            ),
            interruptions=interruptions,
            models=tuple(
                ModelObservation(
                    model=model.key,
                    pools=tuple(self._pool(pool) for pool in model.pools),
                    replicas=replica_columns(
                        rows, node_index=node_index, samples=samples, framebuffers=framebuffers
                    ),
                )
                for model, rows in zip(objects.fleet.models, objects.replicas, strict=True)
            ),
            cluster_at=self.cluster_at,
        )

    def has_replicas_on(self, node: str) -> bool:
        """Whether a pod that has not ended is bound to this node."""
        return any(
            pod.node == node and pod.phase not in _OVER
            for caches in self._caches.namespaces.values()
            for pod in caches.pods.objects.values()
        )

    def scrape_targets(self, fleet: FleetSpec) -> list[ScrapeTarget]:
        """The replicas of a fleet, ordered by pod; those being deleted are among them."""
        # A pod that did not change keeps its target: at 5,000 replicas this runs on the event loop.
        before, self._targets = self._targets, {}
        for model, rows in zip(fleet.models, self._replicas(fleet), strict=True):
            for _, pod in rows:
                known, target = before.get((pod.namespace, pod.name), (None, None))
                if target is None or known is not pod or target.model != model.key:
                    target = ScrapeTarget(
                        key=(pod.namespace, pod.name),
                        uid=pod.uid,
                        ip=pod.ip,
                        model=model.key,
                        ready=pod.ready,
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

    # -- what belongs to whom

    def _readable(self, fleet: FleetSpec) -> FleetSpec:
        refusals = self.refusals()
        if not refusals:
            return fleet
        models = [
            model
            for model in fleet.models
            if all(pool.target.namespace not in refusals for pool in model.pools)
        ]
        return replace(fleet, models=tuple(models))

    def _replicas(self, fleet: FleetSpec) -> list[list[tuple[int, SlimPod]]]:
        """For each model its replicas as (index of the pool, pod), in no order."""
        places = self._places(fleet)
        rows: list[list[tuple[int, SlimPod]]] = [[] for _ in fleet.models]
        for caches in self._caches.namespaces.values():
            owners = {
                replica_set.uid: places[replica_set.owner_uid]
                for replica_set in caches.replica_sets.objects.values()
                if replica_set.owner_uid in places
            }
            for pod in caches.pods.objects.values():
                place = owners.get(pod.owner_uid)
                if place is not None and pod.phase not in _OVER:
                    rows[place[0]].append((place[1], pod))
        return rows

    def _places(self, fleet: FleetSpec) -> dict[str, _Place]:
        """The pool of each Deployment, by its uid."""
        places: dict[str, _Place] = {}
        for i, model in enumerate(fleet.models):
            for j, pool in enumerate(model.pools):
                deployment = self._deployment(pool)
                if deployment is not None:
                    places[deployment.uid] = (i, j)
        return places

    def _deployment(self, pool: PoolSpec) -> SlimDeployment | None:
        target = pool.target
        caches = self._caches.namespaces.get(target.namespace)
        if caches is None or SCALE_TARGETS.get((target.api_version, target.kind)) != DEPLOYMENTS:
            return None
        return caches.deployments.objects.get((target.namespace, target.name))

    def _pool(self, pool: PoolSpec) -> PoolObservation:
        deployment = self._deployment(pool)
        if deployment is None:
            return PoolObservation(
                name=pool.name,
                current_replicas=None,
                rolling_out=False,
                gpus_per_replica=0,
                promises=(),
            )
        return PoolObservation(
            name=pool.name,
            current_replicas=deployment.replicas,
            rolling_out=deployment.rolling_out,
            gpus_per_replica=deployment.gpus or 0,
            promises=deployment.promises or (),
            promises_readable=deployment.promises is not None,
        )

    def _unknown_gpus(self) -> tuple[str, ...]:
        found = (
            (pool, self._deployment(pool)) for model in self._fleet.models for pool in model.pools
        )
        return tuple(
            f"{pool.target}: resource claims ask for its devices, and how many is not in its pod "
            "template; it is not held to a GPU budget"
            for pool, deployment in found
            if deployment is not None and deployment.gpus is None
        )

    def _find_gone(self, pods: Sequence[SlimPod], *, at: float) -> dict[str, float]:
        """Nodes that pods are bound to and that no longer exist, and when that was first certain.

        A node is missing for certain only once the cache of nodes has seen all that happened up to
        the pod's own last change: else the pod may be bound to a node that is so new that its event
        is still on the way (the API server counts resourceVersions over all resources of one etcd).
        Once it is certain it stays so until the node is there, or the pods are gone: a pod that is
        written again (as its deletion begins) is ahead of the nodes for a while. While nodes are not
        known freshly, no further one is found.
        """
        cache = self._caches.nodes
        fresh = cache.synced and at - cache.confirmed_at <= self._age_s_max
        version = int(cache.version) if fresh and cache.version.isdigit() else -1
        since: dict[str, float] = {}
        for pod in pods:
            if ("", pod.node) in cache.objects:
                continue
            if pod.node in self._gone_since:
                since[pod.node] = self._gone_since[pod.node]
            elif pod.version <= version:
                since[pod.node] = at
        return since
