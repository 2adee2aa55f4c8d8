"""How a feed fares: summed up for metrics, `/debug/models` and logs; logged where it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from autoscaler.foreign_text import shown
from autoscaler.sources.collector.feeds import Feed, ReadResult
from autoscaler.sources.pages.outcome import ERRORS, ReadOutcome

LATE_READS = 3
"""In a row make a target late: one slow page is load, three are a server that cannot keep up."""
_LINES_MAX = 3
"""Of the same kind about one feed within LINES_S; what was not said meanwhile is counted."""
_LINES_S = 60.0
_TRACES_MAX = 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedReport:
    """How one feed fares."""

    name: str
    source: str
    model: str
    """Empty: it serves all models."""
    targets: int
    """Whose last read has ended."""
    failing: tuple[str, ...]
    """Those of them that ended with an error."""
    late: tuple[str, ...]
    """Those that were late again and again, LATE_READS times in a row or more."""
    outcome: ReadOutcome
    """Of the first of these; Read: there is none."""
    message: str
    """Of the first of these; empty: there is none."""
    warnings: tuple[str, ...]
    """Warnings that came with Prometheus's answers."""


def report_of(feed: Feed, results: Sequence[ReadResult], *, late: Mapping[str, int]) -> FeedReport:
    """Sum up how the last reads of a feed ended.

    Args:
        feed: Whose they are.
        results: How they ended.
        late: Reads in a row that were late, by target.
    """
    errors = [each for each in results if each.outcome in ERRORS]
    slow = sorted(key for key, times in late.items() if times >= LATE_READS)
    first = errors[0] if errors else None
    if first is None and slow:
        first = next((each for each in results if each.outcome is ReadOutcome.LATE), None)
    return FeedReport(
        name=feed.name,
        source=feed.source,
        model=feed.model,
        targets=len(results),
        failing=tuple(each.target for each in errors),
        late=tuple(slow),
        outcome=first.outcome if first else ReadOutcome.READ,
        message=first.message if first else "",
        warnings=tuple(dict.fromkeys(text for each in results for text in each.warnings)),
    )


@dataclass(slots=True)
class ReportLog:
    """What was logged of one feed."""

    told: FeedReport | None = None
    _lines_at: dict[str, list[float]] = field(default_factory=dict)
    """When the last lines were logged, by kind."""
    _unsaid: int = 0
    """Times that more targets failed and nothing was said."""

    def tell(self, now: FeedReport, *, at: float) -> None:
        """Log what changed: targets that began to fail or to be late, a feed that is whole again.

        Args:
            now: How it fares.
            at: Loop time.
        """
        before, self.told = self.told, now
        log = _log.bind(source=now.source, model=now.model or None)
        failing, late = (before.failing, before.late) if before else ((), ())
        if set(now.failing) - set(failing):
            if self._may_tell("failed", at=at):
                log.warning(
                    "source.failed",
                    failing=len(now.failing),
                    targets=now.targets,
                    outcome=str(now.outcome),
                    message=shown(now.message, limit=500),
                    unsaid=self._unsaid or None,
                )
                self._unsaid = 0
            else:
                self._unsaid += 1
        elif failing and not now.failing and self._may_tell("recovered", at=at):
            log.info("source.recovered", targets=now.targets)
        if set(now.late) - set(late) and self._may_tell("late", at=at):
            log.warning("source.late", late=len(now.late), targets=now.targets, message=now.message)
        new = set(now.warnings) - set(before.warnings if before else ())
        if new and self._may_tell("warned", at=at):
            log.warning("source.warned", warnings=[shown(text) for text in now.warnings[:10]])

    def may_tell_of_bug(self, *, at: float) -> bool:
        """Tell whether a trace may be logged now."""
        return self._may_tell("broke", at=at, lines_max=_TRACES_MAX)

    def _may_tell(self, kind: str, *, at: float, lines_max: int = _LINES_MAX) -> bool:
        """Tell whether a line may be logged now, and count it."""
        lately = [moment for moment in self._lines_at.get(kind, ()) if at - moment < _LINES_S]
        may = len(lately) < lines_max
        self._lines_at[kind] = [*lately, at] if may else lately
        return may
