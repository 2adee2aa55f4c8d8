"""Opens a recording, plain or gzipped, told by content; what a broken file does becomes a TraceError."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from autoscaler.errors import TraceError
from simulations.traces.rows import TraceLines

GZIP_MAGIC = b"\x1f\x8b"
FIRST_LINE_CHARACTERS = 1 << 20
"""No format has a longer first line; a file of one endless line is not read whole to say so."""


@contextmanager
def open_lines(path: Path) -> Iterator[TraceLines]:
    """The lines of a file, decoded as they are asked for.

    Raises:
        TraceError: It cannot be read; says which file, which line, and what to do.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            lines = TraceLines(path=path, lines=iter(()))
            lines.lines = _text(lines, cast("BinaryIO", file))
            yield lines
    except OSError as error:
        # also gzip.BadGzipFile: a wrong checksum, or garbage behind the end
        raise TraceError(
            f"{path}: cannot be read: {error.strerror or error}; name a readable file"
        ) from error


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
