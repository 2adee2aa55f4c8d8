"""How one read of a source ended: the label `outcome` of the metrics and the words of the logs."""

from __future__ import annotations

from enum import StrEnum


class ReadOutcome(StrEnum):
    """A closed set, so that every series exists from the start."""

    READ = "Read"
    LATE = "Late"
    """Read, and used, but it took longer than a period: the source is slow, or we are."""
    NOT_READY = "NotReady"
    """Not to be had from a pod that is not Ready: its port is closed while it loads. No error."""
    REFUSED = "Refused"
    """Refused, reset or unreachable, by something that should answer; or not asked, as what we would
    need for it (a token, a CA, an address) is not there."""
    TIMED_OUT = "TimedOut"
    STATUS = "Status"
    """Answered with an HTTP status other than 200."""
    NOT_METRICS = "NotMetrics"
    """Answered with something else than was asked for: HTML, JSON, a malformed line, compressed."""
    TRUNCATED = "Truncated"
    TOO_LARGE = "TooLarge"
    """More bytes, lines, rows or labels than such an answer has."""
    IMPLAUSIBLE = "Implausible"
    """A count that no server can hold, or a time that has not come yet."""
    DUPLICATE = "Duplicate"
    """Several targets of a Prometheus claim to be one pod, and which of them is it cannot be told."""
    NO_SIGNAL = "NoSignal"
    """A sound answer that has none of the series asked for."""
    BROKEN = "Broken"
    """A bug of ours in reading it; the log has the trace. Whatever it is read for is unknown."""


GOOD: frozenset[ReadOutcome] = frozenset({ReadOutcome.READ, ReadOutcome.LATE})
"""There is a value."""
ERRORS: frozenset[ReadOutcome] = frozenset(ReadOutcome) - GOOD - {ReadOutcome.NOT_READY}
"""What counts as an error of a source."""
