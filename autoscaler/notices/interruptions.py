"""The interruptions that are in force: marks on nodes, and nodes that are lost.

A mark that carries no time of its own is dated when it was first seen, and keeps that date while it
stays on the node: a deadline that moved with every tick would never come. What a mark looks like is not
known here: a function reads it (`NOTICE_SOURCES`). The cluster is not asked: changed nodes, and the nodes with
replicas that are gone or not ready, are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from autoscaler.core.contract.state import NODE_STATUS, Interruption, InterruptionKind
from autoscaler.kube.watch.slim import SlimNode
from autoscaler.kube.watch.watch import ObjectChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A notice that was read from a Node object."""

    interruption: Interruption
    """Its deadline is set."""
    problem: str = ""
    """What of it could not be read, and what was taken instead; empty: all could."""


MarkFunction: TypeAlias = Callable[[Mapping[str, Any], float], tuple[Mark, ...]]
"""Called with a Node object, and the time at which its undated marks were first seen; returns its marks,
at most one of each source."""


class Interruptions:
    """Which nodes are being, or have been, taken away."""

    def __init__(self, read_marks: MarkFunction) -> None:
        self._read_marks = read_marks
        self._marks: dict[str, dict[str, Mark]] = {}
        """By node and source."""

    def nodes_changed(
        self,
        changes: Sequence[ObjectChange[SlimNode]],
        *,
        at: float,
        has_replicas_on: Callable[[str], bool],
    ) -> list[Interruption]:
        """Take in changed nodes; returns the interruptions that are new or whose deadline came nearer.

        Args:
            changes: As the watch of nodes tells them.
            at: Now, in seconds.
            has_replicas_on: Whether a node carries replicas: else its loss is no interruption.
        """
        found = []
        for change in changes:
            name = change.key[1]
            noticed = self._take_in_marks(change, at=at)
            if noticed is not None:
                found.append(noticed)
            elif _is_loss(change) and has_replicas_on(name):
                since = change.after.not_ready_since if change.after else at
                found.append(lost_node(name, at=since))
        return found

    def current(
        self, *, gone_since: Mapping[str, float], not_ready_since: Mapping[str, float]
    ) -> tuple[Interruption, ...]:
        """All that are in force, one a node, ordered by node: of several marks the soonest deadline.

        A node that is gone is lost whatever its marks said; one that is there and not ready is lost
        unless it is marked.

        Args:
            gone_since: Nodes with replicas whose Node object is gone, and since when, in seconds.
            not_ready_since: Nodes with replicas that are not Ready, and since when, in seconds.
        """
        found = {name: lost_node(name, at=since) for name, since in not_ready_since.items()}
        found |= {name: _soonest(marks) for name, marks in self._marks.items()}
        found |= {name: lost_node(name, at=since) for name, since in gone_since.items()}
        return tuple(found[name] for name in sorted(found))

    @property
    def problems(self) -> tuple[str, ...]:
        """Marks that could be read in part only, for people."""
        return tuple(
            mark.problem
            for _, marks in sorted(self._marks.items())
            for mark in marks.values()
            if mark.problem
        )

    def _take_in_marks(self, change: ObjectChange[SlimNode], *, at: float) -> Interruption | None:
        """Take in the marks of one node; its interruption, if it is new or its deadline came nearer."""
        name = change.key[1]
        before = self._marks.pop(name, {})
        if change.after is None:
            return None
        marks = {
            mark.interruption.source: self._with_first_date(mark, change.after, before)
            for mark in self._read_marks(change.after.marks, at)
        }
        if not marks:
            return None
        self._marks[name] = marks
        soonest = _soonest(marks)
        if before and _deadline(_soonest(before)) <= _deadline(soonest):
            return None
        return soonest

    def _with_first_date(self, mark: Mark, node: SlimNode, before: Mapping[str, Mark]) -> Mark:
        """The mark, dated as the one of the same source that was on the node before, if one was."""
        source = mark.interruption.source
        known = before.get(source)
        if known is None:
            return mark
        for again in self._read_marks(node.marks, known.interruption.noticed_at):
            if again.interruption.source == source:
                return again
        return mark


def lost_node(node: str, *, at: float) -> Interruption:
    """The interruption of a node that is gone or not ready since `at`, in seconds."""
    return Interruption(
        node=node,
        kind=InterruptionKind.LOST,
        source=NODE_STATUS,
        noticed_at=at,
        deadline_at=None,
    )


def _is_loss(change: ObjectChange[SlimNode]) -> bool:
    """Whether a node that was ready is not ready any more, or gone."""
    before, after = change.before, change.after
    if before is None or not before.ready:
        return False
    return after is None or not after.ready


def _soonest(marks: Mapping[str, Mark]) -> Interruption:
    """Ties go by name of the source, so that it does not change from tick to tick."""
    found = (mark.interruption for mark in marks.values())
    return min(found, key=lambda each: (_deadline(each), each.source))


def _deadline(interruption: Interruption) -> float:
    return math.inf if interruption.deadline_at is None else interruption.deadline_at
