"""Rows held against the bound of their trace, one bound for all policies, side by side in processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulations.bounds.bound import Bound
from simulations.bounds.figures import (
    BoundFigures,
    LookaheadFigures,
    figures,
    trace_bound,
    unlimited_attainment,
)
from simulations.peers.rules.lookahead import NAME as LOOKAHEAD
from simulations.replay.replay import spot_lives
from simulations.results.report.entry import BoundCurve, BoundSchedule
from simulations.results.report.timeline import POINTS_MAX
from simulations.results.scorecard import Row
from simulations.runs.progress import Teller
from simulations.runs.runs import Plan, loaded
from simulations.runs.side_by_side import all_of
from simulations.traces.overlay import scaled

CURVE = (0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
"""Attainments at which the bound is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """Rows with their figures, and what to draw."""

    rows: list[Row]
    curves: list[BoundCurve]
    """One a trace, of its first seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What of a row is held against its bound."""

    name: str
    cost_usd: float
    attainment: float
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """For one trace and seed."""

    figures: tuple[BoundFigures, ...]
    unlimited: float
    curve: BoundCurve
    programs: int
    took_s: float


def with_bounds(rows: Sequence[Row], plans: Sequence[Plan]) -> list[Row]:
    """Each row against its bound, made here and in silence; see `bounded`."""
    return bounded(rows, plans, jobs=1, reporter=None).rows


def bounded(
    rows: Sequence[Row], plans: Sequence[Plan], *, jobs: int, reporter: Teller | None
) -> Bounded:
    """Each row against its bound, and beside what a perfect forecast of a cold start came to.

    Args:
        rows: In the order of `plans`.
        plans: What was run.
        jobs: Bounds made side by side; the figures do not depend on it.
        reporter: Is told of each bound that is made; None: nobody is.

    Raises:
        InvariantBroken: A row beats the bound that nothing may beat: the judge is wrong.
    """
    places: dict[tuple[str, int], list[int]] = {}
    for number, plan in enumerate(plans):
        places.setdefault(bound_key(plan), []).append(number)
    asked = [
        (
            plans[numbers[0]],
            tuple(_held(rows[number]) for number in numbers),
        )
        for numbers in places.values()
    ]
    held = list(rows)
    curves: dict[str, BoundCurve] = {}
    for numbers, answer in zip(places.values(), _answers(asked, jobs, reporter), strict=True):
        for number, figure in zip(numbers, answer.figures, strict=True):
            held[number] = replace(
                rows[number], bound=figure, attainment_unlimited=answer.unlimited
            )
        curves.setdefault(plans[numbers[0]].trace, answer.curve)
    return Bounded(rows=_beside_lookahead(held), curves=list(curves.values()))


def bound_key(plan: Plan) -> tuple[str, int]:
    """Trace and seed of the bound; where no draw is in it, all seeds have one bound."""
    conditions = plan.conditions
    drawn = conditions.scale != 1.0 or conditions.spot is not None
    return plan.trace, plan.seed if drawn else 0


def make_trace_bound(plan: Plan) -> tuple[Bound, float]:
    """The bound of a plan's trace and seed, and the attainment of an unlimited fleet."""
    conditions, trace = plan.conditions, loaded(plan.trace)
    requests = scaled(trace.requests, scale=conditions.scale, seed=plan.seed)
    end_ns = replace(trace, requests=requests).end_ns
    profile, objective = conditions.profile, conditions.objective
    bound = trace_bound(
        requests,
        profile,
        objective,
        end_ns=end_ns,
        start_s=conditions.cold_start.shortest_s,
        spot=None if conditions.spot is None else spot_lives(conditions.spot, plan.seed, end_ns),
    )
    return bound, unlimited_attainment(requests, profile, objective)


def _held(row: Row) -> _Held:
    return _Held(
        name=f"{row.trace}, {row.policy}, seed {row.seed}",
        cost_usd=row.cost_usd,
        attainment=row.attainment,
        requests=row.requests,
    )


def _answer(
    asked: tuple[Plan, Sequence[_Held]], /, *, progress: Callable[[float], None]
) -> _Answer:
    plan, held = asked
    began = time.process_time()
    bound, unlimited = make_trace_bound(plan)
    shares = [share for share in CURVE if share < unlimited] + [unlimited]
    answer = _Answer(
        figures=tuple(
            figures(
                name=each.name,
                cost_usd=each.cost_usd,
                attainment=each.attainment,
                requests=each.requests,
                bound=bound,
            )
            for each in held
        ),
        unlimited=unlimited,
        curve=BoundCurve(
            trace=loaded(plan.trace).name,
            attainment=shares,
            cost_usd=[bound.at_attainment(share) for share in shares],
            schedule=_schedule(bound, plan, unlimited) if plan.with_timeline else None,
        ),
        programs=bound.hull.programs,
        took_s=time.process_time() - began,
    )
    progress(1.0)
    return answer


def _schedule(bound: Bound, plan: Plan, unlimited: float) -> BoundSchedule:
    """Of the clairvoyant at the objective's attainment, or at what can be attained at all."""
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


def _answers(
    asked: Sequence[tuple[Plan, Sequence[_Held]]], jobs: int, reporter: Teller | None
) -> list[_Answer]:
    """In the order of what was asked, however many are made at a time."""

    def ended(number: int, answer: _Answer) -> None:
        if reporter is not None:
            reporter.say(
                f"{answer.curve.trace}  seed {asked[number][0].seed}: bound of {answer.programs} "
                f"programs, {answer.took_s:.1f} s"
            )

    def share(done: float) -> None:
        if reporter is not None:
            reporter.share(done)

    return all_of(_answer, asked, jobs=jobs, share=share, ended=ended)


def _beside_lookahead(rows: Sequence[Row]) -> list[Row]:
    known = {
        (row.trace, row.seed): LookaheadFigures(
            cost_usd=row.cost_usd,
            attainment=row.attainment,
            ratio=None if row.bound is None else row.bound.ratio,
        )
        for row in rows
        if row.policy == LOOKAHEAD and row.setting != "best"
    }
    return [replace(row, lookahead=known.get((row.trace, row.seed))) for row in rows]
