"""Nodes that are being, or have been, taken away, as a look-up by row.

What runs on a doomed node is no supply. What runs on a node *at risk* still is: it serves as before, and
only what is to stand in for it is asked for in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import (
    NODE_STATUS,
    BoolArray,
    Interruption,
    InterruptionKind,
    NodeColumns,
)
from autoscaler.core.tuning import TUNING


@dataclass(frozen=True, slots=True, kw_only=True)
class DoomedNode:
    """One node with an interruption: doomed or, where its kind is Risk, at risk."""

    index: int
    """Its row in `Observed.nodes`."""
    name: str
    kind: InterruptionKind
    """Lost: gone or NotReady, whatever its marks say; it is never cordoned or evicted by us."""
    drained_elsewhere: bool
    """Somebody else empties it."""
    source: str
    noticed_at: float
    deadline_at: float | None
    """When the machine is gone; None: not said, or it is gone already."""
    unschedulable: bool

    @property
    def lost(self) -> bool:
        """Gone or NotReady."""
        return self.kind is InterruptionKind.LOST

    @property
    def at_risk(self) -> bool:
        """Not doomed: it may be taken away, or not."""
        return self.kind is InterruptionKind.RISK


@dataclass(frozen=True, slots=True, kw_only=True)
class Doom:
    """All nodes of one observation that are doomed or at risk."""

    nodes: tuple[DoomedNode, ...]
    """In order of name."""
    doomed: BoolArray
    """By node row, with one more for NO_NODE (which indexes the last), so that
    `doomed[replicas.node]` is the mask of doomed rows."""
    lost: BoolArray
    """Likewise."""
    at_risk: BoolArray | None
    """Likewise; none of them is doomed. None: no node is at risk."""


def find_doomed(
    nodes: NodeColumns, interruptions: Iterable[Interruption], *, at: float
) -> Doom | None:
    """Return the nodes that are doomed or at risk; None where there is none.

    A node that is gone or NotReady is lost whatever its mark says: a Node that is gone means that
    the interruption happened. A NotReady one with a notice and a deadline stays a termination: a
    kubelet that shuts down says so by turning NotReady, and its pods still want to be drained.

    One that blinks is not lost: a kubelet that says itself that it is not ready may say the opposite in a
    moment, and where all nodes fall silent together it is their connection to the API server that went.
    """
    marks = {interruption.node: interruption for interruption in interruptions}
    healthy = np.count_nonzero(nodes.exists) + np.count_nonzero(nodes.ready)
    if not marks and healthy == 2 * len(nodes):
        return None
    blinking = _blinking(nodes, marks, at=at)
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
        if (mark is None and exists and ready) or name in blinking:
            continue
        kind = _kind(mark, exists=exists, ready=ready)
        lost = kind is InterruptionKind.LOST
        found.append(
            DoomedNode(
                index=index,
                name=name,
                kind=kind,
                drained_elsewhere=mark is not None and mark.drained_elsewhere,
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
    at_risk = np.zeros(len(nodes) + 1, dtype=np.bool_)
    for node in found:
        doomed[node.index] = not node.at_risk
        lost_mask[node.index] = node.lost
        at_risk[node.index] = node.at_risk
    return Doom(
        nodes=tuple(found),
        doomed=doomed,
        lost=lost_mask,
        at_risk=at_risk if np.count_nonzero(at_risk) else None,
    )


def _blinking(nodes: NodeColumns, marks: Mapping[str, Interruption], *, at: float) -> set[str]:
    """Return the nodes that are not ready for so short a time that they may be again in a moment.

    Whether all fell silent together is judged once, as the node controller has looked at all of them:
    a node that is lost does not come back because others follow it.
    """
    silent = nodes.exists & ~nodes.ready
    if not np.count_nonzero(silent):
        return set()
    since = {
        index: mark.noticed_at
        for index in np.flatnonzero(silent).tolist()
        if (mark := marks.get(nodes.name[index])) is not None and mark.kind is InterruptionKind.LOST
    }
    all_unheard = len(nodes) > 1 and len(since) == len(nodes) and bool(np.all(nodes.unheard))
    last_at = max(since.values(), default=0.0)
    found = set()
    for index, turned_at in since.items():
        together = all_unheard and last_at <= turned_at + TUNING.node_sweep_s
        patience_s = TUNING.node_sweep_s
        if together or not nodes.unheard[index]:
            patience_s = TUNING.not_ready_patience_s
        if at - turned_at <= patience_s:
            found.add(nodes.name[index])
    return found


def _kind(mark: Interruption | None, *, exists: bool, ready: bool) -> InterruptionKind:
    """Return what a node is, by its mark and by what is seen of it.

    A node that is emptied at somebody's pace, or only at risk, and is NotReady, serves nothing and cannot
    be drained: that is a loss.
    """
    if mark is None or not exists:
        return InterruptionKind.LOST
    if not ready and mark.kind is not InterruptionKind.TERMINATION:
        return InterruptionKind.LOST
    return mark.kind
