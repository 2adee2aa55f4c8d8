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

from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.kube.watch.slim import Node, Pod
from autoscaler.kube.watch.watch import Change, Key

LOST_SOURCE = "node-status"
"""`Interruption.source` of a node that is gone or not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A notice that was read from a Node object."""

    interruption: Interruption
    """Its deadline is set."""
    problem: str = ""
    """What of it could not be read, and what was taken instead; empty: all could."""


MarkFunction: TypeAlias = Callable[[Mapping[str, Any], float], tuple[Mark, ...]]
"""Of a Node object, and the time at which its undated marks were first seen: its marks, at most one
of each source."""


class Notices:
    """Which nodes are being, or have been, taken away."""

    def __init__(self, marks: MarkFunction) -> None:
        self._read = marks
        self._marks: dict[str, dict[str, Mark]] = {}
        """By node and source."""
        self._gone_since: dict[str, float] = {}

    def node_changed(self, change: Change[Node], *, at: float) -> Interruption | None:
        """Take in one node; its interruption, if it is new or its deadline came nearer."""
        name = change.key[1]
        before = self._marks.pop(name, {})
        if change.after is None:
            return None
        marks = {
            mark.interruption.source: self._redated(mark, change.after, before)
            for mark in self._read(change.after.marks, at)
        }
        if not marks:
            return None
        self._marks[name] = marks
        soonest = _soonest(marks)
        if before and _deadline(_soonest(before)) <= _deadline(soonest):
            return None
        return soonest

    def _redated(self, mark: Mark, node: Node, before: Mapping[str, Mark]) -> Mark:
        """The mark as it is when one of its source stood before: with the date of that one."""
        source = mark.interruption.source
        known = before.get(source)
        if known is None:
            return mark
        for again in self._read(node.marks, known.interruption.noticed_at):
            if again.interruption.source == source:
                return again
        return mark

    @property
    def problems(self) -> tuple[str, ...]:
        """Marks that could be read in part only, for people."""
        return tuple(
            mark.problem
            for _, marks in sorted(self._marks.items())
            for mark in marks.values()
            if mark.problem
        )

    def gone(
        self, pods: Sequence[Pod], nodes: Mapping[Key, Node], *, version: int | None, at: float
    ) -> frozenset[str]:
        """Nodes that pods are bound to and that no longer exist.

        A node is missing for certain only once the cache of nodes has seen all that happened up to
        the pod's own last change: else the pod may be bound to a node that is so new that its event
        is still on the way. Once it is certain it stays so until the node is there, or the pods are
        gone: a pod that is written again (as its deletion begins) is ahead of the nodes for a while.

        Args:
            pods: The replicas.
            nodes: All nodes there are.
            version: The resourceVersion that the cache of nodes has reached; the API server counts
                them over all resources of one etcd. None: the cache is blind; nothing new is said.
            at: Now.
        """
        since: dict[str, float] = {}
        for pod in pods:
            if not pod.node or ("", pod.node) in nodes:
                continue
            if pod.node in self._gone_since:
                since[pod.node] = self._gone_since[pod.node]
            elif version is not None and pod.version <= version:
                since[pod.node] = at
        self._gone_since = since
        return frozenset(since)

    def standing(
        self, *, nodes: Mapping[Key, Node], bound: Iterable[str]
    ) -> tuple[Interruption, ...]:
        """All of them, one a node, ordered by node: of several marks the soonest deadline.

        Args:
            nodes: All nodes there are.
            bound: Nodes that replicas are bound to; `gone` was asked about them before.
        """
        found = {name: _soonest(marks) for name, marks in self._marks.items()}
        for name in bound:
            node = nodes.get(("", name))
            if node is not None and name not in found and not node.ready:
                found[name] = lost(name, at=node.not_ready_since)
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


def _soonest(marks: Mapping[str, Mark]) -> Interruption:
    """Ties go by name of the source, so that it does not change from tick to tick."""
    found = (mark.interruption for mark in marks.values())
    return min(found, key=lambda each: (_deadline(each), each.source))


def _deadline(interruption: Interruption) -> float:
    return math.inf if interruption.deadline_at is None else interruption.deadline_at
