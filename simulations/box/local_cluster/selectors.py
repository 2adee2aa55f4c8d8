"""Label and field selectors, as text in a query and as objects in a spec. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from simulations.box.local_cluster.objects import Object, StatusError

_SET = re.compile(r"^\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([\w./-]+)\s*(==|!=|=)\s*([\w./:-]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([\w./-]+)\s*$")
_COMMA = re.compile(r",(?![^(]*\))")  # not inside `in (a,b)`


_FIELDS = frozenset({"involvedObject.kind", "metadata.name", "spec.nodeName", "status.phase"})


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
        raise StatusError("BadRequest", f"{self.operator!r} is not a valid label selector operator")


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
    raise StatusError("BadRequest", f"unable to parse requirement: {clause!r}")


def matches_labels(requirements: Iterable[Requirement], obj: Object) -> bool:
    """Whether an object's labels satisfy every clause."""
    labels = obj["metadata"].get("labels") or {}
    return all(requirement.matches(labels) for requirement in requirements)


def parse_fields(text: str) -> tuple[Requirement, ...]:
    """A `fieldSelector` query parameter, of the fields that kubectl's commands ask for."""
    requirements = parse_labels(text)
    for requirement in requirements:
        if requirement.key not in _FIELDS:
            raise StatusError("BadRequest", f"field label not supported: {requirement.key!r}")
    return requirements


def matches_fields(requirements: Iterable[Requirement], obj: Object) -> bool:
    """Whether an object's fields satisfy every clause; an absent field is the empty text."""
    for requirement in requirements:
        part, _, name = requirement.key.partition(".")
        if not requirement.matches({requirement.key: obj.get(part, {}).get(name, "")}):
            return False
    return True


def from_spec(selector: Object) -> tuple[Requirement, ...]:
    """A `LabelSelector` object: matchLabels and matchExpressions."""
    equal = [
        Requirement(key, "In", frozenset({str(value)}))
        for key, value in (selector.get("matchLabels") or {}).items()
    ]
    return (*equal, *expressions(selector.get("matchExpressions") or ()))


def expressions(clauses: Iterable[Object]) -> tuple[Requirement, ...]:
    """The clauses of matchExpressions (of labels, and of a node affinity)."""
    return tuple(
        Requirement(clause["key"], clause["operator"], frozenset(clause.get("values") or ()))
        for clause in clauses
    )
