"""What the demo shows at one moment, from the cluster, the clients and the daemon's decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulations.box.demo.exporters import is_exporter
from simulations.box.local_cluster.machines.nodes import CAPACITY_TYPE_LABEL
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


@dataclass(slots=True, kw_only=True)
class Picture:
    """Everything a view needs."""

    seconds: float
    """How long the load lasts."""
    at_s: float = 0.0
    """Since the load began; negative before."""
    phase: str = ""
    sent: int = 0
    completed: int = 0
    lost: int = 0
    in_flight: int = 0
    replicas: dict[str, ReplicaCounts] = field(
        default_factory=lambda: {kind: ReplicaCounts() for kind in CAPACITY_TYPES}
    )
    decision: Mapping[str, Any] = field(default_factory=dict)
    """The last one, as `/debug/models` has it; empty: none yet."""
    framebuffers: list[float] = field(default_factory=list)
    """GPU memory of each replica of which the daemon knows it, bytes."""
    gpus_free: int | None = None
    """As the daemon knows from the exporters; None: of some machine it does not."""
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    """What is drawn over time, by name; None: unknown at that moment."""
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
            if is_exporter(pod):
                continue
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

    def see_gpus(self, page: Mapping[str, Any]) -> None:
        """Take in what the daemon has of GPUs, from `/debug/models`."""
        self.framebuffers = [float(each["used_bytes"]) for each in page.get("framebuffers", ())]
        free = [each["free"] for each in page.get("gpus", ())]
        self.gpus_free = sum(free) if free and None not in free else None

    def remember(self) -> None:
        """Add a point to the curves."""
        ready = sum(replicas.ready for replicas in self.replicas.values())
        for name, value in (
            ("in flight", float(self.in_flight)),
            ("demand", self.measure("demand_replicas")),
            ("ready replicas", float(ready)),
            ("forecast, high", self.measure("forecast_high_replicas")),
            ("forecast, low", self.measure("forecast_low_replicas")),
        ):
            self.curves.setdefault(name, []).append(value)


def _labels(node: Mapping[str, Any]) -> dict[str, str]:
    return dict(node.get("metadata", {}).get("labels", {}))


def _why(decision: Mapping[str, Any]) -> str:
    """The message of the step that had the last word."""
    for step in reversed(decision["trail"]):
        if step["reason"] == decision["reason"]:
            return str(step["message"])
    return str(decision["trail"][-1]["message"]) if decision["trail"] else ""
