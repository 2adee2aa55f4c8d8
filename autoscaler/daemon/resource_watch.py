"""Watches the InferenceAutoscalers of the cluster, as `config_watch` does the files of `--config`.

They are held by the caches that everything is watched with, and read by the rules that documents of files are
read by: one with a problem is not used, its model stays as it was, the others go on, and every problem is logged
once. A resource that is deleted ends the handling of its model. What cannot be read at all, for want of a right or of
the definition, is said on the same pages; what was read before stays in use.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import structlog

from autoscaler.errors import SpecProblem
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.resources import INFERENCE_AUTOSCALERS
from autoscaler.kube.watch.slim_resources import SlimResource, slim_resource
from autoscaler.kube.watch.timing import Timing
from autoscaler.kube.watch.watch import ResourceCache
from autoscaler.settings import Config, read_resources
from autoscaler.settings.documents import Document
from autoscaler.settings.resource import KIND, PLURAL
from autoscaler.supervision import Supervisor

RESOURCES_PATH = Path(PLURAL)
"""Where a configuration is from that is watched."""
LOOK_S = 3.0
"""Between two looks at whether they can be read; a change is looked at when it comes."""
_SILENT_S = 60.0
"""What was known to be in step no later than this is said to be out of it."""
_LOGGED_MAX = 100
"""Problems in one line of the log; /debug/models has all."""

_log = structlog.get_logger(__name__)


def no_resources() -> Config:
    """What is in use before the first list: nothing, and it is not known of what models that is."""
    return Config(path=RESOURCES_PATH, resources=(), complete=False)


class ResourceWatch:
    """The resources of all namespaces, or of some."""

    def __init__(
        self,
        client: Client,
        *,
        namespaces: Sequence[str] = (),
        config: Config,
        servers: Collection[str] = (),
        now: Callable[[], float],
        changed: Callable[[Config], None],
        problems: Callable[[tuple[str, ...]], None],
        supervisor: Supervisor,
        rng: random.Random,
        timing: Timing | None = None,
        look_s: float = LOOK_S,
    ) -> None:
        """Prepare; `run` watches.

        Args:
            client: The shared client.
            namespaces: Only these; none: all of them.
            config: What is in use.
            servers: Names of the Prometheus servers that resources may name.
            now: Seconds since the epoch, never decreasing.
            changed: Called with a new one, when what is in use has changed.
            problems: Called with a line for each problem, when they have changed.
            supervisor: Keeps each watch running.
            rng: For jitter.
            timing: Of the watches.
            look_s: Between two looks.
        """
        self.config = config
        """What is in use, and what is refused."""
        self.generations: Mapping[str, int] = {}
        """By key, which generation of each resource that is about."""
        self._servers = servers
        self._now = now
        self._changed = changed
        self._problems = problems
        self._supervisor = supervisor
        self._look_s = look_s
        self._told = asyncio.Event()
        self._lines: tuple[str, ...] = ()
        self._rejected: tuple[str, ...] = ()
        self._unread: tuple[str, ...] = ()
        self._seen: tuple[object, ...] = ()
        """What the last reading was of."""
        self._caches = tuple(
            ResourceCache(
                client,
                INFERENCE_AUTOSCALERS,
                slim_resource,
                now=now,
                rng=rng,
                namespace=namespace,
                timing=timing,
                crowd=lambda: len(self._caches),
            )
            for namespace in (namespaces or ("",))
        )
        for cache in self._caches:
            cache.subscribe(lambda _changes: self._told.set())

    @property
    def resources(self) -> Mapping[str, SlimResource]:
        """All that are there and not being deleted, by key."""
        found = [each for cache in self._caches for each in cache.objects.values()]
        return {f"{each.namespace}/{each.name}": each for each in found if not each.deleting}

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for cache in self._caches:
                which = f"{PLURAL} {cache.namespace}".rstrip()
                group.create_task(self._supervisor.keep("watch", cache.run, which=which))
            while True:
                self._told.clear()
                await self.look()
                try:
                    async with asyncio.timeout(self._look_s):
                        await self._told.wait()
                except TimeoutError:
                    continue

    async def look(self) -> None:
        """Read what is held, where that has changed, and say what is wrong with it."""
        resources = self.resources
        synced = [cache for cache in self._caches if cache.synced]
        unknown = self._unknown()
        seen = (len(synced), unknown, resources)
        if synced and seen != self._seen:
            self._seen = seen
            documents = [_document(each) for each in _by_age(resources)]
            config = await asyncio.to_thread(
                read_resources,
                documents,
                path=RESOURCES_PATH,
                last=self.config,
                servers=self._servers,
                unknown=unknown,
                all_listed=len(synced) == len(self._caches),
            )
            before, self.config = self.config, config
            self.generations = {key: each.generation for key, each in resources.items()}
            if (config.resources, config.complete) != (before.resources, before.complete):
                self._changed(config)
        self._tell()

    def _unknown(self) -> tuple[SpecProblem, ...]:
        """Say which are there and cannot be read."""
        return tuple(
            SpecProblem(
                path=f"{KIND} {namespace or cache.namespace}/{name}",
                found=f"what cannot be read ({each.why})",
                remedy="mend it, or take it away",
            )
            for cache in self._caches
            for (namespace, name), each in cache.unreadable.items()
        )

    def _tell(self) -> None:
        """Say what is wrong, where that has changed."""
        rejected = tuple(str(each) for each in self.config.problems)
        if rejected and rejected != self._rejected:
            lines = rejected[:_LOGGED_MAX]
            _log.error("spec.rejected", problems=lines, more=len(rejected[_LOGGED_MAX:]))
        self._rejected = rejected
        unread = tuple(filter(None, map(self._unread_text, self._caches)))
        if unread and unread != self._unread:
            _log.error("resources.unread", problems=unread)
        elif self._unread and not unread:
            _log.info("resources.read")
        self._unread = unread
        if self._lines != unread + rejected:
            self._lines = unread + rejected
            self._problems(self._lines)

    def _unread_text(self, cache: ResourceCache[SlimResource]) -> str:
        """Say why they cannot be read now; empty: they can, or were a short while ago."""
        if not cache.problem:
            return ""
        silent_s = self._now() - cache.confirmed_at if cache.confirmed_at else math.inf
        if not cache.synced:
            return f"{_place(cache)}: {cache.problem}; is deploy/components/crd applied?"
        return f"{_place(cache)}: {cache.problem}" if silent_s > _SILENT_S else ""


def _place(cache: ResourceCache[SlimResource]) -> str:
    return f"{PLURAL} of {cache.namespace or 'all namespaces'}"


def _by_age(resources: Mapping[str, SlimResource]) -> list[SlimResource]:
    """Order them, the oldest first: of two that claim one target that one was there before."""

    def age(resource: SlimResource) -> tuple[float, str, str]:
        created_at = math.inf if math.isnan(resource.created_at) else resource.created_at
        return (created_at, resource.namespace, resource.name)

    return sorted(resources.values(), key=age)


def _document(resource: SlimResource) -> Document:
    return Document(
        file=RESOURCES_PATH,
        ordinal=1,
        content=resource.content,
        told_as=f"{KIND} {resource.namespace}/{resource.name}",
    )
