"""The search for cheap schedules on one trace and seed: a wide grid first, then round what is on the hull.

Coarse to fine: the attainments that are asked for say which parts of the hull matter; the schedules at
the ends of those parts are varied, one number at a time, and what is new on the hull is varied again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from simulations.bounds.envelope import Envelope, FoundPoint
from simulations.replay.schedule import ReplicaSchedule
from simulations.results.scorecard import Score
from simulations.runs.found.oracles import Oracle, StaticOracle, TraceView, coarse_oracles

ROUND = 12
"""Schedules replayed before the hull is looked at again."""
TURNS = (1.0, 0.5, 0.25)
"""Of a step, one after the other."""
ALIKE = 3.0
"""Misses of the same order: so many times more or less."""
ALIKE_MAX = 4
"""Schedules above the hull that are varied beside an attainment: what is cheap may lie behind them."""
REPLAYS_MIN = 40
REPLAYS_MAX = 160
SEARCH_S = 120.0
REPLAY_S = 0.05
REQUEST_S = 2e-6
"""What a replay takes, about: small traces are searched more finely in the same time."""

Replay = Callable[[Sequence[ReplicaSchedule]], Sequence[Score]]


def replays_for(requests: int) -> int:
    """Schedules that a search may replay, by the number of requests: about two minutes of one processor."""
    allowed = int(SEARCH_S / (REPLAY_S + REQUEST_S * requests))
    return min(REPLAYS_MAX, max(REPLAYS_MIN, allowed))


@dataclass(slots=True, kw_only=True)
class Search:
    """What was found so far."""

    view: TraceView
    replay: Replay
    points: dict[Oracle, FoundPoint] = field(default_factory=dict)
    """By what was replayed."""
    digests: dict[str, FoundPoint] = field(default_factory=dict)
    """By the schedule: two oracles may ask for the same."""

    @property
    def envelope(self) -> Envelope:
        """The hull of all points."""
        return Envelope(self.points.values())

    def play(self, oracles: Iterable[Oracle]) -> int:
        """Replay those that are new; returns how many schedules were."""
        most = self.view.conditions.replicas_max
        asked = [
            oracle
            for oracle in dict.fromkeys(oracles)
            if oracle not in self.points and getattr(oracle, "replicas", 1) <= most
        ]
        schedules = {oracle: oracle.schedule(self.view) for oracle in asked}
        new = {
            schedule.digest: (oracle, schedule)
            for oracle, schedule in reversed(schedules.items())
            if schedule.digest not in self.digests
        }
        scores = self.replay([schedule for _, schedule in new.values()]) if new else []
        for (digest, (oracle, _)), score in zip(new.items(), scores, strict=True):
            self.digests[digest] = FoundPoint(
                attainment=score.attainment, cost_usd=score.cost_usd, setting=str(oracle)
            )
        for oracle, schedule in schedules.items():
            self.points[oracle] = self.digests[schedule.digest]
        return len(new)

    def refine(self, attainments: Sequence[float], *, replays: int) -> None:
        """Vary what is on the hull beside these attainments, in smaller steps where nothing new comes."""
        for turn in TURNS:
            while replays > 0 and (new := self._neighbours(attainments, turn)):
                replays -= max(1, self.play(new[: min(ROUND, replays)]))

    def static_between(self, attainments: Sequence[float]) -> list[Oracle]:
        """Fleets of one size that were left out between one that attains as much and one that does not."""
        sizes = {
            oracle.replicas: point.attainment
            for oracle, point in self.points.items()
            if isinstance(oracle, StaticOracle)
        }
        found: dict[Oracle, None] = {}
        for attainment in attainments:
            enough = min((n for n, each in sizes.items() if each >= attainment), default=0)
            below = max((n for n in sizes if n < enough), default=enough)
            found |= dict.fromkeys(StaticOracle(replicas=n) for n in range(below + 1, enough))
        return list(found)

    def _neighbours(self, attainments: Sequence[float], turn: float) -> list[Oracle]:
        """Those not replayed yet, of the schedules that matter, one of each in turn."""
        most = self.view.conditions.replicas_max
        waiting = [
            [
                neighbour
                for neighbour in oracle.neighbours(turn)
                if neighbour not in self.points and getattr(neighbour, "replicas", 1) <= most
            ]
            for oracle in self._beside(attainments)
        ]
        turns = max((len(queue) for queue in waiting), default=0)
        taken = [queue[turn] for turn in range(turns) for queue in waiting if turn < len(queue)]
        return list(dict.fromkeys(taken))

    def _beside(self, attainments: Sequence[float]) -> list[Oracle]:
        """On the hull next to what is asked, and not far above it with misses of the same order."""
        envelope = self.envelope
        hull = envelope.points
        excess = {
            oracle: point.cost_usd / (envelope.cost_usd(point.attainment) or point.cost_usd)
            for oracle, point in self.points.items()
        }
        found: dict[Oracle, None] = {}
        for attainment in attainments:
            above = next((n for n, p in enumerate(hull) if p.attainment >= attainment), len(hull))
            ends = {hull[place] for place in (above, above - 1) if 0 <= place < len(hull)}
            found |= dict.fromkeys(o for o, point in self.points.items() if point in ends)
            missed = 1.0 - attainment
            alike = [
                oracle
                for oracle, point in self.points.items()
                if missed / ALIKE <= 1.0 - point.attainment <= missed * ALIKE
            ]
            found |= dict.fromkeys(sorted(alike, key=excess.__getitem__)[:ALIKE_MAX])
        return list(found)


def searched(
    view: TraceView, replay: Replay, *, attainments: Sequence[float], replays: int
) -> Search:
    """A search from the coarse grid on."""
    search = Search(view=view, replay=replay)
    begun = search.play(coarse_oracles(view.conditions.replicas_max))
    search.refine(attainments, replays=replays - begun)
    return search
