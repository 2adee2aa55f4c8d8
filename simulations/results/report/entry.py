"""What a page shows: one entry a policy and setting, and the clairvoyant beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from simulations.results.report.line import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One policy (in one setting) on one trace, over its seeds."""

    trace: str
    policy: str
    setting: str
    """`default` or `best`."""
    seeds: int
    figures: Mapping[str, float | None]
    """Mean over the seeds, by column; see `columns`."""
    worst: Mapping[str, float | None]
    timeline: Timeline | None = None
    """Of the first seed."""
    reference: bool = False
    """Not a policy that anyone could run."""

    @property
    def name(self) -> str:
        """As the page calls it."""
        marks = ["reference"] * self.reference + [self.setting] * (self.setting != "default")
        return f"{self.policy} ({', '.join(marks)})" if marks else self.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSchedule:
    """What the clairvoyant pays for over time."""

    attainment: float
    """That it keeps."""
    hours: Sequence[float]
    replicas: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCurve:
    """The clairvoyant's cost over attainment, on one trace."""

    trace: str
    attainment: Sequence[float]
    cost_usd: Sequence[float]
    schedule: BoundSchedule | None = None
