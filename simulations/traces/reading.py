"""Opens a trace, tells its format by its content, and reads it into columns.

`generate:SHAPE,key=value…` in place of a path makes one up (see `generate`).
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from autoscaler.core.state import IntArray
from autoscaler.errors import TraceError
from simulations.serving.columns import RequestColumns
from simulations.traces import generate
from simulations.traces.registry import TRACES
from simulations.traces.rows import RequestRows, TraceLines

GZIP_MAGIC = b"\x1f\x8b"
FIRST_LINE_CHARACTERS = 1 << 20
"""No format has a longer first line; a file of one endless line is not read whole to say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests over time, the first at 0."""

    name: str
    """The file's name without its endings: what rows and reports call it."""
    requests: RequestColumns

    @property
    def end_ns(self) -> int:
        """The last arrival: where the trace, and with it what is paid, ends."""
        arrivals = self.requests.arrival_ns
        return int(arrivals[-1]) if len(arrivals) else 0


def read_trace(spec: str) -> Trace:
    """Read the trace that `spec` names: a path, plain or gzipped, or `generate:…`.

    Raises:
        TraceError: It cannot be read; says which file, which line, what was found, what to do.
    """
    if spec.startswith(generate.PREFIX):
        return Trace(name=spec, requests=generate.from_spec(spec))
    path = Path(spec)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            rows = _read(path, cast("BinaryIO", file))
    except OSError as error:
        # also gzip.BadGzipFile: a wrong checksum, or garbage behind the end
        raise TraceError(
            f"{path}: cannot be read: {error.strerror or error}; name a readable file"
        ) from error
    return Trace(name=trace_name(path), requests=_columns(rows))


def trace_name(path: Path) -> str:
    """`azure2023_code` of `…/azure2023_code.csv.gz`."""
    name = path.name
    for ending in (".gz", ".csv", ".jsonl"):
        name = name.removesuffix(ending)
    return name or path.name


def _read(path: Path, file: BinaryIO) -> RequestRows:
    lines = TraceLines(path=path, lines=iter(()))
    text = _text(lines, file)
    first = next((line for line in text if line.strip()), None)
    if first is None:
        raise TraceError(f"{path}: empty; name a trace that holds requests")
    format_ = next((f for f in TRACES.values() if f.recognizes(first.strip())), None)
    if format_ is None:
        known = "; or ".join(f"{name}: {f.looks_like}" for name, f in TRACES.items())
        raise TraceError(
            f"{path}: line 1: no known trace format: begins with {first.strip()[:60]!r}; "
            f"known are, plain or gzipped: {known}"
        )
    lines.lines = itertools.chain([first], text)
    rows = RequestRows()
    format_.read(lines, rows)
    if not rows.arrival_ns:
        raise TraceError(f"{path}: holds a header and no request; name a trace that holds requests")
    return rows


def _text(lines: TraceLines, file: BinaryIO) -> Iterator[str]:
    """Decoded lines; what a broken file does to the decoder becomes a TraceError."""
    encoding = "utf-8-sig"
    try:
        while True:
            line = file.readline(FIRST_LINE_CHARACTERS)
            if not line:
                return
            yield line.decode(encoding)
            encoding = "utf-8"
    except (EOFError, zlib.error) as error:
        raise lines.failure(
            f"the gzip stream is truncated or damaged behind this line ({error})",
            remedy="fetch the file again",
        ) from error
    except UnicodeDecodeError as error:
        raise lines.failure("not text", remedy="name a CSV or JSON lines file") from error


def _columns(rows: RequestRows) -> RequestColumns:
    arrivals = _array(rows.arrival_ns)
    return RequestColumns(
        arrival_ns=arrivals - arrivals[0],
        prompt_tokens=_array(rows.prompt_tokens),
        output_tokens=_array(rows.output_tokens),
        block_tokens=rows.block_tokens,
        blocks=_array(rows.blocks) if rows.block_tokens else None,
        block_ends=_array(rows.block_ends) if rows.block_tokens else None,
    )


def _array(column: array[int]) -> IntArray:
    values: IntArray = np.frombuffer(column, dtype=np.int64)
    return values
