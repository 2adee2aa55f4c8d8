"""The one family of errors. A leaf: it imports nothing of the project.

Operating errors become values or events before they reach `core`; `core` itself raises only
`InvariantBroken`. Messages say what was being done, to what, what was found and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass


class AutoscalerError(Exception):
    """Anything this project raises on purpose. Its text is shown to a user as it is."""


class SettingsError(AutoscalerError):
    """A command line, file or environment that cannot be worked with. The process stops."""


class SourceError(AutoscalerError):
    """One signal could not be read. One gap: the last value stays, with its age."""

    def __init__(self, message: str, *, outcome: str = "NotMetrics") -> None:
        super().__init__(message)
        self.outcome = outcome
        """How the read ended, a word of `sources.pages.outcome.ReadOutcome`: a metric label."""


class ActuationError(AutoscalerError):
    """One write to the API server failed. Becomes `CommandFinished(accepted=False)`."""

    def __init__(self, message: str, *, reason: str = "Failed") -> None:
        super().__init__(message)
        self.reason = reason
        """Of the closed list in `core.events.CommandFinished.reason`: a metric label."""


class LeadershipLost(AutoscalerError):  # noqa: N818  reads as the sentence it is
    """A write was not sent: another daemon may act by now. Becomes `CommandFinished(accepted=False)`."""


class RecordingError(AutoscalerError):
    """A recording that cannot be read or that does not reproduce."""


class TraceError(AutoscalerError):
    """A trace that cannot be read: what was found, in which file, at which line."""


class InvariantBroken(AutoscalerError):  # noqa: N818  reads as the sentence it is
    """A bug of ours. The model holds its scale; the others go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecProblem:
    """One thing wrong in a document, as a value: all of them are shown at once."""

    path: str
    """Where, as `file: document 2 (llama-70b): spec.pools[0].name`."""
    found: str
    """What is written there."""
    remedy: str
    """What to write instead."""
    contested: bool = False
    """What is written there is another document's already: a scale target."""

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}; {self.remedy}"
