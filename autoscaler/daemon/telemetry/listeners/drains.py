"""Drains, counted and logged: how the emptying of each doomed node went, as far as it was observed.

A drain begins with the first eviction on a doomed node and ends when its last replica is gone, in time or
not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import structlog

from autoscaler.core.contract.commands import DeletePod, EvictPod
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


@dataclass(slots=True)
class _OpenDrain:
    began_at: float
    deadline_at: float | None
    replicas: int
    """On the node when it began."""


class DrainListener(Listener):
    """Takes note of each drain."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._open: dict[str, _OpenDrain] = {}
        for outcome in DrainOutcome:
            metrics.count("drains_total", str(outcome), by=0)

    def handled(self, handled: Handled) -> None:
        """Count and log the drains that began or ended with this observation."""
        event = handled.event
        if not isinstance(event, Observed):
            return
        doomed = {
            each.node: each.deadline_at
            for each in event.interruptions
            if each.kind is InterruptionKind.TERMINATION
        }
        if not doomed and not self._open:
            return
        left = _replicas_on(event, set(doomed) | set(self._open))
        evicted = {
            (command.namespace, command.pod)
            for command in handled.outcome.commands
            if isinstance(command, EvictPod | DeletePod)
        }
        for node, pods in left.items():
            begins = handled.acts and node in doomed and node not in self._open
            if begins and evicted & pods:
                self._open[node] = _OpenDrain(event.at, doomed[node], len(pods))
                _log.info("drain.started", node=node)
        for node, drain in list(self._open.items()):
            outcome = _outcome(drain, at=event.at, left=len(left[node]), doomed=node in doomed)
            if outcome is not None:
                del self._open[node]
                self._take_note(node, drain, outcome, duration_s=event.at - drain.began_at)

    def _take_note(
        self, node: str, drain: _OpenDrain, outcome: DrainOutcome, *, duration_s: float
    ) -> None:
        self._metrics.count("drains_total", str(outcome))
        if outcome is DrainOutcome.FINISHED:
            self._metrics.measure("drain_duration_seconds", duration_s)
        late = outcome is DrainOutcome.OVERRAN
        (_log.warning if late else _log.info)(
            "drain.overran" if late else "drain.finished",
            node=node,
            outcome=str(outcome),
            replicas=drain.replicas,
            duration_s=round(duration_s, 3),
        )


def _outcome(drain: _OpenDrain, *, at: float, left: int, doomed: bool) -> DrainOutcome | None:
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
