"""What a reader fills in: one request after the other, kept as plain integers.

Ten million requests are four arrays, never ten million objects.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autoscaler.errors import TraceError

MAX_NS = 2**62
"""Latest arrival: 146 years; anything later is a unit gone wrong."""
MAX_TOKENS = 2**31 - 1


@dataclass(slots=True, kw_only=True)
class TraceLines:
    """The lines of one file with their numbers; it words the complaints about them."""

    path: Path
    lines: Iterator[str]
    number: int = 0
    """Of the line that was handed out last, from 1."""

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.number += 1
            text = line.strip()
            if text:
                yield text

    def failure(self, found: str, *, remedy: str) -> TraceError:
        """The error to raise about the present line: file, line, what was found, what to do."""
        return TraceError(f"{self.path}: line {self.number}: {found}; {remedy}")

    def number_within(
        self, text: str, least: float, most: float, *, column: str, remedy: str
    ) -> float:
        """A field as a number within bounds; raises TraceError where it is none."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise self.failure(f"{column} is {text!r}", remedy=remedy)
        return value


@dataclass(slots=True, kw_only=True)
class RequestRows:
    """Requests in order of arrival, as they are read."""

    arrival_ns: array[int] = field(default_factory=lambda: array("q"))
    prompt_tokens: array[int] = field(default_factory=lambda: array("i"))
    output_tokens: array[int] = field(default_factory=lambda: array("i"))
    blocks: array[int] = field(default_factory=lambda: array("q"))
    """Prefix blocks of all requests, one after the other; empty for formats without them."""
    block_ends: array[int] = field(default_factory=lambda: array("q"))
    """End of each request's part of `blocks`; empty for formats without them."""
    block_tokens: int = 0
    """Tokens of one prefix block; 0 for formats without them."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What was asked of the format."""
    notes: list[str] = field(default_factory=list)
    """What whoever uses the trace should be told about it."""

    def append(
        self, lines: TraceLines, *, at_ns: int, prompt_tokens: int, output_tokens: int
    ) -> None:
        """Take in one request.

        Raises:
            TraceError: It arrives before the one above it, or its tokens are no count.
        """
        if prompt_tokens < 0 or output_tokens < 0:
            raise lines.failure(
                f"negative token count ({prompt_tokens} in, {output_tokens} out)",
                remedy="drop the row or correct it: counts are >= 0",
            )
        if prompt_tokens > MAX_TOKENS or output_tokens > MAX_TOKENS:
            raise lines.failure(
                f"{max(prompt_tokens, output_tokens)} tokens in one request",
                remedy=f"counts are at most {MAX_TOKENS}",
            )
        arrivals = self.arrival_ns
        if arrivals and at_ns < arrivals[-1]:
            raise lines.failure(
                f"arrives {(arrivals[-1] - at_ns) / 1e9:.6g} s before the request above it",
                remedy="sort the file by time",
            )
        if not -MAX_NS < at_ns < MAX_NS:
            raise lines.failure(
                "a time beyond 146 years", remedy="check the unit of the time column"
            )
        arrivals.append(at_ns)
        self.prompt_tokens.append(prompt_tokens)
        self.output_tokens.append(output_tokens)


def header_columns(header: str, wanted: tuple[str, ...]) -> tuple[int, ...] | None:
    """Positions of the wanted names in a CSV header, whatever else it has; None: not all there."""
    names = [name.strip().strip('"') for name in header.split(",")]
    if any(name not in names for name in wanted):
        return None
    return tuple(names.index(name) for name in wanted)


def named_columns(lines: TraceLines, header: str, wanted: tuple[str, ...]) -> tuple[int, ...]:
    """Positions of the wanted names; raises TraceError where one is missing."""
    columns = header_columns(header, wanted)
    if columns is None:
        raise lines.failure(f"header {header[:60]!r}", remedy=f"name {', '.join(wanted)}")
    return columns


def csv_rows(
    lines: TraceLines, columns: tuple[int, ...], *, form: str
) -> Iterator[tuple[str, ...]]:
    """The fields in these positions of every row; raises TraceError where one is not of that form."""
    last = max(columns)
    for line in lines:
        fields = line.split(",")
        if len(fields) <= last:
            raise lines.failure(
                f"{len(fields)} fields where the header names more: {line[:60]!r}",
                remedy=f"complete the row: {form}",
            )
        yield tuple(fields[column] for column in columns)


def nanoseconds(lines: TraceLines, text: str, *, column: str) -> int:
    """Of a field that holds seconds."""
    try:
        return round(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise lines.failure(f"{column} is {text!r}", remedy="write seconds as a number") from None


def integer(
    lines: TraceLines, text: str, *, column: str, remedy: str = "write a whole number of tokens"
) -> int:
    """A whole number from a CSV field; also `12.0`, which spreadsheets make of 12."""
    try:
        return int(text)
    except ValueError:
        number = lines.number_within(text, -math.inf, math.inf, column=column, remedy=remedy)
    if not number.is_integer():
        raise lines.failure(f"{column} is {text!r}", remedy=remedy)
    return int(number)
