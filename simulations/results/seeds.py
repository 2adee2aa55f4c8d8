"""What a policy came to over its seeds: the mean and the worst of each figure, for tables and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from simulations.peers.rules.registry import REFERENCES
from simulations.results.scorecard import Score, Timeline


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a score."""

    title: str
    of: Callable[[Score], float | None]
    form: str
    """Of `format`, as people read it."""
    more_is_better: bool = False


FIGURES: Mapping[str, Figure] = {
    "cost_usd": Figure("cost $", lambda score: score.cost_usd, ".2f"),
    "attainment": Figure("attained", lambda score: score.attainment, ".2%", more_is_better=True),
    "ratio": Figure(
        "× bound", lambda score: None if score.bound is None else score.bound.ratio, ".2f"
    ),
    "relaxed_ratio": Figure(
        "× relaxed", lambda score: None if score.bound is None else score.bound.relaxed_ratio, ".2f"
    ),
    "attainment_relative": Figure(
        "of possible", lambda score: score.attainment_relative, ".2%", more_is_better=True
    ),
    "worst_5min_attainment": Figure(
        "worst 5 min", lambda score: score.worst_5min_attainment, ".1%", more_is_better=True
    ),
    "goodput_per_gpu": Figure(
        "good/s/GPU", lambda score: score.goodput_per_gpu, ".3f", more_is_better=True
    ),
    "ttft_p50_s": Figure("TTFT p50 s", lambda score: score.ttft_s.p50, ".2f"),
    "ttft_p95_s": Figure("TTFT p95 s", lambda score: score.ttft_s.p95, ".2f"),
    "ttft_p99_s": Figure("TTFT p99 s", lambda score: score.ttft_s.p99, ".2f"),
    "tpot_p50_s": Figure("TPOT p50 s", lambda score: score.tpot_s.p50, ".3f"),
    "tpot_p95_s": Figure("TPOT p95 s", lambda score: score.tpot_s.p95, ".3f"),
    "tpot_p99_s": Figure("TPOT p99 s", lambda score: score.tpot_s.p99, ".3f"),
    "gpu_hours": Figure("GPU h", lambda score: score.gpu_hours, ".2f"),
    "replicas_mean": Figure("replicas", lambda score: score.replicas_mean, ".2f"),
    "starts_per_day": Figure("starts/day", lambda score: score.starts_per_day, ".0f"),
    "flaps": Figure("flaps", lambda score: score.flaps, ".1f"),
    "aborted": Figure("aborted", lambda score: score.aborted, ".1f"),
    "lost": Figure("lost", lambda score: score.lost, ".1f"),
    "interruptions": Figure(
        "interrupted", lambda score: None if score.spot is None else score.spot.interruptions, ".1f"
    ),
    "lost_within_notice": Figure(
        "lost in notice",
        lambda score: None if score.spot is None else score.spot.lost_within_notice,
        ".1f",
    ),
    "fallback_hours": Figure(
        "fallback h", lambda score: None if score.spot is None else score.spot.fallback_hours, ".2f"
    ),
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
    return [
        SeedAverage(
            trace=trace,
            policy=policy,
            setting=setting,
            mean={key: _mean(figure, group) for key, figure in FIGURES.items()},
            worst={key: _worst(figure, group) for key, figure in FIGURES.items()},
            scores=tuple(group),
            timeline=group[0].timeline,
        )
        for (trace, policy, setting), group in groups.items()
    ]


def _known(figure: Figure, scores: Sequence[Score]) -> list[float]:
    return [value for value in map(figure.of, scores) if value is not None]


def _mean(figure: Figure, scores: Sequence[Score]) -> float | None:
    known = _known(figure, scores)
    return fmean(known) if known else None


def _worst(figure: Figure, scores: Sequence[Score]) -> float | None:
    known = _known(figure, scores)
    if not known:
        return None
    return min(known) if figure.more_is_better else max(known)
