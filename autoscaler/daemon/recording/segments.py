"""The recording's files: gzip'd JSON lines, readable up to the last flush of a daemon that was killed.

A recording is a folder of segments. Each opens with a header (what wrote it, and where) and a
checkpoint (the engine's memory, with the specification), so that any one replays alone; then a line for
each event with its outcome; a closing line where the writer came to it. One segment is one gzip member,
flushed at a byte boundary after each batch: what was flushed can be read without what follows.
"""

from __future__ import annotations

import os
import platform
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from autoscaler import __version__
from autoscaler.errors import RecordingError
from autoscaler.foreign_text import shown

FORMAT = 8
"""Goes up with whatever changes the written form of a record, the engine's memory among them."""
_NAME = re.compile(r"\d{8}T\d{6}Z-\d{6}\.jsonl\.gz")
_GZIP = 31
"""zlib's wbits for a gzip wrapper with the largest window."""
_READ_BYTES = 1 << 16
_LINE_BYTES_MAX = 1 << 28


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """Events that were handled and not recorded, before the segment that says so."""

    events: int
    reason: str


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """What wrote a segment: the same bytes can be expected of an equal one only."""

    package: str
    python: str
    numpy: str
    architecture: str
    cpu_features: tuple[str, ...]
    """Those that numpy dispatches on."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header", tag_field="kind"):
    """The first line of a segment."""

    format: int
    run: str
    """One of the daemon's lives."""
    segment: int
    """Within the run, from 1."""
    written_at: float
    first_event: int
    """The id of the next event at the time it was opened."""
    writer: Writer
    settings: dict[str, Any]
    """The engine's."""
    hole: Hole | None = None


class CheckpointLine(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint", tag_field="kind"):
    """The second: the engine's memory, the specification in it."""

    memory: dict[str, Any]


class EventLine(msgspec.Struct, frozen=True, kw_only=True, tag="event", tag_field="kind"):
    """One event and what the engine made of it, as bytes."""

    event: msgspec.Raw
    outcome: msgspec.Raw


class EndLine(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="kind"):
    """The last line of a segment that was closed."""

    events: int
    reason: str
    """`Rotated`, `Stopped`."""


Line = Header | CheckpointLine | EventLine | EndLine
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
encode = msgspec.json.Encoder().encode


def this_writer() -> Writer:
    """Describe the process that runs this."""
    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    features = {*simd.get("baseline", ()), *simd.get("found", ())}
    return Writer(
        package=__version__,
        python=platform.python_version(),
        numpy=np.__version__,
        architecture=platform.machine(),
        cpu_features=tuple(sorted(features)),
    )


def segment_files(folder: Path) -> list[Path]:
    """List the segments of a folder, oldest first; other files are none of ours."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def make_folder(folder: Path) -> None:
    """Make the folder of a recording, for us alone whatever the umask; one that is there stays as it is.

    A recording names models, pods and nodes, and says what they did.
    """
    is_new = not folder.exists()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_new:
        folder.chmod(0o700)


def _private(path: str, flags: int) -> int:
    """Open a file that is for us alone, whatever the umask."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


class SegmentWriter:
    """One open segment. Not thread-safe; raises OSError as the file system does."""

    def __init__(self, path: Path) -> None:
        """Create the file; it must not exist."""
        self.path = path
        self.written_bytes = 0
        self._file: BinaryIO = open(path, "xb", buffering=0, opener=_private)  # noqa: SIM115  Path.open has no opener; closed by close
        self._deflate = zlib.compressobj(level=6, wbits=_GZIP)

    def write(self, line: bytes) -> None:
        """Take one line; it may stay in memory until `flush`."""
        self._put(self._deflate.compress(line) + self._deflate.compress(b"\n"))

    def flush(self) -> None:
        """Make all that was written readable, also if the process is killed now."""
        self._put(self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def close(self) -> None:
        """Finish the gzip member, with its checksum."""
        try:
            self._put(self._deflate.flush(zlib.Z_FINISH))
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Let go of a file that cannot be written to any more."""
        self._file.close()

    def _put(self, compressed: bytes) -> None:
        view = memoryview(compressed)
        while view:
            written = self._file.write(view)
            self.written_bytes += written
            view = view[written:]


def read_lines(path: Path) -> Iterator[Line]:
    """Read a segment's lines; a tail that was cut off ends it, anything else is refused.

    Raises:
        RecordingError: It is no recording, or damaged: not merely cut off.
    """
    buffer = bytearray()
    ordinal = 0
    whole = False
    for piece, ended in _pieces(path):
        whole = ended
        buffer += piece
        *lines, rest = buffer.split(b"\n")
        buffer = bytearray(rest)
        if len(buffer) > _LINE_BYTES_MAX:
            raise RecordingError(
                f"{path}: a line of more than {_LINE_BYTES_MAX} bytes; no recording"
            )
        for line in lines:
            ordinal += 1
            yield _decoded(path, ordinal, bytes(line))
    if whole and buffer:
        raise RecordingError(f"{path}: line {ordinal + 1} has no end, though the file is complete")


def check(path: Path) -> bool:
    """Read a segment through and verify its checksum; whether it is complete.

    Raises:
        RecordingError: It is damaged.
    """
    return True in [ended for _, ended in _pieces(path)]  # all of it is read


def _decoded(path: Path, ordinal: int, line: bytes) -> Line:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RecordingError(
            f"{path}: line {ordinal} is none of a recording ({shown(error)}); it is damaged, or not one"
        ) from error


def _pieces(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Decompress a file piece by piece; with each whether the gzip member is complete, its checksum right."""
    try:
        with path.open("rb") as file:
            yield from _inflated(path, file)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}; name a recording") from error


def _inflated(path: Path, file: BufferedReader) -> Iterator[tuple[bytes, bool]]:
    inflate = zlib.decompressobj(wbits=_GZIP)
    offset = 0
    while chunk := file.read(_READ_BYTES):
        if inflate.eof:
            raise RecordingError(f"{path}: something follows the end of the recording, at {offset}")
        try:
            piece = inflate.decompress(chunk)
        except zlib.error as error:
            if offset == 0 and not chunk.startswith(b"\x1f\x8b"):
                raise RecordingError(f"{path}: no gzip file, so no recording") from error
            raise RecordingError(
                f"{path}: damaged between bytes {offset} and {offset + len(chunk)} ({error})"
            ) from error
        offset += len(chunk)
        if inflate.unused_data:
            raise RecordingError(f"{path}: something follows the end of the recording")
        yield piece, inflate.eof
