"""What the demo shows at one moment, from the cluster, the clients and the daemon's decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulations.box.local_cluster.nodes import CAPACITY_TYPE_LABEL
from simulations.box.local_cluster.objects import condition_is_true
from simulations.box.local_cluster.store import Store

CAPACITY_TYPES = ("on-demand", "spot")
NEWS_KEPT = 200


@dataclass(slots=True)
class ReplicaCounts:
    """Pods of one capacity type, by what can be expected of them."""

    desired: int = 0
    ready: int = 0
    starting: int = 0
    doomed: int = 0
    """On a node that is being taken away, and not deleting yet."""
    draining: int = 0

    @property
    def paid(self) -> int:
        """All that hold a GPU."""
        return self.ready + self.starting + self.doomed + self.draining


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One point of the curves."""

    at_s: float
    in_flight: int
    ready: int
    desired: int
    demand: float | None
    forecast_low: float | None
    forecast_high: float | None


@dataclass(slots=True, kw_only=True)
class Picture:
    """Everything a view needs."""

    seconds: float
    """How long the load lasts."""
    at_s: float = 0.0
    """Since the load began; negative before."""
    phase: str = ""
    waiting: float | None = None
    running: float | None = None
    sent: int = 0
    completed: int = 0
    lost: int = 0
    in_flight: int = 0
    replicas: dict[str, ReplicaCounts] = field(
        default_factory=lambda: {kind: ReplicaCounts() for kind in CAPACITY_TYPES}
    )
    decision: Mapping[str, Any] = field(default_factory=dict)
    """The last one, as `/debug/models` has it; empty: none yet."""
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=4096))
    news: deque[str] = field(default_factory=lambda: deque(maxlen=NEWS_KEPT))
    """What was decided, and what happened, newest last."""
    news_total: int = 0

    def measure(self, name: str) -> float | None:
        """One of the decision's measures; None: unknown."""
        value = self.decision.get("measures", {}).get(name)
        return None if value is None else float(value)

    def tell(self, text: str) -> None:
        """Add a line of news."""
        self.news.append(f"{self.at_s:5.1f} s  {text}")
        self.news_total += 1

    def count(self, store: Store, doomed_nodes: frozenset[str]) -> None:
        """Take the replicas from the cluster's own objects."""
        found = {kind: ReplicaCounts() for kind in CAPACITY_TYPES}
        for pod in store.all("pods"):
            node = store.find("nodes", "", pod["spec"].get("nodeName", "")) or {}
            labels = {**pod["metadata"].get("labels", {}), **_labels(node)}
            kind = found[labels.get(CAPACITY_TYPE_LABEL) or labels["pool"]]
            if "deletionTimestamp" in pod["metadata"]:
                kind.draining += 1
            elif pod["spec"].get("nodeName") in doomed_nodes:
                kind.doomed += 1
            elif condition_is_true(pod, "Ready"):
                kind.ready += 1
            else:
                kind.starting += 1
        for deployment in store.all("deployments"):
            pool = deployment["spec"]["template"]["metadata"]["labels"]["pool"]
            found[pool].desired = int(deployment["spec"]["replicas"])
        self.replicas = found

    def decide(self, decision: Mapping[str, Any]) -> None:
        """Take in the daemon's last decision; a new one that changed something is news."""
        before, self.decision = self.decision, decision
        self.waiting, self.running = (
            self.measure("waiting_requests"),
            self.measure("running_requests"),
        )
        if decision.get("event") == before.get("event"):
            return
        changes = [
            f"{pool['pool']} {pool['current_replicas']} → {pool['desired_replicas']}"
            for pool in decision["pools"]
            if pool["desired_replicas"] not in {None, pool["current_replicas"]}
        ]
        if changes:
            self.tell(f"[{decision['reason']}] {', '.join(changes)}: {_why(decision)}")
        elif decision["reason"] != before.get("reason") and decision["direction"] == "Hold":
            self.tell(f"[{decision['reason']}] hold: {_why(decision)}")

    def remember(self) -> None:
        """Add a point to the curves."""
        self.moments.append(
            Moment(
                at_s=self.at_s,
                in_flight=self.in_flight,
                ready=sum(replicas.ready for replicas in self.replicas.values()),
                desired=sum(replicas.desired for replicas in self.replicas.values()),
                demand=self.measure("demand_replicas"),
                forecast_low=self.measure("forecast_low_replicas"),
                forecast_high=self.measure("forecast_high_replicas"),
            )
        )


def _labels(node: Mapping[str, Any]) -> dict[str, str]:
    return dict(node.get("metadata", {}).get("labels", {}))


def _why(decision: Mapping[str, Any]) -> str:
    """The message of the step that had the last word."""
    for step in reversed(decision["trail"]):
        if step["reason"] == decision["reason"]:
            return str(step["message"])
    return str(decision["trail"][-1]["message"]) if decision["trail"] else ""
