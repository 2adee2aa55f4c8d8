"""Azure's LLM inference traces: `TIMESTAMP,ContextTokens,GeneratedTokens`, wall clock times.

Published as Azure/AzurePublicDataset; times carry up to seven decimals and, since 2024, a zone.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

from simulations.traces.contents import TraceFormat
from simulations.traces.rows import (
    RequestRows,
    TraceLines,
    csv_rows,
    integer,
    named_columns,
)

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:?(?:00)?)?", re.ASCII
)


def read(lines: TraceLines, rows: RequestRows) -> None:
    """Read every request of the file into `rows`."""
    columns = named_columns(lines, next(iter(lines)), COLUMNS)
    for time, prompt, output in csv_rows(lines, columns, form=",".join(COLUMNS)):
        rows.append(
            lines,
            at_ns=_nanoseconds(lines, time),
            prompt_tokens=integer(lines, prompt, column="ContextTokens"),
            output_tokens=integer(lines, output, column="GeneratedTokens"),
        )


@lru_cache
def _day_s(day: str) -> int:
    """Seconds since 1970; a trace has few days."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * 86_400


def _nanoseconds(lines: TraceLines, text: str) -> int:
    """Nanoseconds since 1970."""
    found = _MOMENT.fullmatch(text.strip().strip('"'))
    if found is None:
        raise lines.failure(
            f"TIMESTAMP is {text!r}", remedy="write it as 2023-11-16 18:17:03.9799600 (UTC)"
        )
    day, hours, minutes, seconds, fraction = found.groups()
    try:
        day_s = _day_s(day)
    except ValueError:
        raise lines.failure(f"no such day as {day}", remedy="correct the TIMESTAMP") from None
    whole = day_s + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


FORMAT = TraceFormat(
    name="azure-csv",
    columns=COLUMNS,
    looks_like=",".join(COLUMNS),
    read=read,
    wall_clock=True,
)
