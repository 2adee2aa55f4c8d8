"""One entry of the board: the sweep, all seeds, the bounds; each kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from simulations.results.scorecard import Row
from simulations.runs.bounded import bound_key, bounded
from simulations.runs.runs import Plan, play_all
from simulations.runs.sweep import BEST, best_parameters, sweep_plans, with_best
from simulations.studies.scoreboard.cache import BOUNDED, PLAYED, SWEPT, Cache
from simulations.studies.scoreboard.pace import Pace
from simulations.studies.scoreboard.sizing import Sized

RUNS_SHARE = 0.95
"""Of an entry's work; the bounds are the rest."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """All that an entry came to."""

    rows: list[Row]
    seconds: float
    """In all its runs, sweeps included."""


def play_entry(sized: Sized, *, cache: Cache, jobs: int, pace: Pace) -> Finished:
    """All rows of an entry, with their bounds, in the order of the board.

    Args:
        sized: The entry.
        cache: Where finished parts lie, and are kept.
        jobs: Runs side by side.
        pace: Is told how far the entry is.

    Raises:
        InvariantBroken: A row beats the bound: the judge is wrong, and the board is worth nothing.
        SettingsError: The code changed meanwhile.
    """
    if (finished := cache.read(BOUNDED, Finished)) is not None:
        pace.skip(1.0)
        return finished
    tried = sweep_plans(sized.plans)
    swept = _played(
        SWEPT, tried, cache, jobs=jobs, pace=pace, until=RUNS_SHARE * len(tried) / sized.runs
    )
    plans = with_best(sized.plans, best_parameters(tried, swept))
    known = {_key(plan): row for plan, row in zip(tried, swept, strict=True)}
    # the sweep's own run of the best setting is the first of its seeds
    new = [plan for plan in plans if _key(plan) not in known]
    played = _played(PLAYED, new, cache, jobs=jobs, pace=pace, until=RUNS_SHARE)
    following = iter(played)
    rows = [known[_key(plan)] if _key(plan) in known else next(following) for plan in plans]
    # named by the entry: two of them may be of the same file
    named = [replace(row, trace=sized.setting.entry.name) for row in rows]
    reporter = pace.stage(until=1.0, runs=len({bound_key(plan) for plan in plans}))
    held = bounded(named, plans, jobs=jobs, reporter=reporter)
    finished = Finished(rows=held.rows, seconds=sum(row.wall_s for row in (*swept, *played)))
    cache.write(BOUNDED, finished)
    return finished


def _played(
    part: str, plans: Sequence[Plan], cache: Cache, *, jobs: int, pace: Pace, until: float
) -> list[Row]:
    rows = cache.read(part, list[Row])
    if rows is not None and len(rows) == len(plans):
        pace.skip(until)
        return rows
    rows = play_all(plans, jobs=jobs, reporter=pace.stage(until=until, runs=len(plans)))
    cache.write(part, rows)
    return rows


def _key(plan: Plan) -> tuple[object, ...]:
    """What tells a run of the sweep from every other: only those are of the best setting."""
    parameters: Mapping[str, float] = plan.parameters
    return plan.setting == BEST, plan.policy, plan.seed, tuple(sorted(parameters.items()))
