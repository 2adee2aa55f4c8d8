"""Nodes that pods are bound to and that no longer exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autoscaler.kube.api.fields import version_number
from autoscaler.kube.ownership import OVER
from autoscaler.kube.watch.caches import NamespaceCaches
from autoscaler.kube.watch.held import NAMELESS
from autoscaler.kube.watch.slim import SlimNode, SlimPod
from autoscaler.kube.watch.watch import ResourceCache


class GoneNodes:
    """Remembers which are gone, and since when that is certain."""

    def __init__(self, nodes: ResourceCache[SlimNode], *, age_s_max: float) -> None:
        """Prepare.

        Args:
            nodes: The cache of nodes.
            age_s_max: Beyond this age, in seconds, what is known of them says of none that it is gone.
        """
        self._nodes = nodes
        self._age_s_max = age_s_max
        self._since: dict[str, float] = {}

    def problem(self, namespaces: Iterable[NamespaceCaches]) -> str:
        """The one contradiction of nodes, for people: none is listed, and pods are bound to some. Empty: no."""
        cache = self._nodes
        if cache.objects or not cache.synced:
            return ""
        pods = (pod for each in namespaces for pod in each.pods.objects.values())
        if any(pod.node and pod.phase not in OVER for pod in pods):
            return (
                "nodes: none is listed, and pods are bound to some: none of them is taken for gone"
            )
        return ""

    def look(
        self, pods: Sequence[SlimPod], *, namespaces: Iterable[NamespaceCaches], at: float
    ) -> Mapping[str, float]:
        """Find those that these pods are bound to and that are gone, and when that was first certain.

        A node is missing for certain only once the cache of nodes has seen all that happened up to
        the pod's own last change: else the pod may be bound to a node that is so new that its event
        is still on the way (the API server counts resourceVersions over all resources of one etcd).
        Once it is certain it stays so until the node is there, or the pods are gone: a pod that is
        written again (as its deletion begins) is ahead of the nodes for a while. While nodes are not
        known freshly, none is listed at all, or one is there and has no name, no further one is found.
        """
        cache = self._nodes
        fresh = cache.synced and at - cache.confirmed_at <= self._age_s_max
        version = version_number(cache.version) if fresh else 0
        if self.problem(namespaces) or any(
            name.startswith(NAMELESS) for _, name in cache.unreadable
        ):
            version = 0
        since: dict[str, float] = {}
        for pod in pods:
            if ("", pod.node) in cache.objects or ("", pod.node) in cache.unreadable:
                continue
            if pod.node in self._since:
                since[pod.node] = self._since[pod.node]
            elif 0 < pod.version <= version:
                since[pod.node] = at
        self._since = since
        return since
