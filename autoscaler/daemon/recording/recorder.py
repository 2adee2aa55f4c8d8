"""Records what enters the engine and what leaves it, without ever holding up the loop.

The loop hands over events and outcomes as they are (both are frozen) and goes on; a thread turns them
into bytes. Where the thread cannot keep up, or the disk is full, events are dropped, counted and said:
the recording has a hole, its segment ends there, and the next one opens with a checkpoint of the memory
as it is then, so that what follows can be replayed again.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Event, HistoryRead, Observed
from autoscaler.core.contract.spec import EngineSettings
from autoscaler.daemon.recording.segments import (
    FORMAT,
    CheckpointLine,
    EndLine,
    Header,
    Hole,
    SegmentWriter,
    encode,
    make_folder,
    segment_files,
    this_writer,
)

SEGMENT_BYTES = 16 * 1024 * 1024
"""Compressed. At 8 replicas about two weeks' worth of nothing, a day of traffic."""
TOTAL_BYTES = 512 * 1024 * 1024
BACKLOG_ROWS_MAX = 200_000
"""Rows of replicas that may wait for the thread: 40 ticks of 5,000 replicas, about 200 MB."""
_MINUTES_PER_ROW = 8
"""Minutes of a history that weigh as much as a row of a replica: seven numbers each, for some sixty."""
_UNFLUSHED_MAX = 100
"""Events that a kill may cost while the thread is busy; when it is not, none."""
RETRY_S = 30.0
"""After the disk refused: not sooner again."""

_log = structlog.get_logger(__name__)


_Step: TypeAlias = Callable[[], None]
"""What the thread is to do next."""


