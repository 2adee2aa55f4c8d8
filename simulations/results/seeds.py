"""What a policy came to over its seeds: the mean and the worst of each figure, for tables and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulations.peers.rules.registry import REFERENCES
from simulations.results.scorecard import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a row."""

    title: str
    of: Callable[[Row], float | None]
    form: str
    """Of `format`, as people read it."""
    more_is_better: bool = False


FIGURES: Mapping[str, Figure] = {
    "cost_usd": Figure(title="cost $", of=lambda row: row.cost_usd, form=".2f"),
    "attainment": Figure(
        title="attained", of=lambda row: row.attainment, form=".2%", more_is_better=True
    ),
    "ratio": Figure(
        title="× bound", of=lambda row: None if row.bound is None else row.bound.ratio, form=".2f"
    ),
    "relaxed_ratio": Figure(
        title="× relaxed",
        of=lambda row: None if row.bound is None else row.bound.relaxed_ratio,
        form=".2f",
    ),
    "attainment_relative": Figure(
        title="of possible",
        of=lambda row: row.attainment_relative,
        form=".2%",
        more_is_better=True,
    ),
    "worst_5min_attainment": Figure(
        title="worst 5 min",
        of=lambda row: row.worst_5min_attainment,
        form=".1%",
        more_is_better=True,
    ),
    "goodput_per_gpu": Figure(
        title="good/s/GPU", of=lambda row: row.goodput_per_gpu, form=".3f", more_is_better=True
    ),
    "ttft_p50_s": Figure(title="TTFT p50 s", of=lambda row: row.ttft_s.p50, form=".2f"),
    "ttft_p95_s": Figure(title="TTFT p95 s", of=lambda row: row.ttft_s.p95, form=".2f"),
    "ttft_p99_s": Figure(title="TTFT p99 s", of=lambda row: row.ttft_s.p99, form=".2f"),
    "tpot_p50_s": Figure(title="TPOT p50 s", of=lambda row: row.tpot_s.p50, form=".3f"),
    "tpot_p95_s": Figure(title="TPOT p95 s", of=lambda row: row.tpot_s.p95, form=".3f"),
    "tpot_p99_s": Figure(title="TPOT p99 s", of=lambda row: row.tpot_s.p99, form=".3f"),
    "gpu_hours": Figure(title="GPU h", of=lambda row: row.gpu_hours, form=".2f"),
    "replicas_mean": Figure(title="replicas", of=lambda row: row.replicas_mean, form=".2f"),
    "starts_per_day": Figure(title="starts/day", of=lambda row: row.starts_per_day, form=".0f"),
    "flaps": Figure(title="flaps", of=lambda row: float(row.flaps), form=".1f"),
    "aborted": Figure(title="aborted", of=lambda row: float(row.aborted), form=".1f"),
    "lost": Figure(title="lost", of=lambda row: float(row.lost), form=".1f"),
    "interruptions": Figure(
        title="interrupted",
        of=lambda row: None if row.spot is None else float(row.spot.interruptions),
        form=".1f",
    ),
    "lost_within_notice": Figure(
        title="lost in notice",
        of=lambda row: None if row.spot is None else float(row.spot.lost_within_notice),
        form=".1f",
    ),
    "fallback_hours": Figure(
        title="fallback h",
        of=lambda row: None if row.spot is None else row.spot.fallback_hours,
        form=".2f",
    ),
}
"""By key, the headline first: in the order in which tables show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaged:
    """One policy in one setting on one trace."""

    trace: str
    policy: str
    setting: str
    """`default` or `best`."""
    rows: tuple[Row, ...]
    """One a seed."""
    mean: Mapping[str, float | None]
    worst: Mapping[str, float | None]

    @property
    def reference(self) -> bool:
        """Nobody can run it: it stands beside the policies, not among them."""
        return self.policy in REFERENCES

    @property
    def name(self) -> str:
        """As a table calls it."""
        return called(self.policy, self.setting)


def called(policy: str, setting: str) -> str:
    """A policy in a setting, as a table calls it."""
    marks = ["reference"] * (policy in REFERENCES) + ["best"] * (setting == "best")
    return f"{policy} ({', '.join(marks)})" if marks else policy


def averaged(rows: Sequence[Row]) -> list[Averaged]:
    """Over the seeds, in the order in which policies appear."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.trace, row.policy, row.setting or "default"), []).append(row)
    return [
        Averaged(
            trace=trace,
            policy=policy,
            setting=setting,
            rows=tuple(group),
            mean={key: _mean(figure, group) for key, figure in FIGURES.items()},
            worst={key: _worst(figure, group) for key, figure in FIGURES.items()},
        )
        for (trace, policy, setting), group in groups.items()
    ]


def _known(figure: Figure, rows: Sequence[Row]) -> list[float]:
    return [value for value in map(figure.of, rows) if value is not None]


def _mean(figure: Figure, rows: Sequence[Row]) -> float | None:
    known = _known(figure, rows)
    return float(np.mean(known)) if known else None


def _worst(figure: Figure, rows: Sequence[Row]) -> float | None:
    known = _known(figure, rows)
    if not known:
        return None
    return min(known) if figure.more_is_better else max(known)
