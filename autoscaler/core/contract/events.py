"""What enters: the six events.

`at` is seconds since the epoch (wall clock at start plus the monotonic clock), never decreasing.
`id` is a sequence number given at dequeue. At equal `at` the order is: CommandFinished,
NoticeReceived, SpecChanged, KnowledgeRead, HistoryRead, Observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import (
    Doubt,
    FloatOrNaN,
    Interruption,
    ModelObservation,
    NodeColumns,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What all have."""

    id: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecChanged(_Event):
    """The whole specification of the fleet, complete: models not in it are forgotten."""

    fleet: FleetSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(_Event):
    """All that is seen, cut once a tick and complete for the fleet. Only this event decides."""

    nodes: NodeColumns
    interruptions: tuple[Interruption, ...]
    """Ordered by node. Absent while the Node exists means withdrawn."""
    models: tuple[ModelObservation, ...]
    """In order of key. A model of the spec that is absent holds, with a condition."""
    cluster_at: FloatOrNaN
    """When the cluster's state was last known to be in step (watch event, bookmark or list).
    Older than `EngineSettings.cluster_age_s_max` is blind: nothing is scaled down."""
    doubts: tuple[Doubt, ...] = ()
    """Of the models that are absent, those of which it is known why; in order of key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeReceived(_Event):
    """An interruption, early. The shell cuts an `Observed` that has it at once."""

    interruption: Interruption


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFinished(_Event):
    """One write was accepted or refused. Completion is read from the next `Observed`."""

    command: str
    """Its id."""
    accepted: bool
    reason: str
    """`Accepted`, `Conflict`, `Forbidden`, `NotFound`, `DisruptionBudget`, `Expired`,
    `Superseded` (replaced while queued), `Skipped` (what it was to follow failed), `Standby` (another
    daemon acts), `Withheld` (dry run), `Unavailable`, `Failed`."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRead(_Event):
    """What one model's traffic was before it was observed. It decides nothing."""

    model: str
    """`namespace/name`; one that the fleet does not have (any more) changes nothing."""
    history: HistoryColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeRead(_Event):
    """What an earlier process had learnt of one model, as it wrote it. It decides nothing."""

    model: str
    """`namespace/name`; one that the fleet does not have (any more) changes nothing."""
    text: str
    """What `Engine.remember` wrote, or whatever stands in its place."""


Event: TypeAlias = (
    SpecChanged | Observed | NoticeReceived | CommandFinished | HistoryRead | KnowledgeRead
)
