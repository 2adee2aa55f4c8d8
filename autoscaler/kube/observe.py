"""The cluster as the core sees it: the caches of what the models consist of, cut into one level.

Whose a pod is, is told by owner references (Deployment, ReplicaSet, pod): two Deployments of one model
share their labels, and a selector would count each one's pods twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from autoscaler.core.contract.spec import FleetSpec, PoolSpec
from autoscaler.core.contract.state import (
    Interruption,
    ModelObservation,
    NodeColumns,
    PoolObservation,
)
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.resources import DEPLOYMENTS, SCALE_TARGETS
from autoscaler.kube.columns import node_columns, replica_columns
from autoscaler.kube.notices import MarkFunction, Notices, lost
from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.kube.watch.caches import Caches, PodSelector
from autoscaler.kube.watch.slim import Deployment, Node, Pod
from autoscaler.kube.watch.watch import Change, Timing

NODES_AGE_S_MAX = 30.0
"""With nodes known no better than this, no other is said to be gone."""
GPU_AGE_S_MAX = 90.0
"""A reading of free GPUs that is older is unknown: three of the DCGM exporter's own intervals."""
_OVER = frozenset({"Succeeded", "Failed"})
"""Phases of pods that are no replicas any more: their ReplicaSet replaces them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeTarget:
    """One replica, for those who read its signals."""

    key: PodKey
    uid: str
    ip: str
    """Empty until it has one."""
    node: str
    """Empty: bound to none."""
    model: str
    """`ModelSpec.key`."""
    phase: str
    """Of the pod: Pending, Running or Unknown."""
    ready: bool
    deleting: bool
    """Its requests in flight still are demand: read on until it is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterTarget:
    """One pod of an exporter that runs beside the models, e.g. the DCGM exporter on a node."""

    key: PodKey
    uid: str
    ip: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterObservation:
    """What an `Observed` consists of, beside its id and time."""

    nodes: NodeColumns
    interruptions: tuple[Interruption, ...]
    models: tuple[ModelObservation, ...]
    cluster_at: float
    """The oldest of the caches' confirmations; 0: one was never listed."""


_Place: TypeAlias = tuple[int, int]
"""Index of the model, index of its pool."""


