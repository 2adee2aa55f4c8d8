"""The interruptions that stand, as a level: marks on nodes, and nodes that are lost.

A mark that carries no time of its own is dated when it was first seen, and keeps that date for as long
as it stands: a deadline that moved with every tick would never come. What a mark looks like is not
known here: `interruptions/node_marks.py` reads it, and is handed in as a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from autoscaler.core.state import Interruption, InterruptionKind
from autoscaler.kube.slim import Node, Pod
from autoscaler.kube.watch import Change, Key

LOST_SOURCE = "node"
"""`Interruption.source` of a node that is gone or not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A notice that was read from a Node object."""

    interruption: Interruption
    problem: str = ""
    """What of it could not be read, and what was taken instead; empty: all could."""


MarkFunction: TypeAlias = Callable[[Mapping[str, Any], float], Mark | None]
"""Of a Node object and the time at which its mark, if undated, was first seen."""


class Notices:
    """Which nodes are being, or have been, taken away."""

    def __init__(self, marks: MarkFunction) -> None:
        self._read = marks
        self._marks: dict[str, Mark] = {}
        self._gone_since: dict[str, float] = {}

    def node_changed(self, change: Change[Node], *, at: float) -> Mark | None:
        """Take in one node; the mark, if it is one that did not stand before."""
        name = change.key[1]
        if change.after is None:
            self._marks.pop(name, None)
            return None
        before, mark = self._marks.get(name), self._read(change.after.marks, at)
        if mark is None:
            self._marks.pop(name, None)
            return None
        if before is None or before.interruption.source != mark.interruption.source:
            self._marks[name] = mark
            return mark
        first_seen_at = before.interruption.noticed_at
        self._marks[name] = self._read(change.after.marks, first_seen_at) or mark
        return None

    @property
    def problems(self) -> tuple[str, ...]:
        """Marks that could be read in part only, for people."""
        return tuple(mark.problem for _, mark in sorted(self._marks.items()) if mark.problem)

    def standing(
        self, *, at: float, nodes: Mapping[Key, Node], gone: Iterable[str], bound: Iterable[str]
    ) -> tuple[Interruption, ...]:
        """All of them, ordered by node.

        Args:
            at: Now.
            nodes: All nodes there are.
            gone: Nodes without a Node object that replicas are bound to.
            bound: Nodes that replicas are bound to.
        """
        found = {name: mark.interruption for name, mark in self._marks.items()}
        for name in bound:
            node = nodes.get(("", name))
            if node is not None and name not in found and not math.isnan(node.not_ready_since):
                found[name] = lost(name, at=node.not_ready_since)
        self._gone_since = {name: self._gone_since.get(name, at) for name in gone}
        for name, since in self._gone_since.items():
            found[name] = lost(name, at=since)
        return tuple(found[name] for name in sorted(found))


def lost(node: str, *, at: float) -> Interruption:
    """The interruption of a node that is gone or not ready."""
    return Interruption(
        node=node,
        kind=InterruptionKind.LOST,
        source=LOST_SOURCE,
        noticed_at=at,
        deadline_at=None,
    )


def gone_nodes(pods: Sequence[Pod], nodes: Mapping[Key, Node], *, version: int) -> frozenset[str]:
    """Nodes that pods are bound to and that no longer exist.

    A node is missing for certain only once the cache of nodes has seen all that happened up to the
    pod's own last change: else the pod may be bound to a node that is so new that its event is still
    on the way. `version` is the resourceVersion that the cache of nodes has reached; the API server
    counts them over all resources of one etcd.
    """
    return frozenset(
        pod.node
        for pod in pods
        if pod.node and ("", pod.node) not in nodes and pod.version <= version
    )
