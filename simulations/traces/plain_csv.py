"""Plain CSV: `t_s,input_tokens,output_tokens`, seconds from any start."""

from __future__ import annotations

from simulations.traces.rows import RequestRows, TraceLines, header_columns, integer, named_columns

NAME = "plain-csv"
COLUMNS = ("t_s", "input_tokens", "output_tokens")
HEADER = ",".join(COLUMNS)


def recognizes(first_line: str) -> bool:
    """Whether a file that starts with this line is of this format."""
    return header_columns(first_line, COLUMNS) is not None


def read(lines: TraceLines, rows: RequestRows) -> None:
    """Read every request of the file into `rows`."""
    text = iter(lines)
    time, prompt, output = columns = named_columns(lines, next(text), COLUMNS)
    last = max(columns)
    for line in text:
        fields = line.split(",")
        if len(fields) <= last:
            raise lines.failure(
                f"{len(fields)} fields where the header names more: {line[:60]!r}",
                remedy=f"complete the row: {HEADER}",
            )
        rows.append(
            lines,
            at_ns=_nanoseconds(lines, fields[time]),
            prompt_tokens=integer(lines, fields[prompt], column="input_tokens"),
            output_tokens=integer(lines, fields[output], column="output_tokens"),
        )


def _nanoseconds(lines: TraceLines, text: str) -> int:
    try:
        return round(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise lines.failure(f"t_s is {text!r}", remedy="write seconds as a number") from None
