"""The best that each baseline's settings could have done, chosen in hindsight.

Each of a baseline's twelve settings is run on the first seed; the cheapest that attains the objective
is its best, or, where none does, the one that attains most. That one is then run on all seeds. So
nobody can say that a peer was handicapped by its defaults; and what is chosen in hindsight on a trace
is more than anyone has before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

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
    best: dict[tuple[str, str], tuple[tuple[bool, float, float], Mapping[str, float]]] = {}
    for plan, score in zip(swept, scores, strict=True):
        least = plan.conditions.objective.attainment_ratio
        ranked = rank(score.cost_usd, score.attainment, least=least), plan.parameters
        kept = best.setdefault((plan.trace, plan.policy), ranked)
        if ranked[0] < kept[0]:
            best[plan.trace, plan.policy] = ranked
    return {key: parameters for key, (_, parameters) in best.items()}


def rank(cost_usd: float, attainment: float, *, least: float) -> tuple[bool, float, float]:
    """Less is better: who attains `least` before who does not; then the cheaper, or who attains more."""
    attains = attainment >= least
    return not attains, cost_usd if attains else -attainment, cost_usd


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
