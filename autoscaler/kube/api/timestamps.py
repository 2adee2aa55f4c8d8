"""Moments and durations as the API server has them (RFC 3339, UTC; Go) and as the core counts them (seconds)."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

LATEST_AT = 7_258_118_400.0
"""The year 2200: whatever claims to be later (or before 1970) is no moment of a cluster."""
_CHARACTERS_MAX = 64
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


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


def duration_s(text: object) -> float:
    """Seconds of a duration as Go writes it (`720h`, `10m0s`); infinite for `Never` and for what is none."""
    if not isinstance(text, str) or not re.fullmatch(
        r"(?:[0-9.]{1,20}(?:h|ms|m|us|µs|ns|s)){1,8}", text
    ):
        return math.inf
    try:
        spans = re.findall(r"([0-9.]+)(h|ms|m|us|µs|ns|s)", text)
        return sum(float(number) * _UNITS_S[unit] for number, unit in spans)
    except ValueError:
        return math.inf
