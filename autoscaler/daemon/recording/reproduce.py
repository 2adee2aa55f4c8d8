"""`autoscaler replay`: the events of a recording through the engine again, and whether it decides the same.

On an equal writer (package, Python, numpy, architecture, CPU features) the outcomes must be equal byte
for byte. Elsewhere numpy's arithmetic may differ in the last digit, so there the desired replicas,
the commands and the reasons must be equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from autoscaler import __version__
from autoscaler.core.contract.codec import Unreadable, from_builtins, to_builtins
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Event
from autoscaler.core.contract.hindsight import WindowHindsight
from autoscaler.core.engine import Engine, EngineSettings
from autoscaler.daemon.recording.segments import (
    FORMAT,
    CheckpointLine,
    EndLine,
    EventLine,
    Header,
    check,
    encode,
    read_lines,
    segment_files,
    this_writer,
)
from autoscaler.errors import InvariantBroken, RecordingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where the engine decides otherwise than it did."""

    event: int
    """Its id."""
    kind: str
    """Its class."""
    at: float
    model: str
    """Empty: it is in the commands, or in no model."""
    field: str
    """Path within the outcome."""
    recorded: Any
    reproduced: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReport:
    """One segment, replayed."""

    path: Path
    header: Header
    exact: bool
    """Compared byte for byte."""
    events: int
    decisions: int
    commands: int
    ending: str
    """`Rotated`, `Stopped`, or `Cut` where the daemon was killed, or is still writing."""
    difference: Difference | None
    hindsights: Mapping[str, tuple[WindowHindsight, ...]]
    """By model, what was last told in hindsight."""


def recordings_of(path: Path) -> list[Path]:
    """List the segments that a file or a folder stands for.

    Raises:
        RecordingError: There are none.
    """
    if not path.is_dir():
        return [path]
    files = segment_files(path)
    if not files:
        raise RecordingError(f"{path}: a folder without a recording; name one that --record wrote")
    return files


