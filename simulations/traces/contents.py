"""A trace format, and what comes out of a file of it: requests, what is unknown, what to say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simulations.serving.columns import RequestColumns
from simulations.traces.rows import RequestRows, TraceLines, header_columns
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFormat:
    """One format: how to tell it, and how to read it; `read` or `draw`."""

    name: str
    looks_like: str
    """For people: how a file of this format begins."""
    columns: tuple[str, ...] = ()
    """Of CSV: names that its header has; others may stand beside them."""
    fields: tuple[str, ...] = ()
    """Of JSON lines: keys that its first object has."""
    read: Callable[[TraceLines, RequestRows], None] | None = None
    """Reads every request, in order of arrival; raises TraceError."""
    draw: Callable[[TraceLines, TraceSpec], TraceContents] | None = None
    """Draws all steps that the part asked for touches, thinned; raises TraceError."""
    settings: tuple[str, ...] = ()
    """What may stand behind the path, beside what every format takes."""
    wall_clock: bool = False
    """Its times are dates: `from=` counts from the first request."""

    def recognizes(self, first_line: str) -> bool:
        """Whether a file whose first line that is not empty is this one is of the format."""
        if self.columns:
            return header_columns(first_line, self.columns) is not None
        try:
            row = json.loads(first_line)
        except ValueError:
            return False
        return isinstance(row, dict) and all(field in row for field in self.fields)


def check_drawn(requests: float, asked: TraceSpec) -> None:
    """Raise TraceError where these are more requests than are drawn at once."""
    if requests > REQUESTS_MAX:
        raise asked.failure(
            f"{requests:.0f} requests, and at most {REQUESTS_MAX} are drawn at once",
            remedy="ask for a part with from and days, or for a share with thin",
        )


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
