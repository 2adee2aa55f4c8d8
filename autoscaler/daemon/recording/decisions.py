"""The decisions of a recording at a moment, as they were recorded: nothing is decided again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from autoscaler.core.contract.codec import Unreadable, from_builtins
from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.spec import FleetSpec, ModelSpec
from autoscaler.daemon.recording.reproduce import expect_format, recordings_of
from autoscaler.daemon.recording.segments import (
    CheckpointLine,
    EventLine,
    Header,
    read_lines,
)
from autoscaler.errors import RecordingError
from autoscaler.explain.asked import asked_of
from autoscaler.explain.course import Course, Turn
from autoscaler.explain.page import PageModel

_TOLD_S = 150.0
"""What was told in hindsight, which is once a minute, is looked for so far back."""


class RecordedDecision(NamedTuple):
    """One model's."""

    decision: Decision
    """With what was last told in hindsight."""
    spec: ModelSpec


class _Moment(msgspec.Struct):
    """Of an event: when, and what else is needed of it; the rest is passed over."""

    at: float
    kind: str
    fleet: msgspec.Raw = msgspec.Raw(b"null")


_moment = msgspec.json.Decoder(_Moment)


def decisions_at(path: Path, *, at: float | None = None) -> dict[str, RecordedDecision]:
    """Return the decisions that were in force at a moment, by model.

    Args:
        path: A segment, or the folder of all.
        at: Seconds since the epoch; None: at its end.

    Raises:
        RecordingError: It cannot be read, or has no decision up to that moment.
    """
    for file in reversed(recordings_of(path)):
        found = _decisions_of(file, at=at)
        if found:
            return found
    when = "" if at is None else " up to that moment"
    raise RecordingError(
        f"{path}: no decision is recorded{when}; it may begin later, or be of no model"
    )


def courses_at(
    path: Path,
    *,
    at: float | None = None,
    turned: Callable[[str, Turn], None] = lambda _model, _turn: None,
) -> dict[str, PageModel]:
    """Return, by model, the decisions that were in force at a moment, and how they went up to it.

    Args:
        path: A segment, or the folder of all.
        at: Seconds since the epoch; None: at its end.
        turned: Is told each decision that changed something, with its model.

    Raises:
        RecordingError: It cannot be read, or has no decision up to that moment.
    """
    found = decisions_at(path, at=at)
    courses: dict[str, Course] = {key: Course() for key in found}
    asked = {key: asked_of(each.spec) for key, each in found.items()}
    for file in recordings_of(path):
        for event, outcome in _events_of(file, at=at):
            if event.kind == "Observed":
                for decision in from_builtins(msgspec.json.decode(outcome), Outcome).decisions:
                    key = decision.model
                    if key in courses and (turn := courses[key].add(decision, asked[key])):
                        turned(key, turn)
    return {key: PageModel(each.decision, asked[key], courses[key]) for key, each in found.items()}


def _events_of(file: Path, *, at: float | None) -> Iterator[tuple[_Moment, msgspec.Raw]]:
    """Read the events of a segment up to a moment, each with its outcome."""
    for line in read_lines(file):
        if isinstance(line, EventLine):
            event = _moment.decode(line.event)
            if at is not None and event.at > at:
                return
            yield event, line.outcome


def _decisions_of(file: Path, *, at: float | None) -> dict[str, RecordedDecision]:
    lines = read_lines(file)
    header, checkpoint = next(lines, None), next(lines, None)
    if isinstance(header, Header):
        expect_format(file, header)
    if not isinstance(header, Header) or not isinstance(checkpoint, CheckpointLine):
        return {}  # a daemon that was killed as it began one
    fleet: Any = checkpoint.memory.get("fleet")
    recent: deque[tuple[float, msgspec.Raw]] = deque()
    for event, outcome in _events_of(file, at=at):
        if event.kind == "SpecChanged":
            fleet = msgspec.json.decode(event.fleet)
        if event.kind == "Observed":
            recent.append((event.at, outcome))
            while recent[0][0] < event.at - _TOLD_S:
                recent.popleft()
    try:
        return _last_of(fleet, [msgspec.json.decode(outcome) for _, outcome in recent])
    except Unreadable as error:
        raise RecordingError(f"{file}: its decisions cannot be read ({error})") from error


def _last_of(fleet: Any, plain: list[Any]) -> dict[str, RecordedDecision]:
    """Return the last decision of each model of the fleet."""
    if fleet is None:
        return {}
    specs = {spec.key: spec for spec in from_builtins(fleet, FleetSpec).models}
    found: dict[str, RecordedDecision] = {}
    for each in plain:
        outcome: Outcome = from_builtins(each, Outcome)
        for decision in outcome.decisions:
            spec, before = specs.get(decision.model), found.get(decision.model)
            if spec is None:
                continue
            if not decision.hindsight and before is not None:
                decision = decision._replace(hindsight=before.decision.hindsight)  # noqa: PLW2901  the same, with what was told before
            found[decision.model] = RecordedDecision(decision, spec)
    return found
