"""How one read of a source ended: the label `outcome` of the metrics and the words of the logs."""

from __future__ import annotations

from enum import StrEnum


class ReadOutcome(StrEnum):
    """A closed set, so that every series exists from the start."""

    READ = "Read"
    NOT_READY = "NotReady"
    """Not to be had from a pod that is not Ready: its port is closed while it loads. No error."""
    REFUSED = "Refused"
    """Refused, reset or unreachable, by something that should answer."""
    TIMED_OUT = "TimedOut"
    STATUS = "Status"
    """Answered with an HTTP status other than 200."""
    NOT_METRICS = "NotMetrics"
    """Answered with something else than was asked for: HTML, JSON, a malformed line."""
    TRUNCATED = "Truncated"
    TOO_LARGE = "TooLarge"
    NO_SIGNAL = "NoSignal"
    """A sound answer that has none of the series asked for."""


ERRORS: frozenset[ReadOutcome] = frozenset(ReadOutcome) - {ReadOutcome.READ, ReadOutcome.NOT_READY}
"""What counts as an error of a source."""
