"""What is written into a resource's status, out of the last decision on its model. Pure: no clock, no API.

A condition's time is that of its status: it stays while the status does, whatever reason and message become. What
is about a specification says which generation of it: `Ready` is about the one that was read last, and where that one
is refused the rest is about the one that is still in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from autoscaler.core.contract.decision import Decision, Direction
from autoscaler.core.contract.reasons import ConditionType, Reason
from autoscaler.core.contract.spec import Pause
from autoscaler.errors import SpecProblem
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


class ResourceNow(NamedTuple):
    """What is known of one resource at one moment."""

    generation: int
    """Of the resource as it was last read."""
    problems: Sequence[SpecProblem] = ()
    """Why it is refused; none: it is used."""
    decision: Decision | None = None
    """The last one on its model."""
    decided_generation: int = 0
    """Of the specification that this decision is by; 0: there is none."""
    pause: Pause = Pause.NO
    """Of that specification."""


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


def urgent_marks(told: ResourceNow) -> tuple[object, ...]:
    """Return what a reader must learn of soon: two that are equal differ in reasons and messages at most."""
    decision = told.decision
    if decision is None:
        return (told.generation, tuple(told.problems))
    return (
        told.generation,
        told.decided_generation,
        tuple(told.problems),
        told.pause,
        _numbers(decision),
        tuple([(each.type, each.status) for each in decision.conditions]),
    )


def calm_marks(told: ResourceNow) -> tuple[object, ...]:
    """Return what may wait: the words that tell why. Messages are left out, for they have numbers that move."""
    decision = told.decision
    if decision is None:
        return ()
    return (decision.reason, tuple([each.reason for each in decision.conditions]))


def describe_resource(
    told: ResourceNow, *, before: Mapping[str, Transition], at: float
) -> ResourceStatus:
    """Describe one resource.

    Args:
        told: What is known of it.
        before: By the type of a condition, what its status was and since when.
        at: Now, in seconds.
    """
    decision = told.decision
    conditions = []
    for said in _conditions(told):
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
        observed_generation=told.generation,
        reason=_reason(told),
        current_replicas=current,
        ready_replicas=ready,
        desired_replicas=desired,
        warm_floor_replicas=floor,
        last_decision=decision_text(decision) if decision else None,
        conditions=tuple(conditions),
    )


def decision_text(decision: Decision) -> str:
    """Say what was decided and why, in one sentence: `4 to 6 replicas: promised for spot-1: 2 on on-demand`."""
    current, desired = decision.current_replicas, decision.desired_replicas
    if decision.direction is Direction.HOLD or current is None or desired is None:
        known = current if desired is None else desired
        numbers = "holds" if known is None else f"holds {known} replicas"
    else:
        numbers = f"{current} to {desired} replicas"
    why = decision.trail[-1].message if decision.trail else decision.reason
    return shown(f"{numbers}: {why}", limit=MESSAGE_CHARACTERS_MAX)


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


def _reason(told: ResourceNow) -> str:
    if told.problems:
        return StatusReason.REFUSED
    return told.decision.reason if told.decision else StatusReason.NOT_DECIDED


def _numbers(decision: Decision) -> tuple[int | None, int | None, int | None, int | None]:
    """Return current, ready and desired replicas, and the warm floor. Of what nobody could see all are unknown."""
    if decision.reason == Reason.UNOBSERVED or not decision.pools:
        return None, None, decision.desired_replicas, None
    ready = sum([pool.ready_replicas for pool in decision.pools])
    floor = decision.measures.warm_floor_replicas
    return decision.current_replicas, ready, decision.desired_replicas, floor


def _conditions(told: ResourceNow) -> list[_Said]:
    """Every condition, in the order of decisions; `Paused` is the last."""
    decision, generation = told.decision, told.decided_generation
    if decision is None:
        reason, message = StatusReason.NOT_DECIDED, "nothing was decided on it yet"
        if told.problems:
            reason, message = StatusReason.REFUSED, "it was never used"
        types = [*ConditionType, PAUSED]
        found = [_Said(each, "Unknown", reason, message, told.generation) for each in types]
    else:
        found = [
            _Said(each.type, each.status, each.reason, each.message, generation)
            for each in decision.conditions
        ]
        found.append(_paused(told.pause, generation))
    if told.problems:
        refused = _Said(
            ConditionType.READY,
            "False",
            StatusReason.REFUSED,
            _refusal_text(told),
            told.generation,
        )
        found = [refused if each.type == ConditionType.READY else each for each in found]
    return found


def _paused(pause: Pause, generation: int) -> _Said:
    if pause is Pause.NO:
        return _Said(PAUSED, "False", StatusReason.NOT_PAUSED, "it is not paused", generation)
    reason = Reason.PAUSED if pause is Pause.ALL else Reason.SCALE_DOWN_PAUSED
    held = "the scale is held" if pause is Pause.ALL else "no scale-down"
    return _Said(PAUSED, "True", reason, f"paused by annotation: {held}", generation)


def _refusal_text(told: ResourceNow) -> str:
    """Every problem; and which generation is in use all the same."""
    kept = (
        f"generation {told.decided_generation} stays in use"
        if told.decision
        else "its model is not touched"
    )
    lines = "; ".join(
        f"{_within(each.path)}: found {each.found}, {each.remedy}" for each in told.problems
    )
    return f"not used, {kept}: {lines}"


def _within(path: str) -> str:
    """Leave out of a path whose it is: the reader looks at that resource."""
    return path.partition(": ")[2] or path
