"""What an HPA or a ScaledObject asks for, in our words, and what became of each of its fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from autoscaler.foreign_text import shown

_SAID_CHARACTERS_MAX = 600
HPA_KIND, SCALED_OBJECT_KIND = "HorizontalPodAutoscaler", "ScaledObject"


class Equivalence(StrEnum):
    """What became of a field."""

    KEPT = "kept"
    """The same is asked for."""
    CHANGED = "changed"
    """What is asked for is near it; the note says where it differs."""
    NONE = "no equivalent"
    """It is left out; the note says why, and what is used in its place."""


class Note(NamedTuple):
    """One field of the predecessor."""

    path: str
    """As `spec.metrics[0]`."""
    found: str
    """What is written there; empty: nothing."""
    equivalence: Equivalence
    said: str
    """As what it is kept, or why it is not."""

    def __str__(self) -> str:
        found = f" ({self.found})" if self.found else ""
        return f"{self.equivalence}: {self.path}{found}: {self.said}"


@dataclass(slots=True, kw_only=True)
class Predecessor:
    """One HPA or ScaledObject; changed while it is read."""

    kind: str
    """HPA_KIND or SCALED_OBJECT_KIND."""
    namespace: str
    """Empty: it does not say."""
    name: str
    target: str
    """Name of the Deployment that it scales."""
    min_replicas: int = 1
    max_replicas: int = 10
    behavior: dict[str, Any] = field(default_factory=dict)
    """As the resource has it; empty: not given."""
    targets: dict[str, float] = field(default_factory=dict)
    """Fields of `spec.targets`."""
    objective: dict[str, float] = field(default_factory=dict)
    """Fields of `spec.objective`."""
    schedules: list[dict[str, Any]] = field(default_factory=list)
    """Of the warm floor, as the resource has them."""
    paused: str = ""
    """Value of our annotation; empty: not paused."""
    engine: str = ""
    """As `spec.engine`, told by the names of its metrics; empty: they do not tell."""
    notes: list[Note] = field(default_factory=list)

    def keep(self, path: str, found: object, said: str) -> None:
        """Note a field that is kept."""
        self._note(path, found, Equivalence.KEPT, said)

    def change(self, path: str, found: object, said: str) -> None:
        """Note a field that is kept as something else."""
        self._note(path, found, Equivalence.CHANGED, said)

    def drop(self, path: str, found: object, said: str) -> None:
        """Note a field that has no equivalent."""
        self._note(path, found, Equivalence.NONE, said)

    def _note(self, path: str, found: object, equivalence: Equivalence, said: str) -> None:
        text = "" if found is None else shown(found, limit=120)
        said = shown(said, limit=_SAID_CHARACTERS_MAX)  # names of metrics stand in it
        self.notes.append(Note(shown(path, limit=160), text, equivalence, said))
