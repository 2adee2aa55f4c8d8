"""Moments as the API server writes them (RFC 3339, UTC) and as the core counts them (seconds)."""

from __future__ import annotations

import math
from datetime import UTC, datetime

LATEST_AT = 7_258_118_400.0
"""The year 2200: whatever claims to be later (or before 1970) is no moment of a cluster."""
_CHARACTERS_MAX = 64


def seconds(text: object) -> float:
    """Seconds since the epoch of an RFC 3339 time; NaN for what is none, or names no zone.

    So is a moment before 1970 or after 2200: arithmetic on it would say something, and be wrong.
    """
    if not isinstance(text, str) or len(text) > _CHARACTERS_MAX:
        return math.nan
    try:
        moment = datetime.fromisoformat(text)
        at = moment.timestamp() if moment.tzinfo is not None else math.nan
    except (ValueError, OverflowError):
        return math.nan
    return at if 0.0 <= at <= LATEST_AT else math.nan


def rfc3339(at: float) -> str:
    """The moment in UTC, to the second, as Kubernetes writes it."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
