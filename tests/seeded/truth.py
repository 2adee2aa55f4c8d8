"""What is true in the simulated cluster, and what of it the daemon can know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from autoscaler.core.contract.spec import ModelSpec
from simulations.box.local_cluster.objects import condition_is_true
from tests.seeded import invariants
from tests.seeded.process import caches_of

if TYPE_CHECKING:
    from tests.seeded.run import Run
    from tests.seeded.world import Notice

NEWS_S = 12.0
"""A pod, a node or a notice that is newer need not be known yet."""

REMEMBERED_S = 1.0
"""A change is dated by the first look after it."""


class Truth:
    """Of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.bound: dict[str, dict[str, tuple[str, float, float]]] = {}
        """By node and uid of a pod: its model, when it was first and last seen there."""
        self.lost_since: dict[str, float] = {}
        """By node."""

    def follow_pods(self, now: float) -> None:
        world = self._run.world
        names = set()
        for node in world.store.all("nodes"):
            name = node["metadata"]["name"]
            if condition_is_true(node, "Ready"):
                names.add(name)
                if now - self.lost_since.get(name, now) > 180.0:
                    del self.lost_since[name]
            else:
                self.lost_since.setdefault(name, now)
        for pod in world.store.all("pods"):
            node = pod["spec"].get("nodeName")
            model = (pod["metadata"].get("labels") or {}).get("model")
            if not node or not model:
                continue
            if node not in names:
                self.lost_since.setdefault(node, now)
            seen = self.bound.setdefault(node, {})
            uid = pod["metadata"]["uid"]
            first_at = seen[uid][1] if uid in seen else now
            seen[uid] = (model, first_at, now)

    def doomed_nodes(self) -> Iterator[str]:
        """Noticed or lost now, or a moment ago."""
        now = self._run.now()
        for notice in self._run.world.notices:
            if notice.withdrawn_at is None or now - notice.withdrawn_at < NEWS_S + 40.0:
                yield notice.node
        yield from self.lost_since

    def doomed_count(self, node: str, model: ModelSpec) -> int:
        """Replicas of a model that were on a node when it was noticed or lost, or came after.

        A pod that has gone before, and of which the daemon cannot know that, is one of them to it.
        """
        times = [n.at for n in self._run.world.notices if n.node == node]
        if node in self.lost_since:
            times.append(self.lost_since[node])
        if not times:
            return 0
        unseen_s = self.unseen_s(model.namespace, resource="pods")
        since = min(min(times) - NEWS_S, self._run.now() - unseen_s)
        return sum(
            1
            for of, _, last_at in self.bound.get(node, {}).values()
            if of == model.name and last_at >= since
        )

    def unseen_s(self, namespace: str, *, resource: str = "") -> float:
        """Age of the oldest change in a namespace that the daemon has not been told; 0: it knows all."""
        run, unseen_s = self._run, 0.0
        for cache in caches_of(run.daemon):
            if cache.namespace not in {"", namespace} or not cache.version.isdigit():
                continue
            if resource in {"", cache.resource.plural}:
                since = run.oldest_change(
                    cache.resource.plural, cache.namespace, after=int(cache.version)
                )
                unseen_s = max(unseen_s, run.now() - since)
        return unseen_s

    def untold(self) -> Iterator[Notice]:
        """Those that the caches of Nodes have not been told yet, though they hold themselves for in step.

        The oldest change that they miss is no younger than the notice: so it is not among what they know.
        """
        now = self._run.now()
        unseen_s = self.unseen_s("", resource="nodes")
        for notice in self._run.world.notices:
            if unseen_s > 0.0 and now - unseen_s <= notice.at + REMEMBERED_S:
                yield notice

    def sight(self, spec: ModelSpec) -> invariants.Sight:
        run, now = self._run, self._run.now()
        unseen_s = self.unseen_s(spec.namespace)
        doomed = set(self.doomed_nodes())
        silent_s = 0.0
        for pod in run.world.kubelets.pods.values():
            if pod.model != spec.name or pod.ending or pod.node in doomed or pod.ready_at is None:
                continue
            if not self._is_ready(pod.namespace, pod.name):
                continue
            silent_s = max(silent_s, now - max(pod.answered_at, pod.ready_at + NEWS_S))
        return invariants.Sight(
            unseen_s=unseen_s, silent_s=silent_s, sample_age_s_max=spec.sample_age_s_max
        )

    def _is_ready(self, namespace: str, name: str) -> bool:
        obj = self._run.world.store.find("pods", namespace, name)
        return obj is not None and condition_is_true(obj, "Ready")
