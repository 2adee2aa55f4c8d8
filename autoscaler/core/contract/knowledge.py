"""What became of the knowledge of a process before this one, which was given back to the engine.

It comes from where that process kept it, one text a model, with the event `KnowledgeRead`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class KnowledgeEnd(StrEnum):
    """How one `KnowledgeRead` ended."""

    TAKEN = "Taken"
    """All of it, or the parts that are named."""
    UNKNOWN_MODEL = "UnknownModel"
    """The fleet has no such model (any more)."""
    UNREADABLE = "Unreadable"
    """It is not what any version writes."""
    OTHER_VERSION = "OtherVersion"
    """Another version of the autoscaler wrote it, in another form."""
    TOO_OLD = "TooOld"
    FROM_AHEAD = "FromAhead"
    """It was written at a moment that lies ahead of now."""
    TAKEN_BEFORE = "TakenBefore"
    """This engine was given some already: nothing counts twice."""


class KnowledgeTaken(NamedTuple):
    """What one `KnowledgeRead` led to."""

    model: str
    end: KnowledgeEnd
    written_at: float | None
    """When it was written, seconds; None: it does not say."""
    parts: tuple[str, ...]
    """That were taken, by name, in order."""
    left_out: tuple[str, ...]
    """Each part that was not, and why, for people."""
    message: str
    """Why nothing was taken, for people; empty: something was."""