class Cluster:
    """Watches the namespaces of a fleet; `run` must run for as long as it is asked."""

    def __init__(
        self,
        client: Client,
        fleet: FleetSpec,
        *,
        marks: MarkFunction,
        now: Callable[[], float],
        rng: random.Random | None = None,
        exporters: Sequence[PodSelector] = (),
        on_notice: Callable[[Interruption], None] | None = None,
        timing: Timing | None = None,
    ) -> None:
        """Prepare the caches.

        Args:
            client: The shared client.
            fleet: Its namespaces are watched; `follow` changes them.
            marks: Reads a notice off a Node object (`interruptions.NOTICE_SOURCES`).
            now: Seconds since the epoch, never decreasing: the clock of the events.
            rng: For jitter; its own by default.
            exporters: Further pods to keep addresses of.
            on_notice: Called once per notice (again if its deadline comes nearer), as soon as it is seen: before the next `observe`.
            timing: Of the watches.
        """
        self._fleet = fleet
        self._now = now
        self._on_notice = on_notice
        self._notices = Notices(marks)
        self._targets: dict[PodKey, tuple[Pod, ScrapeTarget]] = {}
        self._caches = Caches(
            client,
            now=now,
            rng=rng or random.Random(),  # noqa: S311  jitter
            timing=timing,
            exporters=exporters,
            on_nodes=self._nodes_changed,
        )
        self.follow(fleet)

    async def run(self) -> None:
        """Keep what is known in step until cancelled."""
        await self._caches.run()

    def follow(self, fleet: FleetSpec) -> None:
        """Watch the namespaces of this fleet from now on, and no others."""
        self._fleet = fleet
        self._caches.follow(fleet)

    @property
    def synced(self) -> bool:
        """Whether everything was listed once."""
        return all(cache.synced for cache in self._caches.all())

    async def wait_synced(self) -> None:
        """Until everything was listed once."""
        for cache in self._caches.all():
            await cache.wait_synced()

    @property
    def cluster_at(self) -> float:
        """When the whole was last known to be in step; 0: part of it was never listed.

        The exporters' pods are left out: without them GPUs are unknown, nothing more. So are the
        namespaces of `refusals`, whose models are in no observation.
        """
        return self._caches.confirmed_at

    def refusals(self) -> dict[str, str]:
        """Namespaces that may not be read while others may, and which right is lacking."""
        return self._caches.refusals()

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the caches and the marks now, for people; empty: nothing."""
        caches = tuple(cache.problem for cache in self._caches.all() if cache.problem)
        return caches + self._notices.problems + self._unknown_gpus()

    @property
    def failures_total(self) -> int:
        """Lists and watches that failed, or ended too soon, since the start."""
        return sum(cache.failures_total for cache in self._caches.all())

    def observe(
        self,
        *,
        at: float,
        fleet: FleetSpec,
        samples: Mapping[PodKey, PodSample],
        framebuffers: Mapping[PodKey, FramebufferSample],
        gpus: Mapping[str, NodeGpuSample],
    ) -> ClusterObservation:
        """Cut the level of now; a model with a pool in a namespace that refuses us is not in it.

        Args:
            at: Now.
            fleet: What to observe; its namespaces are those given to `follow`.
            samples: Last engine sample by pod, with its own time.
            framebuffers: Last GPU memory by pod, with its own time.
            gpus: Free GPUs by node, with their own time.
        """
        fleet = self._readable(fleet)
        rows = self._rows(fleet)
        nodes = self._caches.nodes.objects
        pods = [pod for model_rows in rows for _, pod in model_rows]
        bound = {pod.node for pod in pods if pod.node}
        gone = self._gone(pods, at=at)
        interruptions = self._notices.standing(nodes=nodes, bound=bound)
        measured = {name for name in gpus if ("", name) in nodes}
        names = sorted(bound | measured | {each.node for each in interruptions})
        node_index = {name: index for index, name in enumerate(names)}
        return ClusterObservation(
            nodes=node_columns(
                names, nodes=nodes, gone=gone, gpus=gpus, gpus_at_least=at - GPU_AGE_S_MAX
            ),
            interruptions=interruptions,
            models=tuple(
                ModelObservation(
                    model=model.key,
                    pools=tuple(self._pool(pool) for pool in model.pools),
                    replicas=replica_columns(
                        model_rows,
                        node_index=node_index,
                        samples=samples,
                        framebuffers=framebuffers,
                    ),
                )
                for model, model_rows in zip(fleet.models, rows, strict=True)
            ),
            cluster_at=self.cluster_at,
        )

    def scrape_targets(self, fleet: FleetSpec) -> list[ScrapeTarget]:
        """The replicas of a fleet, ordered by pod; those being deleted are among them."""
        # A pod that did not change keeps its target: at 5,000 replicas this runs on the event loop.
        before, self._targets = self._targets, {}
        for model, rows in zip(fleet.models, self._rows(fleet), strict=True):
            for _, pod in rows:
                known, target = before.get((pod.namespace, pod.name), (None, None))
                if target is None or known is not pod or target.model != model.key:
                    target = _target(pod, model.key)
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

    def _rows(self, fleet: FleetSpec) -> list[list[tuple[int, Pod]]]:
        """For each model its replicas as (index of the pool, pod), in no order."""
        places = self._places(fleet)
        rows: list[list[tuple[int, Pod]]] = [[] for _ in fleet.models]
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
        """By uid of the Deployment."""
        places: dict[str, _Place] = {}
        for i, model in enumerate(fleet.models):
            for j, pool in enumerate(model.pools):
                deployment = self._deployment(pool)
                if deployment is not None:
                    places[deployment.uid] = (i, j)
        return places

    def _deployment(self, pool: PoolSpec) -> Deployment | None:
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

    # -- nodes

    def _gone(self, pods: Sequence[Pod], *, at: float) -> frozenset[str]:
        cache = self._caches.nodes
        version = None
        if cache.synced and at - cache.confirmed_at <= NODES_AGE_S_MAX and cache.version.isdigit():
            version = int(cache.version)
        return self._notices.gone(pods, cache.objects, version=version, at=at)

    def _nodes_changed(self, changes: Sequence[Change[Node]]) -> None:
        at = self._now()
        for change in changes:
            noticed = self._notices.node_changed(change, at=at)
            if noticed is not None:
                self._notify(noticed)
            elif self._was_lost(change) and self._carries_replicas(change.key[1]):
                since = change.after.not_ready_since if change.after else at
                self._notify(lost(change.key[1], at=since))

    @staticmethod
    def _was_lost(change: Change[Node]) -> bool:
        before, after = change.before, change.after
        if before is None or not before.ready:
            return False
        return after is None or not after.ready

    def _carries_replicas(self, name: str) -> bool:
        return any(
            pod.node == name and pod.phase not in _OVER
            for caches in self._caches.namespaces.values()
            for pod in caches.pods.objects.values()
        )

    def _notify(self, interruption: Interruption) -> None:
        if self._on_notice is not None:
            self._on_notice(interruption)


def _target(pod: Pod, model: str) -> ScrapeTarget:
    return ScrapeTarget(
        key=(pod.namespace, pod.name),
        uid=pod.uid,
        ip=pod.ip,
        node=pod.node,
        model=model,
        phase=pod.phase,
        ready=pod.ready,
        deleting=pod.deleting,
    )
