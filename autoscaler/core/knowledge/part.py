"""What all parts of a model's knowledge have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.memory import ModelMemory


class Grain(IntEnum):
    """How finely a part is written that can be written roughly."""

    FINE = 0
    ROUGH = 1


class Given(NamedTuple):
    """To whom, and when, knowledge is given back."""

    at: float
    """Now, seconds."""
    written_at: float
    """When it was written; never after now."""
    spec: ModelSpec
    preferred: str
    """The pool to which the next start would go."""

    @property
    def age_s(self) -> float:
        """How old it is."""
        return self.at - self.written_at

    def left(self, *, half_life_s: float) -> float:
        """Return how much of a sum is left that fades."""
        return math.pow(0.5, self.age_s / half_life_s)


Pack: TypeAlias = Callable[[ModelMemory, Grain], bytes | None]
"""Writes a part of what is remembered; None: there is nothing to keep."""
PutBack: TypeAlias = Callable[[bytes, ModelMemory, Given], str]
"""Puts a part back beside what was observed since; returns why it did not, for people, or nothing. Raises GarbledError,
and has changed nothing then."""


class KnowledgePart(NamedTuple):
    """One of them."""

    pack: Pack
    put_back: PutBack
    layout: tuple[object, ...]
    """On which numbers of ours the meaning of its bytes rests: where these are others, it is left out."""
    needs_target: bool
    """Whether it means nothing where another target, or another objective, was told."""
