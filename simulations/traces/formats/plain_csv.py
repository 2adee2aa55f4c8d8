"""Plain CSV: `t_s,input_tokens,output_tokens`, seconds from any start."""

from __future__ import annotations

import numpy as np

from simulations.traces.contents import TraceFormat
from simulations.traces.rows import (
    MAX_NS,
    MAX_TOKENS,
    RequestRows,
    TraceLines,
    csv_rows,
    integer,
    named_columns,
    nanoseconds,
)

COLUMNS = ("t_s", "input_tokens", "output_tokens")
HEADER = ",".join(COLUMNS)
BLOCK = 1 << 15
"""Lines that are read as one table."""


def read(lines: TraceLines, rows: RequestRows) -> None:
    """Read every request of the file into `rows`."""
    text = iter(lines)
    columns = named_columns(lines, next(text), COLUMNS)
    while block := _block(lines):
        if not _append_block(block, columns, rows):
            first = lines.number - len(block)
            one_by_one = TraceLines(path=lines.path, lines=iter(block), number=first)
            _append_lines(one_by_one, columns, rows)


def _block(lines: TraceLines) -> list[str]:
    """The next lines as they stand in the file; none: it has ended."""
    block = []
    for line in lines.lines:
        lines.number += 1
        block.append(line)
        if len(block) == BLOCK:
            break
    return block


def _append_block(block: list[str], columns: tuple[int, ...], rows: RequestRows) -> bool:
    """Append a block read as one table; False, with nothing appended: read it line by line.

    What this takes it reads as `_append_lines` would, in a fifth of the time.
    """
    if not block[0].strip():
        return False  # numpy warns of blocks without data
    try:
        table = np.loadtxt(block, delimiter=",", usecols=columns, comments=None, ndmin=2)
    except ValueError:
        return False
    if not (np.abs(table) < MAX_NS / 1e9).all():
        return False  # also where it is no number
    at_ns, tokens = np.rint(table[:, 0] * 1e9), table[:, 1:]
    last_ns = rows.arrival_ns[-1] if rows.arrival_ns else -MAX_NS
    if (
        at_ns[0] < last_ns
        or (at_ns[1:] < at_ns[:-1]).any()
        or (tokens != np.rint(tokens)).any()
        or tokens.min() < 0
        or tokens.max() > MAX_TOKENS
    ):
        return False
    rows.arrival_ns.frombytes(at_ns.astype(np.int64).tobytes())
    for column, values in zip((rows.prompt_tokens, rows.output_tokens), tokens.T, strict=True):
        column.frombytes(values.astype(np.int32).tobytes())
    return True


def _append_lines(lines: TraceLines, columns: tuple[int, ...], rows: RequestRows) -> None:
    for time, prompt, output in csv_rows(lines, columns, form=HEADER):
        rows.append(
            lines,
            at_ns=nanoseconds(lines, time, column="t_s"),
            prompt_tokens=integer(lines, prompt, column="input_tokens"),
            output_tokens=integer(lines, output, column="output_tokens"),
        )


FORMAT = TraceFormat(
    name="plain-csv",
    columns=COLUMNS,
    looks_like=HEADER,
    read=read,
)
