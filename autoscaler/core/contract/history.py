"""What a model's pods did before this engine looked, a row a minute; and what of it was taken in.

It comes from a store of metrics that was there before (Prometheus), all at once and once a model, with the
event `HistoryRead`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from autoscaler.core.contract.state import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryColumns:
    """Means over spans of equal length, summed over all pods of a model; NaN: unknown, never zero.

    Rows may come in any order, with gaps and twice: whoever takes them in puts them right.
    """

    at: FloatArray
    """[row]: the end of its span, seconds since the epoch."""
    span_s: float
    """Length of each, seconds, > 0."""
    arrivals_per_s: FloatArray
    """[row]: requests that came."""
    completed_per_s: FloatArray
    """[row]: requests that ended."""
    running_requests: FloatArray
    """[row]: that ran at one time."""
    waiting_requests: FloatArray
    """[row]: that waited at one time."""
    kv_usage_replicas: FloatArray
    """[row]: the used shares of the KV caches, added up: replicas' worth of full caches."""
    replicas: FloatArray
    """[row]: that said what they hold."""

    def __len__(self) -> int:
        return len(self.at)


class HistoryEnd(StrEnum):
    """What became of a history in the engine."""

    TAKEN = "Taken"
    UNKNOWN_MODEL = "UnknownModel"
    """The fleet has no such model (any more)."""
    NOTHING_NEW = "NothingNew"
    """No row is known that is older than the first observation and newer than what was taken before."""


class HistoryTaken(NamedTuple):
    """What one `HistoryRead` led to."""

    model: str
    end: HistoryEnd
    from_at: float | None
    """The beginning of the first row that taught something, seconds; None: none did."""
    until_at: float | None
    """The end of the last one."""
    rows: int
    """That taught something."""
    left_out: int
    """Known rows that did not: of a time that was observed or taken before, or lies ahead, or twice there."""
    known_ratio: float | None
    """Of the rows from the first to the last one: those that are known; None: there is none."""
