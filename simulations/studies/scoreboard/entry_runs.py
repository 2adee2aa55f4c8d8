"""One entry of the board: the sweeps, all seeds, the found schedule, the bounds; each run kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import msgspec

from simulations.bounds.envelope import Envelope, FoundPoint
from simulations.peers.baseline import Parameters
from simulations.results.scorecard import Score
from simulations.runs.found.score_found import beaten_sentences, found_figures, with_found
from simulations.runs.runs import Plan, play_all
from simulations.runs.score_bounds import bound_key, bounded_scores
from simulations.runs.sweep import BEST, PlayPlans, Swept, rank, sweep, with_best
from simulations.studies.scoreboard.cache import BOUNDED, EntryCache
from simulations.studies.scoreboard.pace import Pace
from simulations.studies.scoreboard.sizes import SizedEntry
from simulations.studies.scoreboard.standings import OURS

FINALISTS = 4
"""Settings of a sweep that are run on all seeds, where the ones before them miss the objective there."""
RUNS_SHARE = 0.95
"""Of an entry's work; the bounds are the rest."""


class TriedSetting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of a baseline on the first seed."""

    policy: str
    parameters: dict[str, float]
    cost_usd: float
    attainment: float


class FoundHull(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest schedules that were found and replayed on one seed."""

    seed: int
    points: list[tuple[float, float]]
    """Attainment and dollars of each, rising."""

    @property
    def envelope(self) -> Envelope:
        """What they make together."""
        return Envelope(FoundPoint(attainment=a, cost_usd=c) for a, c in self.points)


class FinishedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """All that an entry came to."""

    scores: list[Score]
    tried: list[TriedSetting]
    """Every setting of every policy that was run, defaults included, each on the first seed."""
    edges: list[str]
    """Sweeps that end at their best, a sentence each: errors of the board."""
    unsound: list[str] = []
    """What else is wrong with the board on this entry, a sentence each."""
    found: list[FoundHull] = []
    """One a seed; empty: no schedules were searched."""
    runs: int
    """That were made or taken from before."""
    seconds: float
    """In all its runs, sweeps included."""


def play_entry(sized: SizedEntry, *, cache: EntryCache, jobs: int, pace: Pace) -> FinishedEntry:
    """All scores of an entry, with their bounds, in the order of the board.

    Raises:
        InvariantBroken: A score beats the bound: the judge is wrong, and the board is worth nothing.
        SettingsError: The code changed meanwhile.
    """
    finished = cache.read(BOUNDED, FinishedEntry)
    if finished is not None and sized.covered(finished.scores):
        pace.skip(1.0)
        return finished
    player = _Player(sized, cache=cache, jobs=jobs, pace=pace)
    plans = list(sized.plans)
    edges: list[str] = []
    best = {}
    if sized.setting.entry.sweep:
        swept = sweep(plans, player.play)
        best = best_on_all_seeds(swept, plans, player.play)
        name = sized.setting.entry.name
        edges = [str(replace(edge, trace=name)) for edge in swept.edges]
    plans = with_best(plans, best)
    # named by the entry: two of them may be of the same file
    named = [replace(score, trace=sized.setting.entry.name) for score in player.play(plans)]
    tried = player.tried()
    unsound: list[str] = []
    hulls: list[FoundHull] = []
    if sized.schedules:
        found = with_found(named, plans, play=player.play)
        named, unsound = found.scores, list(found.beaten)
        hulls = [
            FoundHull(seed=seed, points=[(p.attainment, p.cost_usd) for p in curve.points])
            for (_, seed), curve in found.curves.items()
        ]
    reporter = pace.stage(until=1.0, runs=len({bound_key(plan) for plan in plans}))
    bounded = bounded_scores(named, plans, jobs=jobs, reporter=reporter)
    finished = FinishedEntry(
        scores=bounded.scores,
        tried=tried,
        edges=edges,
        unsound=unsound,
        found=hulls,
        runs=len(player.made),
        seconds=sum(score.wall_s for score in player.made.values()),
    )
    cache.write(BOUNDED, finished)
    return finished


