"""How the replay of a recording is shown: as lines for people, as rows for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autoscaler.daemon.recording.hindsight_table import hindsight_rows
from autoscaler.daemon.recording.reproduce import Difference, SegmentReport


def as_text(report: SegmentReport) -> str:
    """Say how one segment fared, in a line, and where it differs, in three more."""
    how = "byte for byte" if report.exact else "in desired replicas, commands and reasons"
    ending = {
        "Cut": "its end is missing: the daemon was killed, or still writes",
        "Rotated": "continued in the next segment",
        "Stopped": "to the daemon's end",
    }.get(report.ending, report.ending)
    hole = report.header.hole
    before = f"; {hole.events} events before it are lost ({hole.reason})" if hole else ""
    counts = f"{report.events} events, {report.decisions} decisions, {report.commands} commands"
    verdict = f"reproduced {how}" if report.difference is None else "reproduced, then a difference"
    other = "" if report.exact else f"\n  written by another machine: {report.header.writer}"
    difference = "" if report.difference is None else f"\n{_difference(report.difference)}"
    return f"{report.path}: {counts} {verdict}; {ending}{before}{other}{difference}"


def _difference(difference: Difference) -> str:
    where = f" of model {difference.model}" if difference.model else ""
    return (
        f"  event {difference.event} ({difference.kind} at {difference.at:.3f}){where}: "
        f"{difference.field}\n"
        f"    recorded:   {difference.recorded}\n"
        f"    reproduced: {difference.reproduced}"
    )


def as_row(report: SegmentReport) -> dict[str, Any]:
    """Say the same as JSON."""
    difference = report.difference
    return {
        "segment": str(report.path),
        "events": report.events,
        "decisions": report.decisions,
        "commands": report.commands,
        "exact": report.exact,
        "ending": report.ending,
        "lost_before": report.header.hole.events if report.header.hole else 0,
        "difference": asdict(difference) if difference else None,
        "hindsight": hindsight_rows(report.hindsights),
    }
