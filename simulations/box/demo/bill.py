"""What replicas cost: each pod is paid from its binding to a node until it is gone.

As the replay charges them. A replica that loads, drains or waits for its end is paid like one that
serves; one that no node was found for costs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from simulations.box.demo.exporters import is_exporter
from simulations.box.local_cluster.machines.nodes import CAPACITY_TYPE_LABEL
from simulations.box.local_cluster.store import Store


class Bill:
    """Follows the pods of a store, from now on."""

    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        """`now` is seconds on any clock."""
        self.paid_s: defaultdict[str, float] = defaultdict(float)
        """Seconds of replicas, by capacity type: `spot` or `on-demand`."""
        self._store = store
        self._now = now
        self._bound: dict[str, str] = {}
        """Capacity type of the node that a pod was bound to, by the pod's uid."""
        self._began_at = self._noted_at = now()

    @property
    def seconds(self) -> float:
        """From its beginning to its last note."""
        return self._noted_at - self._began_at

    async def run(self) -> None:
        """Keep it until cancelled."""
        while True:
            version = self._store.version
            self.note()
            await self._store.changed(version)

    def note(self) -> None:
        """Charge the time since the last note, and see what is bound now."""
        at = self._now()
        for capacity_type in self._bound.values():
            self.paid_s[capacity_type] += at - self._noted_at
        self._noted_at = at
        self._bound = {
            pod["metadata"]["uid"]: self._bound.get(pod["metadata"]["uid"])
            or self._capacity_type(pod["spec"]["nodeName"])
            for pod in self._store.all("pods")
            if pod["spec"].get("nodeName") and not is_exporter(pod)
        }

    def _capacity_type(self, node_name: str) -> str:
        node = self._store.find("nodes", "", node_name) or {"metadata": {}}
        return str(node["metadata"].get("labels", {}).get(CAPACITY_TYPE_LABEL, ""))
