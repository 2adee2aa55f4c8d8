"""What a source of notices reads from one object, and between which moments that can have been written.

Every moment in an object was written by somebody's clock, which need not agree with ours. `Seen` holds
what we know ourselves, and bounds them: a notice is never dated later than it was seen, so no deadline
is ever later than that and its lead; nor earlier than the last moment at which it was certainly not there,
so a clock that is behind does not make a new notice an old one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from autoscaler.core.contract.state import Interruption


class Watched(StrEnum):
    """Kinds of objects that notices are read from; the value is the resource's plural."""

    NODE = "nodes"
    EVENT = "events"
    CLAIM = "nodeclaims"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """When a notice came to us, by our clock, in seconds."""

    at: float
    """First seen."""
    after: float = -math.inf
    """The last moment at which it was certainly not there; before that there is no bound, as at the start."""

    def bounded(self, own_at: float) -> float:
        """A notice's own time as far as it can be true; the first sight of one that has none (NaN)."""
        return self.at if math.isnan(own_at) else min(max(own_at, self.after), self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A notice that was read from an object."""

    interruption: Interruption
    """Its deadline is set where its kind is Termination. Its node may be empty: see `claim`."""
    claim: str = ""
    """Name of the NodeClaim that it is about, where it does not name the Node."""
    uid: str = ""
    """Of the object that it is about; empty: not said. One of another uid had the same name before."""
    holds_until: float = math.inf
    """By then it has come true, or will not: it is in force no longer. Seconds; infinite: as long as the
    object carries it."""
    presumed: bool = False
    """A termination only for want of another reason: where Events can be read, one would say so."""
    problem: str = ""
    """What of it could not be read, and what was taken instead; empty: all could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A source takes back what it said about a Node until this moment."""

    source: str
    node: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableNotice:
    """Something that is meant as a notice and cannot be read: no notice, and a problem for people."""

    problem: str


Reading: TypeAlias = Mark | Withdrawal | UnreadableNotice
ReadFunction: TypeAlias = Callable[[Mapping[str, Any], Seen], tuple[Reading, ...]]
"""Called with an object, or the parts of it that its cache keeps, and with when its notices came; returns
what it says, at most one mark of each source. A message that is not known says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSource:
    """One reader of notices."""

    watched: Watched
    """What it reads."""
    read: ReadFunction
    labels: tuple[str, ...]
    """Every `Interruption.source` that it gives."""
