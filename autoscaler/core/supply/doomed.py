"""Nodes that are being, or have been, taken away, as a look-up by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import (
    NODE_STATUS,
    BoolArray,
    Interruption,
    InterruptionKind,
    NodeColumns,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoomedNode:
    """One node with an interruption."""

    index: int
    """Its row in `Observed.nodes`."""
    name: str
    lost: bool
    """Gone or NotReady: it is never cordoned or evicted by us."""
    source: str
    noticed_at: float
    deadline_at: float | None
    """When the machine is gone; None: not said, or it is gone already."""
    unschedulable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Doom:
    """All doomed nodes of one observation."""

    nodes: tuple[DoomedNode, ...]
    """In order of name."""
    doomed: BoolArray
    """By node row, with one more for NO_NODE (which indexes the last), so that
    `doomed[replicas.node]` is the mask of doomed rows."""
    lost: BoolArray
    """Likewise."""


def find_doomed(
    nodes: NodeColumns, interruptions: Iterable[Interruption], *, at: float
) -> Doom | None:
    """Return the doomed nodes; None where there is none.

    A node that is gone or NotReady is lost whatever its mark says: a Node that is gone means that
    the interruption happened. A NotReady one with a notice and a deadline stays a termination: a
    kubelet that shuts down says so by turning NotReady, and its pods still want to be drained.
    """
    marks = {interruption.node: interruption for interruption in interruptions}
    healthy = np.count_nonzero(nodes.exists) + np.count_nonzero(nodes.ready)
    if not marks and healthy == 2 * len(nodes):
        return None
    found: list[DoomedNode] = []
    rows = enumerate(
        zip(
            nodes.name,
            nodes.exists.tolist(),
            nodes.ready.tolist(),
            nodes.unschedulable.tolist(),
            strict=True,
        )
    )
    for index, (name, exists, ready, unschedulable) in rows:
        mark = marks.get(name)
        if mark is None and exists and ready:
            continue
        lost = not exists or mark is None or mark.kind is InterruptionKind.LOST
        found.append(
            DoomedNode(
                index=index,
                name=name,
                lost=lost,
                source=NODE_STATUS if mark is None else mark.source,
                noticed_at=at if mark is None else mark.noticed_at,
                deadline_at=None if mark is None or lost else mark.deadline_at,
                unschedulable=unschedulable,
            )
        )
    if not found:
        return None
    doomed = np.zeros(len(nodes) + 1, dtype=np.bool_)
    lost_mask = np.zeros(len(nodes) + 1, dtype=np.bool_)
    for node in found:
        doomed[node.index] = True
        lost_mask[node.index] = node.lost
    return Doom(nodes=tuple(found), doomed=doomed, lost=lost_mask)
