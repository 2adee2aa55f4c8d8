"""The pydantic models as a structural schema: what an API server takes of OpenAPI, and no more of it.

Nothing is stated here that the models do not state: fields, types, bounds, words, defaults and sentences are
theirs. A structural schema knows no references and no unions, so sections are written out where they stand,
and `X | None` is an X that may be left out. A section that is made of defaults has them for its own, so that the
server fills it in. What it cannot say of an object's keys, or of a quantity's size, is said as a rule in CEL.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Schema: TypeAlias = dict[str, Any]

_KEPT = (
    "type",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
"""What is taken over as it stands. Titles say nothing, and unknown fields the server drops by itself."""
_QUANTITY = "x-kubernetes-int-or-string"
_ABOVE_ZERO = r"^([0-9]*[1-9][0-9]*(\.[0-9]{1,9})?|[0-9]+\.[0-9]*[1-9][0-9]*)m?$"
"""Of what a quantity may be, what is not nought."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """Write a model out as a structural schema.

    Args:
        model: Of sections alone: models within models, lists of them, and plain values.
    """
    whole = model.model_json_schema(mode="validation", by_alias=True)
    return _Writer(whole.get("$defs", {}), _models_below(model)).section(model, whole)


class _Writer:
    """Of one model with all that it refers to."""

    def __init__(self, definitions: dict[str, Schema], models: dict[str, type[BaseModel]]) -> None:
        self._definitions = definitions
        self._models = models

    def section(self, model: type[BaseModel], found: Schema) -> Schema:
        """Write one model: its fields in their order."""
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        written = {
            "description": _sentence(found.get("description", "")),
            "type": "object",
            "required": list(found.get("required", ())),
            "properties": {
                name: self._field(each, fields[name]) for name, each in found["properties"].items()
            },
        }
        return {key: each for key, each in written.items() if each}

    def _field(self, found: Schema, field: FieldInfo) -> Schema:
        value = self._value(found)
        if _QUANTITY in value:
            _bound_quantity(value, field)
        default = _default_of(found, field, value)
        told = {"description": _sentence(found.get("description") or value.get("description", ""))}
        rest = {key: each for key, each in value.items() if key != "description"}
        return {
            **({key: each for key, each in told.items() if each}),
            **rest,
            **({} if default is None else {"default": default}),
        }

    def _value(self, found: Schema) -> Schema:
        """Write what stands at one place, without its default."""
        for each in found.get("anyOf", ()):
            if each.get("type") != "null":
                outer = {key: value for key, value in found.items() if key != "anyOf"}
                return self._value({**outer, **each})
        if "$ref" in found:
            name = found["$ref"].rsplit("/", 1)[-1]
            inner = self._definitions[name]
            return (
                self.section(self._models[name], inner)
                if name in self._models
                else self._value(inner)
            )
        written = {key: found[key] for key in _KEPT if key in found}
        if "const" in found:
            written |= {"type": "string", "enum": [found["const"]]}
        if written.get("type") == "integer":
            written["format"] = "int32" if found.get("maximum", 2**31) < 2**31 else "int64"
        if "items" in found:
            written["items"] = self._value(found["items"])
        if written.get("type") == "object":
            values = [*found.get("patternProperties", {}).values()]
            values += [found["additionalProperties"]] if found.get("additionalProperties") else []
            written["additionalProperties"] = self._value(values[0])
        return written


def _models_below(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """List every model that it consists of, by the name under which it is referred to."""
    found: dict[str, type[BaseModel]] = {}
    waiting: list[Any] = [model]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, BaseModel):
            if each.__name__ not in found:
                found[each.__name__] = each
                waiting += [field.annotation for field in each.model_fields.values()]
        else:
            waiting += getattr(each, "__args__", ())
    return found


def _default_of(found: Schema, field: FieldInfo, value: Schema) -> Any:
    """Return what the server is to fill in; None: nothing.

    An empty list is not filled in, and neither is a field of which a rule of ours asks whether it was given: its
    model says so (`json_schema_extra={"default": None}`).
    """
    if value.get("type") == "object" and "properties" in value:
        if field.default_factory is None:
            return None
        # Written out, though the server would fill them in: it holds a default by itself against the rules.
        inner = value["properties"].items()
        return {name: each["default"] for name, each in inner if "default" in each}
    default = found.get("default")
    if _QUANTITY in value and isinstance(default, float):
        return int(default) if default == int(default) else f"{default:g}"
    return default if isinstance(default, str | int) else None


def _bound_quantity(value: Schema, field: FieldInfo) -> None:
    """State a quantity's bounds: above zero as patterns go, any other as a rule."""
    value["minimum"] = 0
    rules = []
    for each in field.metadata:
        least, most = getattr(each, "ge", None), getattr(each, "le", None)
        if least is not None:
            rules.append((">=", least, f"write at least {least:g}"))
        if most is not None:
            rules.append(("<=", most, f"write at most {most:g}"))
        if getattr(each, "gt", None) == 0:
            # A rule at each entry of a list may cost more than a server allows.
            value["exclusiveMinimum"] = True
            value["pattern"] = _ABOVE_ZERO
    if rules:
        value["x-kubernetes-validations"] = [
            {
                "rule": f"quantity(string(self)).compareTo(quantity('{bound:g}')) {sign} 0",
                "message": message,
            }
            for sign, bound, message in rules
        ]


def _sentence(text: str) -> str:
    """Put a docstring on one line: how it was wrapped is no matter of its readers."""
    return " ".join(text.split())
