"""Figures as people read them: spans of time, shares, dollars, counts; a dash for what is unknown."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

UNKNOWN = "-"
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3_600.0, 86_400.0


def span(seconds: float | None) -> str:
    """Say how long it is, in at most two units.

    >>> span(0.4), span(12.0), span(178.0), span(3_600.0), span(5_400.0), span(86_400.0 * 30)
    ('0.4 s', '12 s', '2 min 58 s', '1 h', '1 h 30 min', '30 d')
    >>> span(None)
    '-'
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 0.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for unit_s, unit, part_s, part in (
        (_DAY_S, "d", _HOUR_S, "h"),
        (_HOUR_S, "h", _MINUTE_S, "min"),
        (_MINUTE_S, "min", 1.0, "s"),
    ):
        if whole >= unit_s:
            count, rest = divmod(whole, unit_s)
            parts = int(rest // part_s)
            return f"{int(count)} {unit}" + (f" {parts} {part}" if parts else "")
    return f"{whole} s"


def percent(ratio: float | None) -> str:
    """Say a share; near 100 with more digits, for there they matter.

    >>> percent(0.4213), percent(0.9943), percent(1.0), percent(None), percent(-0.5)
    ('42 %', '99.43 %', '100 %', '-', '-50 %')
    """
    if ratio is None or not math.isfinite(ratio):
        return UNKNOWN
    if 0.9 <= ratio < 1.0:
        # Never rounded up to what was not reached.
        return f"{math.floor(ratio * 10_000.0 + 1e-9) / 100.0:.2f} %"
    return f"{100.0 * ratio:.0f} %"


def number(value: float | None) -> str:
    """Say a figure of replicas or requests.

    >>> number(3.0), number(2.313), number(0.04), number(1234.5), number(None)
    ('3', '2.3', '0.04', '1,234', '-')
    >>> number(0.088), number(0.0)
    ('0.09', '0')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value - round(value)) < 1e-9 or abs(value) >= 100.0:
        return f"{int(value):,}"
    return f"{value:.1f}" if abs(value) >= 0.95 else f"{value:.2f}"


def counted(count: int, noun: str) -> str:
    """Count things.

    >>> counted(1, "replica"), counted(0, "replica"), counted(12, "replica")
    ('1 replica', '0 replicas', '12 replicas')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def usd_per_hour(value: float | None) -> str:
    """Say a price.

    >>> usd_per_hour(1.861), usd_per_hour(None)
    ('$1.86/h', '-')
    """
    return UNKNOWN if value is None else f"${value:,.2f}/h"


def aligned(
    lines: Sequence[Sequence[str]], *, texts: Collection[int], indent: str = ""
) -> list[str]:
    """Align a table's cells: texts to the left, figures to the right.

    >>> aligned([("model", "h"), ("a", "12.5")], texts={0})
    ['model     h', 'a      12.5']

    Args:
        lines: Of cells, as many in each.
        texts: Numbers of the columns that are texts.
        indent: Before each line.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        indent
        + "  ".join(
            cell.ljust(width) if place in texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def listed_all(texts: list[str]) -> str:
    """Say all of a few.

    >>> listed_all(["1 h", "1 d", "30 d"]), listed_all(["1 h"])
    ('1 h, 1 d and 30 d', '1 h')
    """
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last
