"""What is written into a resource's status, out of the last decision on its model. Pure: no clock, no API.

A condition's time is that of its status: it stays while the status does, whatever reason and message become. What
is about a specification says which generation of it: `Ready` is about the one that was read last, and where that one
is refused the rest is about the one that is still in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.reasons import ConditionType, FindingReason, Reason
from autoscaler.core.contract.spec import ModelSpec, Pause
from autoscaler.errors import SpecProblem
from autoscaler.explain.asked import asked_of
from autoscaler.explain.explanation import headline
from autoscaler.foreign_text import shown
from autoscaler.kube.api.timestamps import rfc3339
from autoscaler.settings.resource_status import (
    MESSAGE_CHARACTERS_MAX,
    ConditionStatus,
    ResourceStatus,
)

PAUSED = "Paused"
"""The condition that decisions do not have: they say it in `ScalingActive`."""


class StatusReason(StrEnum):
    """Why a condition has its status, where that is no word of a decision."""

    REFUSED = "Refused"
    """The resource as it was last written is not used."""
    NOT_DECIDED = "NotDecided"
    """Nothing was decided on its model yet."""
    NOT_PAUSED = "NotPaused"
    INFERENCE_AUTOSCALER = "InferenceAutoscaler"
    """Of `Conflicted`: another resource has the target."""


class ResourceNow(NamedTuple):
    """What is known of one resource at one moment."""

    generation: int
    """Of the resource as it was last read."""
    problems: Sequence[SpecProblem] = ()
    """Why it is refused; none: it is used."""
    decision: Decision | None = None
    """The last one on its model."""
    specification: ModelSpec | None = None
    """That this decision is by; None: there is none."""
    decided_generation: int = 0
    """Of that specification."""
    missing: str = ""
    """Which of its scale targets do not exist, and what there is in their place; empty: all do, or it is unknown."""


class Transition(NamedTuple):
    """When a condition became what it is."""

    status: str
    at: str
    """RFC 3339."""


class _Said(NamedTuple):
    """One condition, without its time."""

    type: str
    status: str
    reason: str
    message: str
    generation: int


def urgent_marks(now: ResourceNow) -> tuple[object, ...]:
    """Return what a reader must learn of soon: two that are equal differ in reasons and messages at most."""
    decision = now.decision
    if decision is None:
        return (now.generation, tuple(now.problems))
    return (
        now.generation,
        now.decided_generation,
        tuple(now.problems),
        _pause(now),
        now.missing,
        _numbers(decision),
        tuple([(each.type, each.status) for each in decision.conditions]),
    )


def calm_marks(now: ResourceNow) -> tuple[object, ...]:
    """Return what may wait: the words that tell why. Messages are left out, for they have numbers that move."""
    decision = now.decision
    if decision is None:
        return ()
    return (decision.reason, tuple([each.reason for each in decision.conditions]))


def describe_resource(
    now: ResourceNow, *, before: Mapping[str, Transition], at: float
) -> ResourceStatus:
    """Describe one resource.

    Args:
        now: What is known of it.
        before: By the type of a condition, what its status was and since when.
        at: Now, in seconds.
    """
    decision = now.decision
    conditions = []
    for said in _conditions(now):
        last = before.get(said.type)
        stays = last is not None and last.status == said.status
        conditions.append(
            ConditionStatus(
                type=said.type,
                status=said.status,
                reason=said.reason,
                message=shown(said.message, limit=MESSAGE_CHARACTERS_MAX),
                last_transition_time=last.at if last is not None and stays else rfc3339(at),
                observed_generation=said.generation,
            )
        )
    current, ready, desired, floor = _numbers(decision) if decision else (None, None, None, None)
    return ResourceStatus(
        observed_generation=now.generation,
        reason=_reason(now),
        current_replicas=current,
        ready_replicas=ready,
        desired_replicas=desired,
        warm_floor_replicas=floor,
        last_decision=_sentence(now),
        conditions=tuple(conditions),
    )


def transitions(status: Mapping[str, Any]) -> dict[str, Transition]:
    """Read what a status has of the times of its conditions; what is none of ours is left out."""
    found = {}
    listed = status.get("conditions")
    for each in listed if isinstance(listed, list) else ():
        if not isinstance(each, dict):
            continue
        kind, state, at = (each.get(key) for key in ("type", "status", "lastTransitionTime"))
        if isinstance(kind, str) and isinstance(state, str) and isinstance(at, str):
            found[kind] = Transition(status=state, at=at)
    return found


def _reason(now: ResourceNow) -> str:
    if now.problems:
        return StatusReason.REFUSED
    return now.decision.reason if now.decision else StatusReason.NOT_DECIDED


def _sentence(now: ResourceNow) -> str | None:
    """Say what was decided and why, with the last step's own figures; None: nothing was."""
    if now.decision is None:
        return None
    asked = None if now.specification is None else asked_of(now.specification)
    trail = now.decision.trail
    figures = f"; {trail[-1].message}" if trail else ""
    return shown(f"{headline(now.decision, asked)}{figures}", limit=MESSAGE_CHARACTERS_MAX)


