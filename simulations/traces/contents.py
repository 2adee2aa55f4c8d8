"""What comes out of a trace's file: requests, where nothing is known, and what to say about them."""

from __future__ import annotations

from dataclasses import dataclass

from simulations.serving.columns import RequestColumns

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
