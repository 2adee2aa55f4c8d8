"""What pydantic found, for the person who wrote the document: where, what is there, what to write."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from autoscaler.errors import SpecProblem
from autoscaler.foreign_text import shown
from autoscaler.settings.resource import InferenceAutoscaler

_FOUND_LENGTH_MAX = 60
_Location = tuple[int | str, ...]


def problems_of(place: str, error: ValidationError) -> list[SpecProblem]:
    """Put what pydantic found in one document into words."""
    return [
        _problem_of(place, detail)
        for detail in error.errors(include_url=False)
        # a list whose entries are all wrong counts as empty; its entries are reported themselves
        if not (detail["type"] == "too_short" and detail["input"])
    ]


def _problem_of(place: str, error: ErrorDetails) -> SpecProblem:
    location = error["loc"]
    kind = error["type"]
    if kind == "missing":
        found = "nothing"
    elif kind == "extra_forbidden":
        found = "a field that is not known"
    else:
        found = value_text(error["input"])
    return SpecProblem(
        path=f"{place}: {path_of(location)}" if location else place,
        found=found,
        remedy=_remedy(kind, error),
    )


def path_of(location: Sequence[int | str]) -> str:
    """Write a location as `spec.pools[0].name`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = shown(part, limit=80)
            text += f".{name}" if text else name
    return text


def value_text(value: Any) -> str:
    """Return a value as JSON, shortened to a readable length."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        value = value[: 4 * _FOUND_LENGTH_MAX]
    return shown(json.dumps(value, ensure_ascii=False, default=str), limit=_FOUND_LENGTH_MAX)


_MOVED = frozenset({"serverAddress", "bearerTokenFile", "caFile", "headers"})
"""Fields of `prometheus` that a document had once."""

_BY_KIND: dict[str, str] = {
    "int_type": "write a whole number, without quotes",
    "int_parsing": "write a whole number, without quotes",
    "int_from_float": "write a whole number, without quotes",
    "string_type": "write a text, in quotes",
    "greater_than_equal": "write at least {ge:g}",
    "less_than_equal": "write at most {le:g}",
    "greater_than": "write more than {gt:g}",
    "model_type": "write a mapping",
    "model_attributes_type": "write a mapping",
    "dict_type": "write a mapping",
    "tuple_type": "write a list",
    "too_short": "write at least one entry",
    "too_long": "write at most {max_length} entries",
    "string_too_long": "write at most {max_length} characters",
    "bool_type": "write true or false, without quotes",
}
"""What to write, by pydantic's type of error, with its context filled in."""


def _remedy(kind: str, error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if kind == "missing":
        return _write(error["loc"], "write it")
    if kind == "extra_forbidden":
        return _known_fields_text(error["loc"])
    if kind in ("enum", "literal_error"):
        expected = str(context["expected"]).replace(" or ", ", ").replace("'", "")
        return f"write {'one of ' if ',' in expected else ''}{expected}"
    if kind == "string_pattern_mismatch":
        return _pattern(str(context["pattern"]))
    return _BY_KIND[kind].format(**context) if kind in _BY_KIND else error["msg"]


def _pattern(pattern: str) -> str:
    if pattern.startswith("^/"):
        return "write a path with one slash at its beginning and no empty part, such as /metrics"
    if pattern.startswith("^[a-zA-Z_]"):
        return "write a label: letters, digits and '_', not beginning with a digit"
    if pattern.startswith("^([A-Za-z0-9._-]"):
        return "write the name that the certificate is of, such as vllm.serving.svc"
    return "use lower case letters, digits and '-', beginning and ending with a letter or digit"


def _write(location: _Location, fallback: str) -> str:
    """Say what a required field takes."""
    examples = {
        "apiVersion": "write apiVersion: inference-autoscaler.dev/v1alpha1",
        "kind": "write kind: InferenceAutoscaler",
        "scaleTargetRef": "write scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: …}",
        "pools": "write at least one pool",
        "name": "give it a name",
        "server": "write server: NAME, a server that the daemon is given (--prometheus-server NAME=URL)",
    }
    return examples.get(str(location[-1]), fallback)


def _known_fields_text(location: _Location) -> str:
    """Name the field that was meant, or all that there are."""
    if location[-2:-1] == ("prometheus",) and location[-1] in _MOVED:
        return (
            "take it away: who operates the daemon names the servers, with --prometheus-server "
            "NAME=URL[,token-file=FILE][,ca=FILE]; write server: NAME here"
        )
    fields = _fields_at(location[:-1])
    close = difflib.get_close_matches(str(location[-1]), fields, n=1, cutoff=0.6)
    if close:
        return f"write {close[0]}, or take it away"
    return f"take it away; known here: {', '.join(fields)}"


def _fields_at(location: _Location) -> list[str]:
    """List the fields of the section at this location."""
    section: Any = InferenceAutoscaler
    for part in location:
        if isinstance(part, str):
            section = next(
                field.annotation for field in section.model_fields.values() if field.alias == part
            )
        section = _section_in(section)
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_in(annotation: Any) -> Any:
    """Find the section within `X | None`, `tuple[X, ...]` or `Annotated[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_section_in(inner) for inner in get_args(annotation))
    return next((section for section in found if section is not None), None)
