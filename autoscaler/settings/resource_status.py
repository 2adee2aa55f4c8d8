"""The status of the custom resource: what the daemon writes, and a reader of `kubectl get` sees.

Small, and nothing in it moves fast: every write of it goes to everybody who watches the resource. Decisions in
full are on `/debug/models`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

_CONDITIONS_MAX = 32
MESSAGE_CHARACTERS_MAX = 1024
_REASON = r"^[A-Za-z]([A-Za-z0-9]{0,126}[A-Za-z0-9])?$"
_BY_TYPE: dict[str, JsonValue] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}
_AS_TIME: dict[str, JsonValue] = {"format": "date-time"}


class _StatusSection(BaseModel):
    """A part of the status: closed, camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


class ConditionStatus(_StatusSection):
    """One observation, as the Kubernetes API conventions have it."""

    type: str = Field(max_length=64)
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=128, pattern=_REASON)
    """One word of a closed set."""
    message: str = Field(max_length=MESSAGE_CHARACTERS_MAX)
    """For people; never compared by programs."""
    last_transition_time: str = Field(json_schema_extra=_AS_TIME)
    """When the status became what it is."""
    observed_generation: int = Field(ge=0)
    """Of the resource that it is about."""


class ResourceStatus(_StatusSection):
    """What the daemon sees of one model, and wants."""

    observed_generation: int = Field(ge=0)
    """Of the resource that was last read, used or refused."""
    reason: str = Field(max_length=128, pattern=_REASON)
    """Of the last decision in one word; where the resource was refused, that."""
    current_replicas: int | None = Field(default=None, ge=0)
    """As asked of the scale targets now, over all pools. Absent: unknown."""
    ready_replicas: int | None = Field(default=None, ge=0)
    """Ready, not deleted and not doomed."""
    desired_replicas: int | None = Field(default=None, ge=0)
    """As decided, over all pools; on-demand fallback included. Absent: unknown."""
    warm_floor_replicas: int | None = Field(default=None, ge=0)
    """Ready replicas that are kept without demand now."""
    last_decision: str | None = Field(default=None, max_length=MESSAGE_CHARACTERS_MAX)
    """What was decided, and why, as a sentence: the last one with another outcome than the one before."""
    conditions: Annotated[tuple[ConditionStatus, ...], Field(max_length=_CONDITIONS_MAX)] = Field(
        default=(), json_schema_extra=_BY_TYPE
    )
    """Each is about one question; none of them is a step of a sequence."""