def replay(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[SegmentReport]:
    """Replay a segment, or every segment of a folder; stops after one that differs.

    Args:
        path: A file or a folder.
        progress: Told the events so far of the segment under way.

    Raises:
        RecordingError: One is damaged, or not of a format known here.
    """
    files = recordings_of(path)
    for file in files:
        check(file)
    for file in files:
        report = _replay_segment(file, progress)
        yield report
        if report.difference is not None:
            return


def expect_format(path: Path, header: Header) -> None:
    """Refuse what another format's version wrote.

    Raises:
        RecordingError: It did.
    """
    if header.format != FORMAT:
        raise RecordingError(
            f"{path}: found format {header.format}, written by version {header.writer.package}; "
            f"version {__version__} reads format {FORMAT} alone: replay it with the version that "
            "wrote it, or record anew"
        )


def _replay_segment(path: Path, progress: Callable[[int], None] | None) -> SegmentReport:
    lines = read_lines(path)
    header = next(lines, None)
    if not isinstance(header, Header):
        raise RecordingError(
            f"{path}: no header in the first line; it was cut off, or is none of ours"
        )
    expect_format(path, header)
    checkpoint = next(lines, None)
    if not isinstance(checkpoint, CheckpointLine):
        raise RecordingError(f"{path}: cut off before its checkpoint; nothing can be replayed")
    engine = _restored(path, header, checkpoint)
    exact = header.writer == this_writer()
    events = decisions = commands = 0
    ending, difference = "Cut", None
    hindsights: dict[str, tuple[WindowHindsight, ...]] = {}
    for line in lines:
        if isinstance(line, EndLine):
            ending = line.reason
            break
        if not isinstance(line, EventLine):
            raise RecordingError(f"{path}: a {type(line).__name__} in the midst of events")
        outcome, difference = _replay_event(path, engine, line, exact=exact)
        if difference is not None:
            break
        events += 1
        decisions += len(outcome.decisions)
        commands += len(outcome.commands)
        hindsights |= {each.model: each.hindsight for each in outcome.decisions if each.hindsight}
        if progress is not None:
            progress(events)
    return SegmentReport(
        path=path,
        header=header,
        exact=exact,
        events=events,
        decisions=decisions,
        commands=commands,
        ending=ending,
        difference=difference,
        hindsights=hindsights,
    )


def _restored(path: Path, header: Header, checkpoint: CheckpointLine) -> Engine:
    part = "engine settings"
    try:
        settings = from_builtins(header.settings, EngineSettings)
        part = "checkpoint"
        return Engine.restore(settings, checkpoint.memory)
    except (InvariantBroken, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RecordingError(
            f"{path}: the {part} of version {header.writer.package} cannot be read by this one "
            f"({type(error).__name__}: {error})"
        ) from error


def _replay_event(
    path: Path, engine: Engine, line: EventLine, *, exact: bool
) -> tuple[Outcome, Difference | None]:
    raw = msgspec.json.decode(line.event)
    try:
        event: Event = from_builtins(raw, Event)
    except Unreadable as error:
        raise RecordingError(
            f"{path}: event {raw.get('id') if isinstance(raw, dict) else raw!r} cannot be read "
            f"({error})"
        ) from error
    try:
        outcome = engine.handle(event)
    except Exception:  # noqa: BLE001  as the loop does: a bug decides nothing
        outcome = Outcome()
    reproduced = encode(to_builtins(outcome, Outcome))
    if reproduced == bytes(line.outcome):
        return outcome, None
    before, after = msgspec.json.decode(line.outcome), msgspec.json.decode(reproduced)
    if not exact:
        before, after = _essence(before), _essence(after)
    found = _first_difference(before, after, "")
    if found is None:
        if not exact:
            return outcome, None
        found = ("bytes", line.outcome, reproduced)
    where, recorded, now = found
    return outcome, Difference(
        event=event.id,
        kind=type(event).__name__,
        at=event.at,
        model=_model_at(before, where) or _model_at(after, where),
        field=where,
        recorded=recorded,
        reproduced=now,
    )


def _essence(outcome: Any) -> Any:
    """Keep what must be equal on any machine: desired replicas, commands and reasons."""
    return {
        "decisions": [
            {
                "model": decision["model"],
                "direction": decision["direction"],
                "reason": decision["reason"],
                "desired_replicas": decision["desired_replicas"],
                "pools": [
                    {"pool": pool["pool"], "desired_replicas": pool["desired_replicas"]}
                    for pool in decision["pools"]
                ],
                "trail": [
                    {key: step[key] for key in ("by", "before", "after", "reason")}
                    for step in decision["trail"]
                ],
            }
            for decision in outcome["decisions"]
        ],
        "commands": outcome["commands"],
    }


_Found = tuple[str, Any, Any]
_NOTHING = "nothing"
"""Stands where one of the two has no such part."""


def _first_difference(recorded: Any, reproduced: Any, where: str) -> _Found | None:
    """Find the first leaf that differs: (path, recorded, reproduced)."""
    if isinstance(recorded, dict) and isinstance(reproduced, dict):
        for key in [*recorded, *(key for key in reproduced if key not in recorded)]:
            one, other = recorded.get(key, _NOTHING), reproduced.get(key, _NOTHING)
            found = _first_difference(one, other, f"{where}.{key}" if where else key)
            if found is not None:
                return found
        return None
    if isinstance(recorded, list) and isinstance(reproduced, list):
        pairs = itertools.zip_longest(recorded, reproduced, fillvalue=_NOTHING)
        for index, (one, other) in enumerate(pairs):
            found = _first_difference(one, other, f"{where}[{index}]")
            if found is not None:
                return found
        return None
    return None if recorded == reproduced else (where, recorded, reproduced)


def _model_at(outcome: Any, where: str) -> str:
    """Name the model whose decision a path leads into."""
    head, _, rest = where.partition("[")
    if head not in {"decisions", "commands"}:
        return ""
    index = rest.partition("]")[0]
    try:
        return str(outcome[head][int(index)]["model"])
    except (ValueError, IndexError, KeyError):
        return ""