def _pause(now: ResourceNow) -> tuple[Pause, int | None]:
    spec = now.specification
    return (Pause.NO, None) if spec is None else (spec.pause, spec.paused_replicas)


def _numbers(decision: Decision) -> tuple[int | None, int | None, int | None, int | None]:
    """Return current, ready and desired replicas, and the warm floor. Of what nobody could see all are unknown."""
    if decision.reason == Reason.UNOBSERVED or not decision.pools:
        return None, None, decision.desired_replicas, None
    ready = sum([pool.ready_replicas for pool in decision.pools])
    floor = decision.measures.warm_floor_replicas
    return decision.current_replicas, ready, decision.desired_replicas, floor


def _conditions(now: ResourceNow) -> list[_Said]:
    """Every condition, in the order of decisions; `Paused` is the last."""
    decision, generation = now.decision, now.decided_generation
    if decision is None:
        reason, message = StatusReason.NOT_DECIDED, "nothing was decided on it yet"
        if now.problems:
            reason, message = StatusReason.REFUSED, "it was never used"
        types = [*ConditionType, PAUSED]
        found = [_Said(each, "Unknown", reason, message, now.generation) for each in types]
    else:
        found = [
            _Said(each.type, each.status, each.reason, each.message, generation)
            for each in decision.conditions
        ]
        found.append(_paused(now.specification, generation))
        if now.missing:
            found = [_with_missing(each, now.missing) for each in found]
    if now.problems:
        refused = _Said(
            ConditionType.READY,
            "False",
            StatusReason.REFUSED,
            _refusal_text(now),
            now.generation,
        )
        found = [refused if each.type == ConditionType.READY else each for each in found]
        contested = [each for each in now.problems if each.contested]
        if contested:
            found = [_with_contested(each, now, contested) for each in found]
    return found


def _with_contested(said: _Said, now: ResourceNow, contested: Sequence[SpecProblem]) -> _Said:
    """Say of one whose target another resource has that the two are in conflict, and which that is."""
    if said.type != ConditionType.CONFLICTED:
        return said
    return _Said(
        ConditionType.CONFLICTED,
        "True",
        StatusReason.INFERENCE_AUTOSCALER,
        f"not used: {_lines(contested)}",
        now.generation,
    )


def _with_missing(said: _Said, missing: str) -> _Said:
    """Name what is there in place of a scale target that is not: whoever misspelt it reads it here."""
    if said.type == ConditionType.ABLE_TO_SCALE:
        return said._replace(status="False", reason=FindingReason.TARGET_MISSING, message=missing)
    if said.reason == Reason.TARGET_UNREADABLE:
        return said._replace(message=missing)
    return said


_PAUSES = {
    Pause.ALL: (Reason.PAUSED, "the scale is held"),
    Pause.SCALE_DOWN: (Reason.SCALE_DOWN_PAUSED, "no scale-down"),
    Pause.SCALE_UP: (Reason.SCALE_UP_PAUSED, "no scale-up, but for what replaces spot"),
}


def _paused(specification: ModelSpec | None, generation: int) -> _Said:
    if specification is None or specification.pause is Pause.NO:
        return _Said(PAUSED, "False", StatusReason.NOT_PAUSED, "it is not paused", generation)
    reason, held = _PAUSES[specification.pause]
    if specification.paused_replicas is not None:
        held += f" at {specification.paused_replicas}"
    return _Said(PAUSED, "True", reason, f"paused by annotation: {held}", generation)


def _refusal_text(now: ResourceNow) -> str:
    """Every problem; and which generation is in use all the same."""
    kept = (
        f"generation {now.decided_generation} stays in use"
        if now.decision
        else "its model is not touched"
    )
    return f"not used, {kept}: {_lines(now.problems)}"


def _lines(problems: Sequence[SpecProblem]) -> str:
    return "; ".join(
        f"{_within(each.path)}: found {each.found}, {each.remedy}" for each in problems
    )


def _within(path: str) -> str:
    """Leave out of a path whose it is: the reader looks at that resource."""
    return path.partition(": ")[2] or path