def play_ours(
    sized: SizedEntry, hulls: Sequence[FoundHull], *, cache: EntryCache, jobs: int, pace: Pace
) -> FinishedEntry:
    """Our own scores alone, beside the schedules that were found before, with their bounds.

    Raises:
        InvariantBroken: As `play_entry`.
        SettingsError: The code changed meanwhile.
    """
    player = _Player(sized, cache=cache, jobs=jobs, pace=pace)
    plans = [plan for plan in sized.plans if plan.policy == OURS]
    scores = [replace(s, trace=sized.setting.entry.name) for s in player.play(plans)]
    curves = {hull.seed: hull.envelope for hull in hulls}
    unsound: list[str] = []
    for number, score in enumerate(scores):
        if (envelope := curves.get(score.seed)) is not None:
            unsound += beaten_sentences([score], envelope)
            scores[number] = replace(score, found=found_figures(score, envelope))
    reporter = pace.stage(until=1.0, runs=len({bound_key(plan) for plan in plans}))
    return FinishedEntry(
        scores=bounded_scores(scores, plans, jobs=jobs, reporter=reporter).scores,
        tried=player.tried(),
        edges=[],
        unsound=unsound,
        found=list(hulls),
        runs=len(player.made),
        seconds=sum(score.wall_s for score in player.made.values()),
    )


def best_on_all_seeds(
    swept: Swept, plans: Sequence[Plan], play: PlayPlans
) -> dict[tuple[str, str], Parameters]:
    """Of the best settings of the first seed, the first few, the one that is best on all seeds.

    The cheapest that attains on one seed often misses by a hair on five: its peer would be said to attain
    nothing, where the next setting does.
    """
    best: dict[tuple[str, str], Parameters] = {}
    for (trace, policy), ranked in swept.ranked.items():
        own = [plan for plan in plans if (plan.trace, plan.policy) == (trace, policy)]
        least = own[0].conditions.objective.attainment_ratio
        ranks: list[tuple[tuple[bool, float, float], int]] = []
        for setting in ranked[:FINALISTS]:
            scores = play([replace(plan, parameters=dict(setting), setting=BEST) for plan in own])
            cost, attained = (
                fmean(score.cost_usd for score in scores),
                fmean(score.attainment for score in scores),
            )
            ranks.append((rank(cost, attained, least=least), len(ranks)))
            if attained >= least:
                break
        best[trace, policy] = ranked[min(ranks)[1]]
    return best


class _Player:
    """Makes runs of one entry, or takes those that are kept."""

    def __init__(self, sized: SizedEntry, *, cache: EntryCache, jobs: int, pace: Pace) -> None:
        self._sized = sized
        self._cache = cache
        self._jobs = jobs
        self._pace = pace
        self.made: dict[tuple[object, ...], Score] = {}
        """All runs of the entry, each once."""
        self._parameters: dict[tuple[object, ...], dict[str, float]] = {}

    def play(self, plans: Sequence[Plan]) -> list[Score]:
        """The scores in the order of the plans, each as its plan's setting says."""
        missing: dict[tuple[object, ...], Plan] = {}
        for plan in plans:
            key = _key(plan)
            if key not in self.made and (kept := self._cache.run(plan)) is not None:
                self._note(key, plan, kept)
            if key not in self.made:
                missing.setdefault(key, plan)
        done = RUNS_SHARE * min(1.0, len(self.made) / self._sized.runs)
        self._pace.skip(done)
        asked = list(missing.values())

        def keep(number: int, score: Score) -> None:
            self._cache.keep(asked[number], score)

        until = RUNS_SHARE * min(1.0, (len(self.made) + len(asked)) / self._sized.runs)
        reporter = self._pace.stage(until=until, runs=len(asked))
        scores = play_all(asked, jobs=self._jobs, reporter=reporter, done=keep) if asked else []
        for plan, score in zip(asked, scores, strict=True):
            self._note(_key(plan), plan, score)
        return [
            replace(self.made[_key(plan)], setting=plan.setting, parameters=dict(plan.parameters))
            for plan in plans
        ]

    def _note(self, key: tuple[object, ...], plan: Plan, score: Score) -> None:
        self.made[key] = score
        self._parameters[key] = dict(plan.parameters)

    def tried(self) -> list[TriedSetting]:
        """Every setting of every policy that was run on the first seed."""
        return [
            TriedSetting(
                policy=score.policy,
                parameters=self._parameters[key],
                cost_usd=score.cost_usd,
                attainment=score.attainment,
            )
            for key, score in self.made.items()
            if score.seed == 0
        ]


def _key(plan: Plan) -> tuple[object, ...]:
    """What identifies a run among those of the entry: what it is called does not."""
    schedule = plan.schedule.digest if plan.schedule is not None else ""
    return plan.policy, plan.seed, tuple(sorted(plan.parameters.items())), schedule
