"""Scores beside the found schedule at their own attainment: what somebody who knew the trace really paid.

The bound is what nobody can beat; whether anybody can come near it, it does not say. The found schedule
was replayed, so it can be had. It must never be dearer than a policy at the policy's own attainment:
where it is, it was not searched well, and `beaten` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from simulations.bounds.envelope import Envelope
from simulations.bounds.figures import FoundFigures
from simulations.replay.conditions import Conditions
from simulations.replay.schedule import ReplicaSchedule
from simulations.results.scorecard import Score
from simulations.results.text import percent_text, usd_text
from simulations.runs.found.oracles import Oracle, TraceView, generous_oracles
from simulations.runs.found.search import ROUND, Search, replays_for, searched
from simulations.runs.runs import Plan, cached_trace
from simulations.traces.overlay import scaled_requests

NAME = "found"
TOLERANCE = 1e-6
"""Of a cost: what was summed in another order differs so much."""
NEAR = 1.1
"""Rows of at most so many times the found cost are searched round: they are beaten first."""
BEATEN_ROUNDS = 6
"""More of searching round rows that are beaten."""

Play = Callable[[Sequence[Plan]], Sequence[Score]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundScores:
    """Scores with their figures, and what was found."""

    scores: list[Score]
    curves: Mapping[tuple[str, int], Envelope]
    """By trace and seed."""
    beaten: tuple[str, ...]
    """Of each row that is cheaper than what was found at its attainment, a sentence: an error of the search."""


def with_found(
    scores: Sequence[Score],
    plans: Sequence[Plan],
    *,
    play: Play,
    say: Callable[[str], None] = lambda _: None,
) -> FoundScores:
    """Search cheap schedules of each trace, and hold each score against them.

    Args:
        scores: In the order of `plans`.
        plans: What was run. Of one trace and seed all have the same conditions, but for what is told.
        play: Replays plans.
        say: Is told a line a trace and seed.
    """
    places: dict[tuple[str, int], list[int]] = {}
    for number, plan in enumerate(plans):
        places.setdefault((plan.trace, plan.seed), []).append(number)
    found = list(scores)
    curves: dict[tuple[str, int], Envelope] = {}
    beaten: list[str] = []
    known: dict[str, list[Oracle]] = {}
    for key in sorted(places, key=lambda key: (list(places).index(key), key[1])):
        numbers = places[key]
        rows = [scores[number] for number in numbers]
        search = _search(plans[numbers[0]], rows, play=play, begun=known.get(key[0]))
        known.setdefault(key[0], _hull_oracles(search))
        curves[key] = envelope = search.envelope
        for number, row in zip(numbers, rows, strict=True):
            found[number] = replace(row, found=found_figures(row, envelope))
        beaten += beaten_sentences(rows, envelope)
        say(f"{rows[0].trace}  seed {key[1]}: {len(search.digests)} schedules replayed")
    return FoundScores(scores=found, curves=curves, beaten=tuple(beaten))


def found_figures(row: Score, envelope: Envelope) -> FoundFigures:
    """A row beside what was found."""
    cost_usd = envelope.cost_usd(row.attainment)
    return FoundFigures(
        cost_usd=cost_usd,
        attainment=envelope.points[-1].attainment if envelope.points else None,
        ratio=row.cost_usd / cost_usd if cost_usd else None,
    )


def beaten_sentences(rows: Sequence[Score], envelope: Envelope) -> list[str]:
    """What is wrong with what was found: of each row that did better."""
    sentences = []
    for row in rows:
        name = f"{row.trace}, {row.policy}, seed {row.seed}"
        paid = f"{usd_text(row.cost_usd)} at {percent_text(row.attainment)}"
        cost_usd = envelope.cost_usd(row.attainment)
        if cost_usd is None:
            sentences.append(f"{name}: {paid}, and no schedule that was found attains as much")
        elif row.cost_usd < cost_usd * (1.0 - TOLERANCE):
            sentences.append(
                f"{name}: {paid}, and the found schedule is dearer, {usd_text(cost_usd)}"
            )
    return sentences


def _search(
    plan: Plan, rows: Sequence[Score], *, play: Play, begun: Sequence[Oracle] | None
) -> Search:
    """Search on one trace and seed; `begun` is the hull of another seed, which most of this one's lies on."""
    trace = cached_trace(plan.trace)
    conditions = replace(plan.conditions, profile=plan.conditions.tested_profile)
    requests = scaled_requests(trace.requests, scale=conditions.scale, seed=plan.seed)
    view = TraceView(requests, conditions)
    asked = _Asked(rows, conditions)

    def replay(schedules: Sequence[ReplicaSchedule]) -> Sequence[Score]:
        return play(
            [
                Plan(
                    trace=plan.trace,
                    policy=NAME,
                    seed=plan.seed,
                    conditions=conditions,
                    schedule=schedule,
                )
                for schedule in schedules
            ]
        )

    if begun is None:
        replays = replays_for(len(requests))
        search = searched(view, replay, attainments=asked.first, replays=replays * 2 // 3)
        search.refine(asked.near(search.envelope), replays=replays // 3)
    else:
        search = Search(view=view, replay=replay)
        search.play(begun)
    if asked.beaten(search.envelope):
        # Where nothing is missed, the hull of another seed's may miss a request of this one's; and a fleet of one size
        # is a dear way to miss none.
        search.play(generous_oracles(conditions.replicas_max))
    for _ in range(BEATEN_ROUNDS):
        attainments = asked.beaten(search.envelope)
        if not attainments:
            break
        search.play(search.static_between(attainments))
        search.refine(attainments, replays=ROUND)
    return search


@dataclass(frozen=True, slots=True)
class _Asked:
    """Attainments at which costs are asked for."""

    rows: Sequence[Score]
    conditions: Conditions

    @property
    def first(self) -> list[float]:
        """Before anything is known: the objective's, and what rows attain in the middle and at the ends."""
        attained = sorted(row.attainment for row in self.rows)
        picked = [attained[len(attained) * part // 4] for part in (1, 2, 3)] if attained else []
        return [self.conditions.objective.attainment_ratio, *picked]

    def near(self, envelope: Envelope) -> list[float]:
        """Those of rows that cost hardly more than what was found."""
        return [
            row.attainment
            for row in self.rows
            if (cost := envelope.cost_usd(row.attainment)) is None or row.cost_usd < NEAR * cost
        ]

    def beaten(self, envelope: Envelope) -> list[float]:
        """Those of rows that cost less."""
        return [row.attainment for row in self.rows if beaten_sentences([row], envelope)]


def _hull_oracles(search: Search) -> list[Oracle]:
    hull = set(search.envelope.points)
    kept: dict[object, Oracle] = {}
    for oracle, point in search.points.items():
        if point in hull:
            kept.setdefault(point, oracle)
    return list(kept.values())
