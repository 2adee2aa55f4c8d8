"""A finding: one thing about a scale target that loses requests, starts or money, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.foreign_text import shown

TEXT_CHARACTERS_MAX = 1000
"""Of each part of a finding."""


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Requests are lost, or replicas do not come up: sooner or later, without anybody's mistake."""
    WARNING = "warning"
    """It may be meant; in some situation it costs requests, time or money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, as a value: all of them are shown at once."""

    severity: Severity
    reason: FindingReason
    path: str
    """In the object, as `spec.template.spec.terminationGracePeriodSeconds`."""
    found: str
    """What is written there, and what comes of it."""
    remedy: str
    """What to write instead."""

    def __str__(self) -> str:
        return f"{self.severity}: {self.reason}: {self.path}: found {self.found}; {self.remedy}"


def error(reason: FindingReason, path: str, *, found: str, remedy: str) -> Finding:
    """Build a finding that is an error."""
    return _finding(Severity.ERROR, reason, path, found=found, remedy=remedy)


def warning(reason: FindingReason, path: str, *, found: str, remedy: str) -> Finding:
    """Build a finding that is a warning."""
    return _finding(Severity.WARNING, reason, path, found=found, remedy=remedy)


def _finding(
    severity: Severity, reason: FindingReason, path: str, *, found: str, remedy: str
) -> Finding:
    # Names, commands and paths of the manifest stand in all three.
    path, found, remedy = (shown(each, limit=TEXT_CHARACTERS_MAX) for each in (path, found, remedy))
    return Finding(severity=severity, reason=reason, path=path, found=found, remedy=remedy)
