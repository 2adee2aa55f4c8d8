"""What a policy came to over its seeds: the mean and the worst of each figure, for tables and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, cast

from simulations.peers.rules.registry import REFERENCES
from simulations.results.scorecard import Score, Timeline


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a score."""

    title: str
    path: str
    """To its attribute."""
    form: str
    """Of `format`, as people read it."""
    more_is_better: bool = False

    def of(self, score: Score) -> float | None:
        """Its value; None: the score has none."""
        value: Any = score
        for name in self.path.split("."):
            value = None if value is None else getattr(value, name)
        return cast("float | None", value)


FIGURES: Mapping[str, Figure] = {
    "cost_usd": Figure("cost $", "cost_usd", ".2f"),
    "attainment": Figure("attained", "attainment", ".2%", more_is_better=True),
    "ratio": Figure("× bound", "bound.ratio", ".2f"),
    "found_ratio": Figure("× found", "found.ratio", ".2f"),
    "relaxed_ratio": Figure("× relaxed", "bound.relaxed_ratio", ".2f"),
    "attainment_relative": Figure("of possible", "attainment_relative", ".2%", more_is_better=True),
    "worst_5min_attainment": Figure(
        "worst 5 min", "worst_5min_attainment", ".1%", more_is_better=True
    ),
    "goodput_per_gpu": Figure("good/s/GPU", "goodput_per_gpu", ".3f", more_is_better=True),
    "ttft_p50_s": Figure("TTFT p50 s", "ttft_s.p50", ".2f"),
    "ttft_p95_s": Figure("TTFT p95 s", "ttft_s.p95", ".2f"),
    "ttft_p99_s": Figure("TTFT p99 s", "ttft_s.p99", ".2f"),
    "tpot_p50_s": Figure("TPOT p50 s", "tpot_s.p50", ".3f"),
    "tpot_p95_s": Figure("TPOT p95 s", "tpot_s.p95", ".3f"),
    "tpot_p99_s": Figure("TPOT p99 s", "tpot_s.p99", ".3f"),
    "gpu_hours": Figure("GPU h", "gpu_hours", ".2f"),
    "replicas_mean": Figure("replicas", "replicas_mean", ".2f"),
    "starts_per_day": Figure("starts/day", "starts_per_day", ".0f"),
    "flaps": Figure("flaps", "flaps", ".1f"),
    "idle_gpu_hours": Figure("idle GPU h", "scores.idle_gpu_hours", ".2f"),
    "late_replica_hours": Figure("late h", "scores.late_replica_hours", ".2f"),
    "regretted_scale_downs": Figure("regretted", "scores.regretted_scale_downs", ".1f"),
    "aborted": Figure("aborted", "aborted", ".1f"),
    "lost": Figure("lost", "lost", ".1f"),
    "interruptions": Figure("interrupted", "spot.interruptions", ".1f"),
    "lost_within_notice": Figure("lost in notice", "spot.lost_within_notice", ".1f"),
    "fallback_hours": Figure("fallback h", "spot.fallback_hours", ".2f"),
}
"""By key, the headline first: in the order in which tables show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedAverage:
    """One policy in one setting on one trace."""

    trace: str
    policy: str
    setting: str
    """`default` or `best`."""
    mean: Mapping[str, float | None]
    """Over the seeds, by key of FIGURES."""
    worst: Mapping[str, float | None]
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Those that its setting changes."""
    replicas_max: int = 0
    """Most paid at once, of all seeds."""
    scores: tuple[Score, ...] = ()
    """One a seed; empty where the figures are no score's."""
    timeline: Timeline | None = None
    """Of the first seed, where it was kept."""

    @property
    def reference(self) -> bool:
        """Whether it is a reference, which nobody can run in production: tables set it apart."""
        return self.policy in REFERENCES

    @property
    def name(self) -> str:
        """As a table calls it."""
        return policy_label(self.policy, self.setting)

    @property
    def cost_usd(self) -> float:
        """The mean, which every score has."""
        return self.mean["cost_usd"] or 0.0

    @property
    def attainment(self) -> float:
        """The mean, which every score has."""
        return self.mean["attainment"] or 0.0


def policy_label(policy: str, setting: str) -> str:
    """A policy in a setting, as a table calls it."""
    marks = ["reference"] * (policy in REFERENCES) + ["best"] * (setting == "best")
    return f"{policy} ({', '.join(marks)})" if marks else policy


def seed_averages(scores: Sequence[Score]) -> list[SeedAverage]:
    """Over the seeds, in the order in which policies appear."""
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        key = (score.trace, score.policy, score.setting or "default")
        groups.setdefault(key, []).append(score)
    averages = []
    for (trace, policy, setting), group in groups.items():
        figures = {key: _mean_and_worst(figure, group) for key, figure in FIGURES.items()}
        averages.append(
            SeedAverage(
                trace=trace,
                policy=policy,
                setting=setting,
                mean={key: mean for key, (mean, _) in figures.items()},
                worst={key: worst for key, (_, worst) in figures.items()},
                parameters=group[0].parameters or {},
                replicas_max=max(score.replicas_max for score in group),
                scores=tuple(group),
                timeline=group[0].timeline,
            )
        )
    return averages


def _mean_and_worst(
    figure: Figure, scores: Sequence[Score]
) -> tuple[float, float] | tuple[None, None]:
    known = [value for value in map(figure.of, scores) if value is not None]
    if not known:
        return None, None
    return fmean(known), min(known) if figure.more_is_better else max(known)
