"""The notice that a Node carries: one annotation, and how it is written down.

    inference-autoscaler.dev/notice:
      {"kind":"Termination","source":"aws-imds","deadline":"2026-04-24T17:11:44Z","noticed":"2026-04-24T17:09:44Z"}

`kind` is a word of `NoticeKind`. `deadline` is there for a termination, always, and for nothing else. Both
moments are RFC 3339, UTC, to the second. The key is absent where there is no notice. The daemon reads it
in `autoscaler/notices/node_marks.py`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

NOTICE_ANNOTATION = "inference-autoscaler.dev/notice"
ALIVE_ANNOTATION = "inference-autoscaler.dev/node-agent"
"""The source, while an agent runs there: else an agent with nothing to say looks like none."""
DRAINED_ANNOTATION = "inference-autoscaler.dev/drained"
"""Read, never written: the moment, RFC 3339, at which the daemon had emptied this Node (in its words
`DRAINED_ANNOTATION` of `autoscaler/core/contract/commands.py`). With `--acknowledge` it lets Azure begin early."""

YEAR_10_000 = 253_402_300_800
"""Seconds since the epoch: its year has five digits, which RFC 3339 does not know."""


class NoticeKind(StrEnum):
    """What will become of the machine: the words of `InterruptionKind`, worst first."""

    TERMINATION = "Termination"
    DISRUPTION = "Disruption"
    RISK = "Risk"


RANKS = {kind: rank for rank, kind in enumerate(NoticeKind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a metadata service says in one answer."""

    kind: NoticeKind
    deadline_at: float | None = None
    """Seconds since the epoch. None: no machine ends."""
    dated: bool = True
    """Whether the service gave the deadline; else it is that of a notice that began at this answer."""
    noticed_at: float | None = None
    """When the cloud gave notice, where it says so. Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNotice:
    """What a Node carries."""

    kind: NoticeKind
    source: str
    """`aws-imds`, `gce-metadata` or `azure-imds`."""
    noticed_at: float
    """When it was first seen here, or as the cloud dates it. Whole seconds."""
    deadline_at: float | None
    """When the machine is gone. Whole seconds; None: it is not said to end."""

    def text(self) -> str:
        """The annotation's value."""
        parts = {"kind": str(self.kind), "source": self.source}
        if self.deadline_at is not None:
            parts["deadline"] = rfc3339(self.deadline_at)
        parts["noticed"] = rfc3339(self.noticed_at)
        return json.dumps(parts, separators=(",", ":"))


def read_notice(text: str | None) -> NodeNotice | None:
    """Read the annotation's value; None for what is none of ours."""
    try:
        parts = json.loads(text or "")
        return NodeNotice(
            kind=NoticeKind(parts["kind"]),
            source=str(parts["source"]),
            noticed_at=_needed(parts["noticed"]),
            deadline_at=_needed(parts["deadline"]) if "deadline" in parts else None,
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def worst(notices: list[NodeNotice]) -> NodeNotice | None:
    """Of several the worst kind, and of those the soonest deadline."""
    return min(notices, key=lambda each: _order(each.kind, each.deadline_at), default=None)


def worst_told(told: list[Told]) -> Told | None:
    """The same of what one answer says."""
    return min(told, key=lambda each: _order(each.kind, each.deadline_at), default=None)


def _order(kind: NoticeKind, deadline_at: float | None) -> tuple[int, float]:
    return RANKS[kind], math.inf if deadline_at is None else deadline_at


def rfc3339(at: float) -> str:
    """A moment as Kubernetes writes it: UTC, to the second."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time, rounded down; None for what is none or has no zone."""
    if not isinstance(text, str) or "T" not in text:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else whole_seconds(moment)


def whole_seconds(moment: datetime) -> float | None:
    """Seconds since the epoch, rounded down; None for what lies outside of what can be written down."""
    at = math.floor(moment.timestamp())
    return float(at) if 0 <= at < YEAR_10_000 else None


def _needed(text: object) -> float:
    at = moment_of(text)
    if at is None:
        raise ValueError(text)
    return at
