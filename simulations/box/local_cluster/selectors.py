"""Label and field selectors, as text in a query and as objects in a spec. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from simulations.box.local_cluster.objects import Object, bad_request

_SET = re.compile(r"^\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([\w./-]+)\s*(==|!=|=)\s*([\w./:-]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([\w./-]+)\s*$")
_COMMA = re.compile(r",(?![^(]*\))")  # not inside `in (a,b)`


@dataclass(frozen=True, slots=True)
class Requirement:
    """One clause: `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """NotIn also matches an absent label, as Kubernetes has it."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
        raise bad_request(f"{self.operator!r} is not a valid label selector operator")


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """A `labelSelector` query parameter."""
    return tuple(_requirement(clause) for clause in _COMMA.split(text)) if text else ()


def _requirement(clause: str) -> Requirement:
    if found := _SET.match(clause):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "In" if found[2] == "in" else "NotIn", values)
    if found := _EQUAL.match(clause):
        operator = "NotIn" if found[2] == "!=" else "In"
        return Requirement(found[1], operator, frozenset({found[3]}))
    if found := _EXISTS.match(clause):
        return Requirement(found[2], "DoesNotExist" if found[1] else "Exists")
    raise bad_request(f"unable to parse requirement: {clause!r}")


def matches_labels(requirements: tuple[Requirement, ...], obj: Object) -> bool:
    """Whether an object's labels satisfy every clause."""
    labels = obj["metadata"].get("labels") or {}
    return all(requirement.matches(labels) for requirement in requirements)


def from_spec(selector: Object) -> tuple[Requirement, ...]:
    """A `LabelSelector` object: matchLabels and matchExpressions."""
    equal = [
        Requirement(key, "In", frozenset({str(value)}))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    return (*equal, *expressions(selector.get("matchExpressions") or ()))


def expressions(clauses: list[Object] | tuple[Object, ...]) -> tuple[Requirement, ...]:
    """The clauses of matchExpressions (of labels, and of a node affinity)."""
    return tuple(
        Requirement(clause["key"], clause["operator"], frozenset(clause.get("values") or ()))
        for clause in clauses
    )


def to_text(selector: Object) -> str:
    """As `status.selector` of a Scale writes it."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for clause in selector.get("matchExpressions") or ():
        values = ",".join(sorted(clause.get("values") or ()))
        match clause["operator"]:
            case "In":
                parts.append(f"{clause['key']} in ({values})")
            case "NotIn":
                parts.append(f"{clause['key']} notin ({values})")
            case "Exists":
                parts.append(clause["key"])
            case _:
                parts.append(f"!{clause['key']}")
    return ",".join(parts)


_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "spec.nodeName", "status.phase", "spec.unschedulable"}
)


def parse_fields(text: str) -> tuple[Requirement, ...]:
    """A `fieldSelector` query parameter: equality only."""
    requirements = []
    for clause in text.split(",") if text else ():
        found = _EQUAL.match(clause)
        if found is None or found[1] not in _FIELDS:
            raise bad_request(f"field label not supported: {clause!r}")
        operator = "NotIn" if found[2] == "!=" else "In"
        requirements.append(Requirement(found[1], operator, frozenset({found[3]})))
    return tuple(requirements)


def matches_fields(requirements: tuple[Requirement, ...], obj: Object) -> bool:
    """Whether an object's fields satisfy every clause; an absent field is the empty text."""
    return all(
        requirement.matches({requirement.key: _field(obj, requirement.key)})
        for requirement in requirements
    )


def _field(obj: Object, path: str) -> str:
    value: object = obj
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
