"""The families of vLLM's `/metrics` page, as `families.toml` beside this file lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric of the engine; its labels are `engine`, `model_name` and perhaps one more."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    """Without `vllm:`, and without `_total` where the client library adds it."""
    text: str
    label: str = ""
    """The label beside the common ones."""
    values: tuple[str, ...] = ("",)
    """Its values, all of which exist from the start."""
    buckets: str | None = None
    """Of a histogram: which of the table's; None: 1, 2, 5, 10, … up to the model's length."""
    since: Version = (0, 0, 0)
    """The first release that has it."""
    gone: Version = (999, 0, 0)
    """The first release after it; names hidden by default count as gone."""
    engine: bool = True
    """False: without the label `engine`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTable:
    """What `families.toml` says."""

    families: tuple[Family, ...]
    buckets: dict[str, tuple[float, ...]]
    cache_config: dict[str, str]
    """Labels of `vllm:cache_config_info`; the empty ones are the server's own."""


TABLE = msgspec.toml.decode(
    Path(__file__).with_name("families.toml").read_bytes(), type=FamilyTable
)
