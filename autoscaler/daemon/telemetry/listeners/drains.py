"""Drains, counted and logged: how the emptying of each doomed node went, as far as it was observed.

A drain begins with the first eviction on a doomed node and ends when its last replica is gone, in time or
not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import structlog

from autoscaler.core.contract.commands import Command, DeletePod, EvictPod
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.telemetry.metrics import Metrics

_log = structlog.get_logger(__name__)


class DrainOutcome(StrEnum):
    """How a drain ended."""

    FINISHED = "Finished"
    """The last replica was gone before the deadline."""
    OVERRAN = "Overran"
    """The deadline came first."""
    WITHDRAWN = "Withdrawn"
    """The notice was taken back with replicas still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedDrain:
    """The drain of one node, ended."""

    node: str
    outcome: DrainOutcome
    replicas: int
    """On the node when it began."""
    duration_s: float
    """From the first eviction until the end was observed."""


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
    ) -> tuple[list[str], list[EndedDrain]]:
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
                    EndedDrain(
                        node=node,
                        outcome=outcome,
                        replicas=drain.replicas,
                        duration_s=event.at - drain.began_at,
                    )
                )
        return began, ended


class DrainListener(Listener):
    """Takes note of each drain."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._drains = Drains()
        for outcome in DrainOutcome:
            metrics.count("drains_total", str(outcome), by=0)

    def handled(self, handled: Handled) -> None:
        """Count and log the drains that began or ended with this observation."""
        if not isinstance(handled.event, Observed):
            return
        began, ended = self._drains.follow(handled.event, handled.outcome.commands)
        for node in began:
            _log.info("drain.started", node=node)
        for drain in ended:
            self._take_note(drain)

    def _take_note(self, drain: EndedDrain) -> None:
        self._metrics.count("drains_total", str(drain.outcome))
        if drain.outcome is DrainOutcome.FINISHED:
            self._metrics.measure("drain_duration_seconds", drain.duration_s)
        late = drain.outcome is DrainOutcome.OVERRAN
        (_log.warning if late else _log.info)(
            "drain.overran" if late else "drain.finished",
            node=drain.node,
            outcome=str(drain.outcome),
            replicas=drain.replicas,
            duration_s=round(drain.duration_s, 3),
        )


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
