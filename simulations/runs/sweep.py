"""The best that each baseline's settings could have done, chosen in hindsight.

Twelve settings of a baseline are run on the first seed; the cheapest that attains the objective is its
best, or, where none does, the one that attains most. Then the search goes on around the best, coarse to
fine: outward where the best lies at the end of what was tried, and into the gaps beside it, until its
neighbours on every ladder were tried or two dozen settings were. A best that stays at an end of its
ladder is told as an `Edge`: the peer was cut off there, not tuned. The best is then run on all seeds. So
nobody can say that a peer was handicapped by its defaults; and what is chosen in hindsight on a trace is
more than anyone has before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from simulations.peers.axes import Axis
from simulations.peers.baseline import Parameters
from simulations.peers.rules.registry import BASELINES
from simulations.results.scorecard import Score
from simulations.runs.runs import Plan

DEFAULT = "default"
BEST = "best"
FINE_MAX = 24
"""Settings of one baseline on one trace at which gaps are left as they are."""
SAME_COST_RATIO = 0.001
SAME_ATTAINMENT = 0.0005
"""Two settings that differ by less did the same: an end behind which nothing changes is none."""

PlayPlans = Callable[[Sequence[Plan]], Sequence[Score]]
"""Makes runs, side by side or one by one; the scores in the order of the plans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A baseline's best lies at the end of what may be tried: the ladder is too short."""

    trace: str
    policy: str
    parameter: str
    value: float
    side: str
    """`lowest` or `highest`."""

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"{self.trace}: the best of {self.policy} is at the {self.side} {self.parameter} of its sweep, "
            f"{self.value:g}: lengthen its ladder (simulations/peers/rules/registry.py)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What the settings came to."""

    tried: Sequence[tuple[Plan, Score]]
    """Every setting that was run, each on its first seed."""
    best: Mapping[tuple[str, str], Parameters]
    """By trace and policy."""
    ranked: Mapping[tuple[str, str], Sequence[Parameters]]
    """The same, and those behind it that attain the objective too, best first."""
    edges: Sequence[Edge]


def sweep(plans: Sequence[Plan], play: PlayPlans) -> Swept:
    """Search the settings of every tunable baseline among `plans`, all of them a round at a time."""
    searches = [
        _Search(plan=replace(plan, setting=BEST, with_timeline=False))
        for plan in plans
        if plan.seed == 0 and plan.policy in BASELINES and BASELINES[plan.policy].axes
    ]
    tried: list[tuple[Plan, Score]] = []
    while asked := [(search, values) for search in searches for values in search.wanted()]:
        round_ = [search.planned(values) for search, values in asked]
        scores = play(round_)
        for (search, values), score in zip(asked, scores, strict=True):
            search.tried[values] = score
        tried += zip(round_, scores, strict=True)
    ranked = {(s.plan.trace, s.plan.policy): s.ranked() for s in searches}
    return Swept(
        tried=tried,
        best={key: settings[0] for key, settings in ranked.items()},
        ranked=ranked,
        edges=[edge for search in searches for edge in search.edges()],
    )


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


_Values = tuple[float, ...]
"""One of each axis, in their order."""


@dataclass(slots=True, kw_only=True)
class _Search:
    """The settings of one baseline on one trace."""

    plan: Plan
    tried: dict[_Values, Score] = field(default_factory=dict)

    @property
    def axes(self) -> Mapping[str, Axis]:
        """Of the baseline."""
        return BASELINES[self.plan.policy].axes

    def parameters(self, values: _Values) -> dict[str, float]:
        """By name."""
        return dict(zip(self.axes, values, strict=True))

    def planned(self, values: _Values) -> Plan:
        """The run of a setting."""
        return replace(self.plan, parameters=self.parameters(values))

    def wanted(self) -> list[_Values]:
        """What to try next; nothing: the search is over."""
        if not self.tried:
            return [tuple(setting.values()) for setting in BASELINES[self.plan.policy].sweep]
        best = self.best()
        outward: list[_Values] = []
        inward: list[_Values] = []
        for number, axis in enumerate(self.axes.values()):
            place = axis.ladder.index(best[number])
            line = self._line(best, number)
            for way in (-1, 1):
                beside = self._beside(line, place, way)
                if beside is not None:
                    middle = (place + beside) // 2
                    if middle not in (place, beside):
                        inward.append(_changed(best, number, axis.ladder[middle]))
                elif self._open(best, number, way):
                    inner = self._beside(line, place, -way)
                    stride = 1 if inner is None else 2 * abs(place - inner)
                    further = min(max(place + way * stride, 0), len(axis.ladder) - 1)
                    outward.append(_changed(best, number, axis.ladder[further]))
        wanted = outward or inward[: max(0, FINE_MAX - len(self.tried))]
        return list(dict.fromkeys(wanted))

    def best(self) -> _Values:
        """The best so far; of equal ones the first."""
        return min(self.tried, key=self._rank)

    def ranked(self) -> list[dict[str, float]]:
        """The best, and all others that attain, best first."""
        best, *others = sorted(self.tried, key=self._rank)
        return [self.parameters(v) for v in (best, *(o for o in others if not self._rank(o)[0]))]

    def _rank(self, values: _Values) -> tuple[bool, float, float]:
        score = self.tried[values]
        least = self.plan.conditions.objective.attainment_ratio
        return rank(score.cost_usd, score.attainment, least=least)

    def edges(self) -> list[Edge]:
        """Ends at which the best lies, and which are none of nature's."""
        best = self.best()
        found = []
        for number, (name, axis) in enumerate(self.axes.items()):
            value = best[number]
            for end, way, side in ((axis.ladder[0], -1, "lowest"), (axis.ladder[-1], 1, "highest")):
                if value == end and value not in axis.natural and not self._flat(best, number, way):
                    trace, policy = self.plan.trace, self.plan.policy
                    found.append(
                        Edge(trace=trace, policy=policy, parameter=name, value=value, side=side)
                    )
        return found

    def _open(self, best: _Values, number: int, way: int) -> bool:
        """Whether there is more of the ladder that way, and it may matter."""
        ladder = tuple(self.axes.values())[number].ladder
        end = ladder[0] if way < 0 else ladder[-1]
        return best[number] != end and not self._flat(best, number, way)

    def _flat(self, best: _Values, number: int, way: int) -> bool:
        """Whether the last step that way changed nothing: then the next will not either."""
        ladder = tuple(self.axes.values())[number].ladder
        inner = self._beside(self._line(best, number), ladder.index(best[number]), -way)
        if inner is None:
            return False
        here, there = self.tried[best], self.tried[_changed(best, number, ladder[inner])]
        return (
            abs(here.cost_usd - there.cost_usd) <= SAME_COST_RATIO * here.cost_usd
            and abs(here.attainment - there.attainment) <= SAME_ATTAINMENT
        )

    def _line(self, best: _Values, number: int) -> list[int]:
        """Places on this axis's ladder that were tried with all else as in the best, rising."""
        ladder = tuple(self.axes.values())[number].ladder
        return sorted(
            ladder.index(values[number])
            for values in self.tried
            if _changed(values, number, best[number]) == best
        )

    @staticmethod
    def _beside(line: Sequence[int], place: int, way: int) -> int | None:
        """The nearest place of the line that way; None: there is none."""
        beyond = [other for other in line if (other - place) * way > 0]
        return min(beyond, key=lambda other: abs(other - place), default=None)


def _changed(values: _Values, number: int, value: float) -> _Values:
    return (*values[:number], value, *values[number + 1 :])
