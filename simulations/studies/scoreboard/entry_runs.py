"""One entry of the board: the sweep, all seeds, the bounds; each kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from simulations.results.scorecard import Score
from simulations.runs.runs import Plan, play_all
from simulations.runs.score_bounds import bound_key, bounded_scores
from simulations.runs.sweep import BEST, best_parameters, sweep_plans, with_best
from simulations.studies.scoreboard.cache import BOUNDED, PLAYED, SWEPT, EntryCache
from simulations.studies.scoreboard.pace import Pace
from simulations.studies.scoreboard.sizes import SizedEntry

RUNS_SHARE = 0.95
"""Of an entry's work; the bounds are the rest."""


class FinishedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """All that an entry came to."""

    scores: list[Score]
    seconds: float
    """In all its runs, sweeps included."""


def play_entry(sized: SizedEntry, *, cache: EntryCache, jobs: int, pace: Pace) -> FinishedEntry:
    """All scores of an entry, with their bounds, in the order of the board.

    Raises:
        InvariantBroken: A score beats the bound: the judge is wrong, and the board is worth nothing.
        SettingsError: The code changed meanwhile.
    """
    if (finished := cache.read(BOUNDED, FinishedEntry)) is not None:
        pace.skip(1.0)
        return finished

    def played(part: str, plans: Sequence[Plan], until: float) -> list[Score]:
        scores = cache.read(part, list[Score])
        if scores is not None:
            pace.skip(until)
            return scores
        scores = play_all(plans, jobs=jobs, reporter=pace.stage(until=until, runs=len(plans)))
        cache.write(part, scores)
        return scores

    tried = sweep_plans(sized.plans)
    swept = played(SWEPT, tried, RUNS_SHARE * len(tried) / sized.runs)
    plans = with_best(sized.plans, best_parameters(tried, swept))
    known = {_key(plan): score for plan, score in zip(tried, swept, strict=True)}
    # the sweep's own run of the best setting is the first of its seeds
    new = [plan for plan in plans if _key(plan) not in known]
    made = played(PLAYED, new, RUNS_SHARE)
    known |= {_key(plan): score for plan, score in zip(new, made, strict=True)}
    # named by the entry: two of them may be of the same file
    name = sized.setting.entry.name
    named = [replace(known[_key(plan)], trace=name) for plan in plans]
    reporter = pace.stage(until=1.0, runs=len({bound_key(plan) for plan in plans}))
    bounded = bounded_scores(named, plans, jobs=jobs, reporter=reporter)
    seconds = sum(score.wall_s for score in (*swept, *made))
    finished = FinishedEntry(scores=bounded.scores, seconds=seconds)
    cache.write(BOUNDED, finished)
    return finished


def _key(plan: Plan) -> tuple[object, ...]:
    """What identifies a run among those of the entry and its sweep."""
    parameters: Mapping[str, float] = plan.parameters
    return plan.setting == BEST, plan.policy, plan.seed, tuple(sorted(parameters.items()))
