"""How drains go, told from what was observed.

One begins with the first eviction on a doomed node and ends when its last replica is gone, in time or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from autoscaler.core.contract.commands import Command, DeletePod, EvictPod
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.state import InterruptionKind


class DrainOutcome(StrEnum):
    """How a drain ended."""

    FINISHED = "Finished"
    """The last replica was gone before the deadline."""
    OVERRAN = "Overran"
    """The deadline came first."""
    WITHDRAWN = "Withdrawn"
    """The notice was taken back with replicas still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One node's, ended."""

    node: str
    outcome: DrainOutcome
    replicas: int
    """On the node when it began."""
    duration_s: float


@dataclass(slots=True)
class _Open:
    began_at: float
    deadline_at: float | None
    replicas: int


class Drains:
    """The drains that are under way."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def follow(
        self, event: Observed, commands: tuple[Command, ...]
    ) -> tuple[list[str], list[Drain]]:
        """Take in one observation and what it led to: nodes whose drain began, drains that ended."""
        doomed = {
            each.node: each.deadline_at
            for each in event.interruptions
            if each.kind is InterruptionKind.TERMINATION
        }
        if not doomed and not self._open:
            return [], []
        left = _replicas_on(event, set(doomed) | set(self._open))
        evicted = {
            (command.namespace, command.pod)
            for command in commands
            if isinstance(command, EvictPod | DeletePod)
        }
        began = [
            node
            for node, pods in left.items()
            if node in doomed and node not in self._open and evicted & pods
        ]
        for node in began:
            self._open[node] = _Open(event.at, doomed[node], len(left[node]))
        ended = []
        for node, drain in list(self._open.items()):
            outcome = _outcome(drain, at=event.at, left=len(left[node]), doomed=node in doomed)
            if outcome is not None:
                del self._open[node]
                ended.append(
                    Drain(
                        node=node,
                        outcome=outcome,
                        replicas=drain.replicas,
                        duration_s=event.at - drain.began_at,
                    )
                )
        return began, ended


def _outcome(drain: _Open, *, at: float, left: int, doomed: bool) -> DrainOutcome | None:
    late = drain.deadline_at is not None and at > drain.deadline_at
    if late:
        return DrainOutcome.OVERRAN
    if left == 0:
        return DrainOutcome.FINISHED
    return None if doomed else DrainOutcome.WITHDRAWN


def _replicas_on(event: Observed, nodes: set[str]) -> dict[str, set[tuple[str, str]]]:
    """Pods by node, of these nodes."""
    found: dict[str, set[tuple[str, str]]] = {node: set() for node in nodes}
    for index, name in enumerate(event.nodes.name):
        if name not in nodes:
            continue
        for model in event.models:
            namespace = model.model.partition("/")[0]
            for row in np.flatnonzero(model.replicas.node == index).tolist():
                found[name].add((namespace, model.replicas.name[row]))
    return found
