"""How long things last between a cache and the API server, and how long it waits after a failure."""

from __future__ import annotations

import random
from dataclasses import dataclass

ASKED_A_SECOND_MAX = 100
"""Requests that all caches together send, at most and on the average, to a server that is away or returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things last, in seconds; tests make them short."""

    watch_s_min: int = 15
    watch_s_max: int = 20
    silence_s: float = 5.0
    """Without a byte for this long beyond the watch's own end: the connection is dead."""
    list_timeout_s: float = 30.0
    """Of each page."""
    calm_s: float = 5.0
    """A watch that lived this long was a good one; the next failure is the first again."""
    backoff_s_min: float = 0.5
    backoff_s_max: float = 10.0
    return_s_max: float = 2.0
    """In place of `backoff_s_max` while the API server does not answer, and while it begins to again: what is
    asked of one that is away costs nobody anything, and what is not known after its return costs decisions."""
    first_watch_s: int = 1
    """How long a watch lasts that follows a failure. Only its end confirms that nothing was missed."""
    page: int = 250
    """Objects a page of a list: fewer where so many are too many bytes."""


def pause_s(
    timing: Timing,
    *,
    failures: int,
    retry_after_s: float | None,
    returning: bool,
    crowd: int,
    rng: random.Random,
) -> float:
    """How long to wait after a failure: doubled with each one up to the maximum, less up to a half.

    Args:
        timing: Of the cache.
        failures: So many in a row, this one among them.
        retry_after_s: As the server asked; None: it did not.
        returning: Whether it is away, or has just come back.
        crowd: So many caches ask it; they share ASKED_A_SECOND_MAX.
        rng: For jitter.
    """
    most_s = timing.backoff_s_max
    if returning:
        most_s = min(most_s, max(timing.return_s_max, crowd / ASKED_A_SECOND_MAX))
    doubled = timing.backoff_s_min * 2.0 ** min(failures - 1, 16)
    waits_s = min(doubled, most_s) * rng.uniform(0.5, 1.0)
    return max(waits_s, min(retry_after_s or 0.0, 60.0))
