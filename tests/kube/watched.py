"""A cluster that is watched through real watches, and the interruptions that are read off its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import Interruption, ModelObservation
from autoscaler.core.engine import EngineSettings
from autoscaler.kube.api.client import Client
from autoscaler.kube.observe import Cluster
from autoscaler.kube.samples import FramebufferSample, NodeGpuSample, PodKey, PodSample
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.slim import SlimNode
from autoscaler.notices import NOTICE_SOURCES, events
from autoscaler.notices.interruptions import Interruptions
from autoscaler.notices.mark import Watched
from autoscaler.sources.pages.turns import at_once
from tests.kube.api_server import Held, ScriptedServer
from tests.kube.scene import CREATED_AT

AT = CREATED_AT + 600
AGE_S_MAX = EngineSettings().cluster_age_s_max
SPOT = {"karpenter.sh/capacity-type": "spot"}


async def until_listed(cluster: Cluster) -> None:
    """Until each of its caches was listed once."""
    async with asyncio.timeout(60):
        while not all(cache.synced for cache in cluster._caches.all()):
            await asyncio.sleep(0.001)


class Scene:
    """A cluster that is watched, with a clock that the test moves."""

    def __init__(
        self, server: ScriptedServer, client: Client, spec: FleetSpec, **more: Any
    ) -> None:
        self.at = AT
        self.held = Held(server)
        self.server = server
        self.spec = spec
        self.noticed: list[Interruption] = []
        self.interruptions = Interruptions(NOTICE_SOURCES)
        more.setdefault("wants_event", events.concerns_us)
        self.cluster = Cluster(client, spec, now=lambda: self.at, age_s_max=AGE_S_MAX, **more)
        self.cluster.subscribe_to_nodes(self._nodes_changed)
        self.cluster.subscribe_to_events(partial(self._objects_changed, Watched.EVENT))
        self.cluster.subscribe_to_claims(partial(self._objects_changed, Watched.CLAIM))

    def observe(
        self,
        *,
        samples: Mapping[PodKey, PodSample] | None = None,
        framebuffers: Mapping[PodKey, FramebufferSample] | None = None,
        gpus: Mapping[str, NodeGpuSample] | None = None,
    ) -> Observed:
        objects = self.cluster.objects(self.spec, at=self.at)
        self.noticed += self.interruptions.evictions_seen(objects.evicting_since, at=self.at)
        steps = self.cluster.observe(
            objects,
            number=1,
            at=self.at,
            interruptions=self.interruptions.current(
                at=self.at,
                gone_since=objects.gone_since,
                not_ready_since=objects.not_ready_since,
            ),
            samples=samples or {},
            framebuffers=framebuffers or {},
            gpus=gpus or {},
        )
        return at_once(steps)

    def _nodes_changed(self, changes: Sequence[ObjectChange[SlimNode]], after: float) -> None:
        self.noticed += self.interruptions.nodes_changed(
            changes, at=self.at, after=after, has_replicas_on=self.cluster.has_replicas_on
        )

    def _objects_changed(self, watched: Watched, changes: Sequence[Any], after: float) -> None:
        self.noticed += self.interruptions.objects_changed(
            watched, changes, at=self.at, after=after
        )

    @property
    def model(self) -> ModelObservation:
        return self.observe().models[0]

    async def until_listed(self) -> None:
        await until_listed(self.cluster)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.001)

    async def pods(self, count: int) -> None:
        await self.until(lambda: len(self.model.replicas) == count)


Begin = Callable[..., Any]
"""The fixture `begin`: of a fleet and objects, a scene that has listed them."""
