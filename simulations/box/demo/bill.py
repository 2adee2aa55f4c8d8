"""What replicas cost: each pod is paid from its binding to a node until it is gone.

As the replay charges them. A replica that loads, drains or waits for its end is paid like one that
serves; one that no node was found for costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from simulations.box.local_cluster.nodes import CAPACITY_TYPE_LABEL
from simulations.box.local_cluster.store import Store


@dataclass(slots=True, kw_only=True)
class Stay:
    """One pod on one node; moments are of the bill's clock."""

    capacity_type: str
    """`spot` or `on-demand`, of its node when it was bound."""
    began_at: float
    ended_at: float | None = None


@dataclass(slots=True)
class Bill:
    """Follows the pods of a store."""

    store: Store
    now: Callable[[], float]
    """Seconds, on any clock."""
    stays: dict[str, Stay] = field(default_factory=dict)
    """By the pod's uid."""

    async def run(self) -> None:
        """Keep the stays until cancelled."""
        while True:
            version = self.store.version
            self.note()
            await self.store.changed(version)

    def note(self) -> None:
        """Take in what has changed."""
        at = self.now()
        bound = {
            pod["metadata"]["uid"]: str(pod["spec"]["nodeName"])
            for pod in self.store.all("pods")
            if pod["spec"].get("nodeName")
        }
        for uid, node_name in bound.items():
            if uid not in self.stays:
                node = self.store.find("nodes", "", node_name) or {"metadata": {}}
                capacity_type = node["metadata"].get("labels", {}).get(CAPACITY_TYPE_LABEL, "")
                self.stays[uid] = Stay(capacity_type=capacity_type, began_at=at)
        for uid, stay in self.stays.items():
            if uid not in bound and stay.ended_at is None:
                stay.ended_at = at

    def replica_seconds(self, *, since: float, until: float) -> dict[str, float]:
        """Paid seconds within a span, by capacity type."""
        sums: dict[str, float] = {}
        for stay in self.stays.values():
            ended_at = until if stay.ended_at is None else min(stay.ended_at, until)
            paid = max(0.0, ended_at - max(stay.began_at, since))
            sums[stay.capacity_type] = sums.get(stay.capacity_type, 0.0) + paid
        return sums

    def cost_usd(
        self, prices_usd_per_hour: Mapping[str, float], *, since: float, until: float
    ) -> float:
        """What those seconds cost."""
        seconds = self.replica_seconds(since=since, until=until)
        return sum(prices_usd_per_hour[kind] * paid / 3600.0 for kind, paid in seconds.items())
