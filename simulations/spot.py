"""Recorded spot markets: which machines could be had when, and when they were taken away.

Two formats, both of Bamboo (uclasystem/bamboo, NSDI 2023), told by content: machines that come and go
by name, and counts of machines alive, polled. A machine of the recording stands for one that our
nodes may sit on; when the recording takes it away, our node is lost.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from autoscaler.errors import TraceError
from simulations.rng import stream

GZIP_MAGIC = b"\x1f\x8b"
NS = 1_000_000_000
EVENTS_HEADER = "t_ms,event,node"
COUNTS_HEADER = "time,instances"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLife:
    """One machine of the recording: there from `up_ns` until `down_ns`."""

    up_ns: int
    down_ns: int
    """The end of the recording where it survived it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotHistory:
    """All machines of a recording, in order of `up_ns`."""

    name: str
    span_ns: int
    lives: tuple[MachineLife, ...]

    def unrolled(self, *, offset_ns: int, until_ns: int) -> Iterator[MachineLife]:
        """The recording from `offset_ns` on as time 0, begun anew as often as `until_ns` asks.

        A machine that survives the end is cut there; the next round brings machines of its own.
        """
        start = -offset_ns
        while start < until_ns:
            for life in self.lives:
                up, down = max(0, life.up_ns + start), life.down_ns + start
                if down > 0 and up < until_ns and down > up:
                    yield MachineLife(up_ns=up, down_ns=down)
            start += self.span_ns


def read_spot(path: Path) -> SpotHistory:
    """Read a recording, plain or gzipped; raises TraceError."""
    try:
        body = path.read_bytes()
        if body.startswith(GZIP_MAGIC):
            body = gzip.decompress(body)
        rows = body.decode("utf-8-sig").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read: {error}; name a readable spot file") from error
    readers: dict[str, Callable[[Path, Sequence[str]], list[MachineLife]]] = {
        EVENTS_HEADER: _read_events,
        COUNTS_HEADER: _read_counts,
    }
    header = rows[0].strip() if rows else ""
    if header not in readers:
        raise TraceError(
            f"{path}: line 1: no known spot format: begins with {header[:60]!r}; "
            f"known are: {'; or '.join(readers)}"
        )
    lives = readers[header](path, rows[1:])
    if not lives:
        raise TraceError(f"{path}: holds no machine; name a spot file that does")
    lives.sort(key=lambda life: (life.up_ns, life.down_ns))
    return SpotHistory(
        name=path.name.split(".")[0],
        span_ns=max(life.down_ns for life in lives),
        lives=tuple(lives),
    )


def _read_events(path: Path, rows: Sequence[str]) -> list[MachineLife]:
    up: dict[str, int] = {}
    lives: list[MachineLife] = []
    at = 0
    for number, row in enumerate(rows, start=2):
        fields = row.strip().split(",")
        before = at
        try:
            at, event, node = int(fields[0]) * 1_000_000, fields[1], fields[2]
        except (ValueError, IndexError):
            raise TraceError(
                f"{path}: line {number}: {row[:60]!r}; write {EVENTS_HEADER}"
            ) from None
        if at < before or event not in ("add", "remove") or (event == "add") == (node in up):
            raise TraceError(
                f"{path}: line {number}: {row[:60]!r}; times never fall, "
                "and a node is added once before it is removed"
            )
        if event == "add":
            up[node] = at
        else:
            lives.append(MachineLife(up_ns=up.pop(node), down_ns=at))
    # those that survive are there for a minute more than the last event, which is how they are known
    return lives + [MachineLife(up_ns=start, down_ns=at + 60 * NS) for start in up.values()]


def _read_counts(path: Path, rows: Sequence[str]) -> list[MachineLife]:
    """Machines from counts: a drop takes any of them, always the same ones of the same file.

    The file carries each reading on for two minutes in which it may be overtaken by the next one:
    of several rows of one moment the last is the reading.
    """
    counts: dict[int, int] = {}
    for number, row in enumerate(rows, start=2):
        fields = row.strip().split(",")
        try:
            moment = int(datetime.fromisoformat(fields[0]).replace(tzinfo=UTC).timestamp())
            counts[moment] = int(fields[1])
        except (ValueError, IndexError):
            raise TraceError(
                f"{path}: line {number}: {row[:60]!r}; write {COUNTS_HEADER}"
            ) from None
    moments = sorted(counts)
    lives: list[MachineLife] = []
    up: list[int] = []
    random = stream(0, f"spot/{path.name}")
    for moment in moments:
        at = (moment - moments[0]) * NS
        count = counts[moment]
        while len(up) > count:
            start = up.pop(int(random.integers(len(up))))
            lives.append(MachineLife(up_ns=start, down_ns=at))
        up.extend([at] * (count - len(up)))
    end = (moments[-1] - moments[0] + 60) * NS if moments else 0
    return lives + [MachineLife(up_ns=start, down_ns=end) for start in up]


class SpotMarket:
    """What of a history is free for us at a moment; a machine is taken at random, once."""

    def __init__(self, lives: Sequence[MachineLife], random: np.random.Generator) -> None:
        """`lives` in order of `up_ns`, as `unrolled` gives them."""
        self._coming = sorted(lives, key=lambda life: (life.up_ns, life.down_ns), reverse=True)
        self._free: list[MachineLife] = []
        self._random = random

    def take(self, at_ns: int) -> MachineLife | None:
        """A machine that is there now and not ours yet; None: none can be had."""
        self._advance(at_ns)
        if not self._free:
            return None
        return self._free.pop(int(self._random.integers(len(self._free))))

    def give_back(self, machine: MachineLife) -> None:
        """It is free again, for as long as it lives."""
        self._free.append(machine)

    def next_change_ns(self) -> int | None:
        """When the next machine comes; None: no more do."""
        return self._coming[-1].up_ns if self._coming else None

    def _advance(self, at_ns: int) -> None:
        while self._coming and self._coming[-1].up_ns <= at_ns:
            self._free.append(self._coming.pop())
        self._free = [life for life in self._free if life.down_ns > at_ns]
