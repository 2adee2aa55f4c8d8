"""Scores against the bound of their trace, one bound for all policies, side by side in processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulations.bounds.bound import Bound
from simulations.bounds.figures import (
    BoundCurve,
    BoundFigures,
    BoundSchedule,
    LookaheadFigures,
    bound_figures,
    trace_bound,
    unlimited_attainment,
)
from simulations.peers.rules.lookahead import NAME as LOOKAHEAD
from simulations.replay.stage import spot_lives
from simulations.results.scorecard import Score
from simulations.results.timeline import POINTS_MAX
from simulations.runs.progress import Reporter
from simulations.runs.runs import Plan, cached_trace
from simulations.runs.side_by_side import results_of
from simulations.traces.overlay import scaled_requests

CURVE = (0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
"""Attainments at which the bound is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedScores:
    """Scores with their figures, and what to draw."""

    scores: list[Score]
    curves: list[BoundCurve]
    """One a trace, of its first seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """For one trace and seed."""

    figures: tuple[BoundFigures, ...]
    unlimited: float
    curve: BoundCurve
    programs: int
    took_s: float


def bounded_scores(
    scores: Sequence[Score], plans: Sequence[Plan], *, jobs: int, reporter: Reporter
) -> BoundedScores:
    """Add to each score its bound, and the score of a perfect forecast of one cold start.

    Args:
        scores: In the order of `plans`.
        plans: What was run.
        jobs: Bounds made side by side; the figures do not depend on it.
        reporter: Is told of each bound that is made.

    Raises:
        InvariantBroken: A score beats the bound that nothing may beat: the judge is wrong.
    """
    places: dict[tuple[str, int], list[int]] = {}
    for number, plan in enumerate(plans):
        places.setdefault(bound_key(plan), []).append(number)
    # a process need not be sent what only a report draws
    asked = [
        (plans[numbers[0]], [replace(scores[number], timeline=None) for number in numbers])
        for numbers in places.values()
    ]
    answers = results_of(
        _answer,
        asked,
        jobs=jobs,
        reporter=reporter,
        line=lambda number, answer: (
            f"{answer.curve.trace}  seed {asked[number][0].seed}: bound of {answer.programs} "
            f"programs, {answer.took_s:.1f} s"
        ),
    )
    bounded = list(scores)
    curves: dict[str, BoundCurve] = {}
    for numbers, answer in zip(places.values(), answers, strict=True):
        for number, figure in zip(numbers, answer.figures, strict=True):
            bounded[number] = replace(
                scores[number], bound=figure, attainment_unlimited=answer.unlimited
            )
        curves.setdefault(plans[numbers[0]].trace, answer.curve)
    return BoundedScores(scores=_beside_lookahead(bounded), curves=list(curves.values()))


def bound_key(plan: Plan) -> tuple[str, int]:
    """Trace and seed of the bound; where nothing is drawn at random, all seeds share one bound."""
    conditions = plan.conditions
    drawn = conditions.scale != 1.0 or conditions.spot is not None
    return plan.trace, plan.seed if drawn else 0


def make_trace_bound(plan: Plan) -> tuple[Bound, float]:
    """The bound of a plan's trace and seed, and the attainment of an unlimited fleet."""
    conditions, trace = plan.conditions, cached_trace(plan.trace)
    requests = scaled_requests(trace.requests, scale=conditions.scale, seed=plan.seed)
    end_ns = replace(trace, requests=requests).end_ns
    profile, objective = conditions.profile, conditions.objective
    bound = trace_bound(
        requests,
        profile,
        objective,
        end_ns=end_ns,
        start_s=conditions.cold_start.shortest_s,
        spot=None if conditions.spot is None else spot_lives(conditions.spot, plan.seed, end_ns),
        replicas_max=conditions.replicas_max,
        from_ns=conditions.score_from_ns,
    )
    unlimited = unlimited_attainment(requests, profile, objective, from_ns=conditions.score_from_ns)
    return bound, unlimited


def _answer(
    asked: tuple[Plan, Sequence[Score]], /, *, progress: Callable[[float], None]
) -> _Answer:
    plan, scores = asked
    began = time.process_time()
    bound, unlimited = make_trace_bound(plan)
    shares = [share for share in CURVE if share < unlimited] + [unlimited]
    answer = _Answer(
        figures=tuple(
            bound_figures(
                name=f"{score.trace}, {score.policy}, seed {score.seed}",
                cost_usd=score.cost_usd,
                attainment=score.attainment,
                requests=score.requests,
                bound=bound,
                replicas_most=score.replicas_max,
            )
            for score in scores
        ),
        unlimited=unlimited,
        curve=BoundCurve(
            trace=cached_trace(plan.trace).name,
            attainment=shares,
            cost_usd=[bound.headline(share, requests=scores[0].requests) for share in shares],
            schedule=_schedule(bound, plan, unlimited) if plan.with_timeline else None,
        ),
        programs=bound.hull.programs,
        took_s=time.process_time() - began,
    )
    progress(1.0)
    return answer


def _schedule(bound: Bound, plan: Plan, unlimited: float) -> BoundSchedule:
    """The clairvoyant's schedule at the objective's attainment, or at the highest that is possible."""
    attainment = min(plan.conditions.objective.attainment_ratio, unlimited)
    hours, paid = bound.paid_at(attainment)
    every = -(-len(paid) // POINTS_MAX)
    starts = np.arange(0, len(paid), every)
    width = np.diff(np.append(starts, len(paid)))
    return BoundSchedule(
        attainment=attainment,
        hours=hours[starts].tolist(),
        replicas=(np.add.reduceat(paid, starts) / width).tolist(),
    )


def _beside_lookahead(scores: Sequence[Score]) -> list[Score]:
    known = {
        (score.trace, score.seed): LookaheadFigures(
            cost_usd=score.cost_usd,
            attainment=score.attainment,
            ratio=None if score.bound is None else score.bound.ratio,
        )
        for score in scores
        if score.policy == LOOKAHEAD and score.setting != "best"
    }
    return [replace(score, lookahead=known.get((score.trace, score.seed))) for score in scores]
