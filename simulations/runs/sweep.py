"""The best that each baseline's settings could have done, chosen in hindsight.

Each of a baseline's twelve settings is run on the first seed; the cheapest that attains the objective
is its best, or, where none does, the one that attains most. That one is then run on all seeds. So
nobody can say that a peer was handicapped by its defaults; and what is chosen in hindsight on a trace
is more than anyone has before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from simulations.peers.rules.registry import BASELINES
from simulations.results.scorecard import Score
from simulations.runs.runs import Plan

DEFAULT = "default"
BEST = "best"


def sweep_plans(plans: Sequence[Plan]) -> list[Plan]:
    """Every setting of every tunable baseline, on its first seed."""
    return [
        replace(plan, parameters=dict(parameters), setting=BEST, with_timeline=False)
        for plan in plans
        if plan.seed == 0 and plan.policy in BASELINES
        for parameters in BASELINES[plan.policy].sweep
    ]


def best_parameters(
    swept: Sequence[Plan], scores: Sequence[Score]
) -> dict[tuple[str, str], Mapping[str, float]]:
    """The best setting by trace and policy; of equal ones the first."""
    best: dict[tuple[str, str], tuple[Plan, Score]] = {}
    for plan, score in zip(swept, scores, strict=True):
        key = (plan.trace, plan.policy)
        ratio = plan.conditions.objective.attainment_ratio
        if key not in best or rank(score, ratio) < rank(best[key][1], ratio):
            best[key] = (plan, score)
    return {key: plan.parameters for key, (plan, _) in best.items()}


class Scored(Protocol):
    """A score, or an average of scores."""

    @property
    def cost_usd(self) -> float:
        """What it paid."""

    @property
    def attainment(self) -> float:
        """Share of requests within the objective."""


def rank(scored: Scored, attainment_ratio: float) -> tuple[bool, float, float]:
    """Less is better: who attains before who does not; then the cheaper, or who attains more."""
    attains = scored.attainment >= attainment_ratio
    return not attains, scored.cost_usd if attains else -scored.attainment, scored.cost_usd


def with_best(
    plans: Sequence[Plan], best: Mapping[tuple[str, str], Mapping[str, float]]
) -> list[Plan]:
    """The plans as they are, each tunable one's seeds followed by those with its best setting."""
    planned: list[Plan] = []
    tuned: list[Plan] = []
    for number, plan in enumerate(plans):
        planned.append(replace(plan, setting=DEFAULT))
        parameters = best.get((plan.trace, plan.policy))
        if parameters is not None:
            tuned.append(replace(plan, parameters=dict(parameters), setting=BEST))
        following = plans[number + 1] if number + 1 < len(plans) else None
        if following is None or (following.trace, following.policy) != (plan.trace, plan.policy):
            planned += tuned
            tuned = []
    return planned
