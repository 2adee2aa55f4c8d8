"""Rules that span fields, and documents, checked on what was written.

They read the raw document and skip what is not of its type: so they are reported together with the
problems of single fields, and not one round of editing later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from autoscaler.core.contract.commands import PAUSED_ANNOTATION, PAUSED_REPLICAS_ANNOTATION
from autoscaler.core.contract.state import CapacityType
from autoscaler.errors import SpecProblem
from autoscaler.settings.documents import Document
from autoscaler.settings.metrics_rules import problems_of_metrics
from autoscaler.settings.problems import value_text

PAUSED_VALUES = ("true", "scale-down", "scale-up", "false")
_MAX_REPLICAS = 10
_CAPACITY_TYPES = tuple(map(str, CapacityType))


def problems_within(document: Document) -> Iterator[SpecProblem]:
    """Check one document."""
    spec = _mapping(document.content, "spec")
    maximum = _whole(spec, "maxReplicas", default=_MAX_REPLICAS)
    floor = _mapping(spec, "warmFloor")
    if maximum is not None and maximum >= 1:
        yield from _at_most(document, "spec.minReplicas", _whole(spec, "minReplicas", 1), maximum)
        yield from _at_most(
            document, "spec.warmFloor.replicas", _whole(floor, "replicas", 0), maximum
        )
        for path, schedule in _schedules(floor):
            replicas = _whole(schedule, "replicas", 0)
            yield from _at_most(document, f"{path}.replicas", replicas, maximum)
    yield from _floor_has_a_pool(document, spec, floor)
    yield from _schedules_last(document, floor)
    yield from _ramp_is_forecast(document, spec, floor)
    yield from _unique_pool_names(document, spec)
    yield from _pause_is_one(document)
    yield from _paused_replicas_are_some(document, maximum=maximum)
    yield from problems_of_metrics(document, _mapping(spec, "metrics"))


def problems_between(documents: list[Document]) -> Iterator[SpecProblem]:
    """Check documents against each other: one resource, and one scale target, only once."""
    resources: dict[str, str] = {}
    targets: dict[str, str] = {}
    for document in documents:
        metadata = _mapping(document.content, "metadata")
        namespace = metadata.get("namespace", "default")
        key = f"{namespace}/{metadata.get('name')}"
        if "name" in metadata:
            if key in resources:
                yield SpecProblem(
                    path=f"{document.place}: metadata.name",
                    found=f"{key}, which {resources[key]} has already",
                    remedy="keep one of the two",
                )
            resources.setdefault(key, document.place)
        for index, pool in _pools(_mapping(document.content, "spec")):
            path = f"spec.pools[{index}].scaleTargetRef"
            target = _mapping(pool, "scaleTargetRef")
            name = target.get("name")
            if not isinstance(name, str):
                continue
            full = f"{target.get('kind', 'Deployment')}/{namespace}/{name}"
            if full in targets:
                yield SpecProblem(
                    path=f"{document.place}: {path}",
                    found=f"{full}, which {targets[full]} has already",
                    remedy="let each target be scaled by one pool of one model",
                    contested=True,
                )
            targets.setdefault(full, f"{document.place}: {path}")


def _at_most(
    document: Document, path: str, value: int | None, maximum: int
) -> Iterator[SpecProblem]:
    if value is not None and value > maximum:
        yield SpecProblem(
            path=f"{document.place}: {path}",
            found=f"{value}, above maxReplicas {maximum}",
            remedy=f"write at most {maximum}, or raise maxReplicas",
        )


def _floor_has_a_pool(
    document: Document, spec: dict[str, Any], floor: dict[str, Any]
) -> Iterator[SpecProblem]:
    of_floor = floor.get("capacityType")
    types = [pool.get("capacityType", "OnDemand") for _, pool in _pools(spec)]
    if not types or not all(found in _CAPACITY_TYPES for found in [of_floor, *types]):
        return  # reported elsewhere, or no floor is asked for
    if of_floor not in types:
        yield SpecProblem(
            path=f"{document.place}: spec.warmFloor.capacityType",
            found=f"{value_text(of_floor)}, which no pool has",
            remedy=f"write one of {', '.join(sorted(set(types)))}, or add such a pool",
        )


def _schedules_last(document: Document, floor: dict[str, Any]) -> Iterator[SpecProblem]:
    for path, schedule in _schedules(floor):
        begin, end = schedule.get("from"), schedule.get("to")
        if begin == "24:00":
            yield SpecProblem(
                path=f"{document.place}: {path}.from",
                found=value_text(begin),
                remedy='write "00:00", of the next day',
            )
        elif isinstance(begin, str) and begin == end:
            yield SpecProblem(
                path=f"{document.place}: {path}.to",
                found=f"{value_text(end)}, which is also where it begins",
                remedy='write another time; a whole day is from "00:00" to "24:00"',
            )


def _ramp_is_forecast(
    document: Document, spec: dict[str, Any], floor: dict[str, Any]
) -> Iterator[SpecProblem]:
    """Without a forecast nothing remembers what the load was."""
    if floor.get("ramp") == "Auto" and _mapping(spec, "forecast").get("mode") == "Off":
        yield SpecProblem(
            path=f"{document.place}: spec.warmFloor.ramp",
            found='"Auto", where spec.forecast.mode is Off and the load is not remembered',
            remedy="write forecast: {mode: Auto}, or ramp: Off",
        )


def _pause_is_one(document: Document) -> Iterator[SpecProblem]:
    """A pause that is misspelt would silently not pause."""
    annotations = _mapping(_mapping(document.content, "metadata"), "annotations")
    paused = annotations.get(PAUSED_ANNOTATION)
    if isinstance(paused, str) and paused not in PAUSED_VALUES:
        yield SpecProblem(
            path=f"{document.place}: metadata.annotations[{PAUSED_ANNOTATION}]",
            found=value_text(paused),
            remedy=f"write one of {', '.join(value_text(value) for value in PAUSED_VALUES)}",
        )


def _paused_replicas_are_some(document: Document, *, maximum: int | None) -> Iterator[SpecProblem]:
    """A number that nothing goes by, or that nobody can have meant, would be found out too late."""
    annotations = _mapping(_mapping(document.content, "metadata"), "annotations")
    found = annotations.get(PAUSED_REPLICAS_ANNOTATION)
    if not isinstance(found, str):
        return
    path = f"{document.place}: metadata.annotations[{PAUSED_REPLICAS_ANNOTATION}]"
    if not re.fullmatch(r"[1-9][0-9]{0,5}", found):
        remedy = 'write a whole number of at least 1 in quotes, such as "3"'
        yield SpecProblem(path=path, found=value_text(found), remedy=remedy)
    elif annotations.get(PAUSED_ANNOTATION) != "true":
        yield SpecProblem(
            path=path,
            found=f"{value_text(found)}, and no pause that it could be the number of",
            remedy=f'write {PAUSED_ANNOTATION}: "true" beside it, or take it away',
        )
    elif maximum is not None and int(found) > maximum >= 1:
        yield SpecProblem(
            path=path,
            found=f"{value_text(found)}, above maxReplicas ({maximum})",
            remedy="write at most as many, or raise maxReplicas",
        )


def _unique_pool_names(document: Document, spec: dict[str, Any]) -> Iterator[SpecProblem]:
    seen: set[str] = set()
    for index, pool in _pools(spec):
        name = pool.get("name")
        if isinstance(name, str) and name in seen:
            yield SpecProblem(
                path=f"{document.place}: spec.pools[{index}].name",
                found=f"{value_text(name)}, which another pool has already",
                remedy="give each pool a name of its own",
            )
        elif isinstance(name, str):
            seen.add(name)


def _pools(spec: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    pools = spec.get("pools")
    if isinstance(pools, list):
        for index, pool in enumerate(pools):
            if isinstance(pool, dict):
                yield index, pool


def _schedules(floor: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each schedule, with its path."""
    schedules = floor.get("schedules")
    if isinstance(schedules, list):
        for index, schedule in enumerate(schedules):
            if isinstance(schedule, dict):
                yield f"spec.warmFloor.schedules[{index}]", schedule


def _mapping(parent: Any, key: str) -> dict[str, Any]:
    value = parent.get(key) if isinstance(parent, dict) else None
    return value if isinstance(value, dict) else {}


def _whole(parent: dict[str, Any], key: str, default: int) -> int | None:
    value = parent.get(key, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