class Recorder:
    """The loop's side: everything here returns at once, but for `close`."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: EngineSettings,
        started_at: float,
        segment_bytes: int = SEGMENT_BYTES,
        total_bytes: int = TOTAL_BYTES,
        backlog_rows_max: int = BACKLOG_ROWS_MAX,
        monotonic: Callable[[], float] = time.monotonic,
        retry_s: float = RETRY_S,
    ) -> None:
        """Start the thread; nothing is written before the first `begin`.

        Args:
            folder: Made if need be.
            settings: The engine's.
            started_at: Names the run, seconds since the epoch.
            segment_bytes: A segment larger than this is followed by a new one.
            total_bytes: The oldest segments of the folder are deleted beyond this.
            backlog_rows_max: Rows that may wait before events are dropped.
            monotonic: For the pause after a refused write.
            retry_s: That pause.
        """
        self._monotonic = monotonic
        self._retry_s = retry_s
        self._backlog_rows_max = backlog_rows_max
        self._steps: queue.SimpleQueue[_Step | None] = queue.SimpleQueue()
        self._open = False
        """On the loop's side: events are being handed over."""
        self._begun = 0
        """Segments that were asked for. The thread may be some behind: what it says of an older one is
        no matter any more."""
        self._dropped = 0
        self._handed_rows = 0
        self._thread_side = _Thread(
            folder,
            settings=settings,
            started_at=started_at,
            segment_bytes=segment_bytes,
            total_bytes=total_bytes,
            steps=self._steps,
        )
        self._thread = threading.Thread(target=self._thread_side.run, name="recorder", daemon=True)
        self._thread.start()
        self._retry_at = 0.0

    def wants_checkpoint(self) -> bool:
        """Whether the next event needs a `begin` before it: the segment is full, or was lost."""
        side = self._thread_side
        if side.failed_in == self._begun:
            if self._open:
                self._open = False
                self._retry_at = self._monotonic() + self._retry_s
            return self._monotonic() >= self._retry_at
        if not self._open:
            return self._backlog_rows() <= self._backlog_rows_max // 2
        return side.full_in == self._begun

    def begin(self, memory: dict[str, Any], *, at: float, first_event: int) -> None:
        """Open a segment with this memory: that before the event `first_event`."""
        self._begun += 1
        self._open = True
        begin = self._thread_side.begin
        self._steps.put(
            partial(begin, memory, at=at, first_event=first_event, dropped=self._dropped)
        )

    def append(self, event: Event, outcome: Outcome) -> None:
        """Hand over one event; dropped and counted where that is not possible."""
        rows = _rows_of(event)
        if self._open and self._backlog_rows() + rows > self._backlog_rows_max:
            self._open = False
            _log.warning("recording.interrupted", reason="the recorder's backlog is full")
        if not self._open:
            self._dropped += 1
            return
        self._handed_rows += rows
        self._steps.put(partial(self._thread_side.take, event, outcome, rows=rows))

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits and close the file; blocks, for `timeout_s` at most."""
        self._steps.put(partial(self._thread_side.end, "Stopped"))
        self._steps.put(None)
        self._thread.join(timeout_s)

    @property
    def lost_events(self) -> int:
        """Events that were handled and are in no segment."""
        return self._dropped + self._thread_side.lost

    @property
    def recorded_events(self) -> int:
        """Events that were written."""
        return self._thread_side.events_total

    @property
    def written_bytes(self) -> int:
        """Bytes that were written, compressed."""
        return self._thread_side.bytes_total

    @property
    def problem(self) -> str:
        """Why nothing is written now; empty: it is."""
        return self._thread_side.problem

    def _backlog_rows(self) -> int:
        return self._handed_rows - self._thread_side.taken_rows


class _Thread:
    """The thread's side. Its counters are read by the loop; nothing else is shared."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: EngineSettings,
        started_at: float,
        segment_bytes: int,
        total_bytes: int,
        steps: queue.SimpleQueue[_Step | None],
    ) -> None:
        self.full_in = -1
        """The segment that is full, counted as `Recorder` counts; -1: none."""
        self.failed_in = -1
        """The segment that was lost; -1: none."""
        self.problem = ""
        self.lost = 0
        self.taken_rows = 0
        self.events_total = 0
        self.bytes_total = 0
        self._folder = folder
        self._settings = settings
        self._run = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started_at))
        self._segment_bytes = segment_bytes
        self._total_bytes = total_bytes
        self._steps = steps
        self._begun = 0
        self._full_bytes = segment_bytes
        """What makes the open segment full."""
        self._segment = 0
        self._segment_events = 0
        self._unflushed = 0
        self._counted_bytes = 0
        """Of the open segment, in `bytes_total` already."""
        self._writer: SegmentWriter | None = None
        self._told_lost = 0
        """Losses that a segment has said already."""

    def run(self) -> None:
        """Do one step after another until there are no more."""
        while (step := self._steps.get()) is not None:
            self._guarded(step)

    def take(self, event: Event, outcome: Outcome, *, rows: int) -> None:
        """Write one event, or count it where no segment is open."""
        self.taken_rows += rows
        if self._writer is None:
            self.lost += 1
        else:
            self._write(self._writer, event, outcome)

    def _guarded(self, step: _Step) -> None:
        """Do one step; what the disk refuses, or a bug, ends the segment and never the thread."""
        try:
            step()
        except OSError as error:
            self.problem = f"{error.strerror or error} ({error.filename or self._folder})"
            _log.error("recording.failed", message=self.problem)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._shrink()
        except Exception as error:  # noqa: BLE001  a bug of ours, logged with its trace
            self.problem = f"{type(error).__name__}: {error}"
            _log.exception("recording.broke")
        else:
            return
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        # What was compressed and not flushed is nowhere.
        self.lost += self._unflushed
        self._unflushed = 0
        self.failed_in = self._begun

    def _shrink(self) -> None:
        """The disk holds less than we were allowed: keep three quarters of what we have on it.

        Unless that is next to nothing: then others have filled it.
        """
        used = sum(path.stat().st_size for path in segment_files(self._folder))
        if used > self._segment_bytes // 4:
            self._total_bytes = min(self._total_bytes, used * 3 // 4)
            self._segment_bytes = min(self._segment_bytes, self._total_bytes // 4)
            self._full_bytes = self._segment_bytes

    def begin(self, memory: dict[str, Any], *, at: float, first_event: int, dropped: int) -> None:
        """Open a segment; `dropped` are the events that the loop had to drop, so far."""
        self._begun += 1
        self.end("Rotated")
        make_folder(self._folder)
        self._keep_total()
        writer = self._writer = self._create()
        self._counted_bytes = 0
        lost = dropped + self.lost
        hole = None
        if lost > self._told_lost:
            hole = Hole(events=lost - self._told_lost, reason=self.problem or "backlog full")
            _log.warning("recording.resumed", lost_events=hole.events, reason=hole.reason)
        header = Header(
            format=FORMAT,
            run=self._run,
            segment=self._segment,
            written_at=at,
            first_event=first_event,
            writer=this_writer(),
            settings=to_builtins(self._settings, EngineSettings),
            hole=hole,
        )
        writer.write(encode(header))
        writer.write(encode(CheckpointLine(memory=memory)))
        self._flush(writer)
        # Else a fleet whose checkpoint is as large as a segment would open one with every event.
        self._full_bytes = max(self._segment_bytes, 4 * writer.written_bytes)
        self._told_lost = lost
        self.problem = ""
        self._segment_events = 0

    def _create(self) -> SegmentWriter:
        """Open the next file; another run of the same second may have taken the name."""
        while True:
            self._segment += 1
            try:
                return SegmentWriter(self._folder / f"{self._run}-{self._segment:06d}.jsonl.gz")
            except FileExistsError:
                continue

    def _write(self, writer: SegmentWriter, event: Event, outcome: Outcome) -> None:
        self._unflushed += 1
        line = {
            "kind": "event",
            "event": to_builtins(event, Event),
            "outcome": to_builtins(outcome, Outcome),
        }
        writer.write(encode(line))
        self._segment_events += 1
        if self._steps.empty() or self._unflushed >= _UNFLUSHED_MAX:
            self._flush(writer)
        if writer.written_bytes > self._full_bytes:
            self.full_in = self._begun

    def end(self, reason: str) -> None:
        """Close the segment, if one is open."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.write(encode(EndLine(events=self._segment_events, reason=reason)))
        finally:
            writer.close()
        self._count_flushed(writer)

    def _flush(self, writer: SegmentWriter) -> None:
        writer.flush()
        self._count_flushed(writer)

    def _count_flushed(self, writer: SegmentWriter) -> None:
        self.events_total += self._unflushed
        self._unflushed = 0
        self.bytes_total += writer.written_bytes - self._counted_bytes
        self._counted_bytes = writer.written_bytes

    def _keep_total(self) -> None:
        """Delete the oldest segments, so that one more has room within the total."""
        sizes = {path: path.stat().st_size for path in segment_files(self._folder)}
        excess = sum(sizes.values()) + self._full_bytes - self._total_bytes
        for path, size in sizes.items():
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def _rows_of(event: Event) -> int:
    """How much an event weighs in the backlog."""
    if isinstance(event, Observed):
        return 1 + sum(len(model.replicas) for model in event.models)
    if isinstance(event, HistoryRead):
        return 1 + len(event.history) // _MINUTES_PER_ROW
    return 1
