"""Moments as the API server writes them (RFC 3339, UTC) and as the core counts them (seconds)."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def seconds(text: object) -> float:
    """Seconds since the epoch of an RFC 3339 time; NaN for what is none, or names no zone."""
    if not isinstance(text, str):
        return math.nan
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return moment.timestamp() if moment.tzinfo is not None else math.nan


def rfc3339(at: float) -> str:
    """The moment in UTC, to the second, as Kubernetes writes it."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
