"""What comes out of a trace's file: requests, where nothing is known, and what to say about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulations.serving.columns import RequestColumns
from simulations.traces.spec import TraceSpec

REQUESTS_MAX = 50_000_000
"""As many as are drawn at once: a gigabyte of columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContents:
    """Requests on the recording's own clock."""

    requests: RequestColumns
    holes_s: tuple[tuple[float, float], ...] = ()
    """(from, to) where the recording knows nothing; no request is drawn there."""
    notes: tuple[str, ...] = ()
    """What whoever uses them should be told."""


def asked_holes(
    spans: Iterable[tuple[float, float]], asked: TraceSpec, *, tolerance_s: float = 0.0
) -> tuple[tuple[float, float], ...]:
    """The spans of what is asked for, those that follow each other as one."""
    holes: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if not asked.touches(start, end):
            continue
        if holes and start <= holes[-1][1] + tolerance_s:
            holes[-1] = (holes[-1][0], end)
        else:
            holes.append((start, end))
    return tuple(holes)
