"""What a replica carries: the hypothesis under which the fleet would have missed what it was seen to miss.

What the user told, or the default, is where it begins. Each hypothesis has its own model of the fleet
that really runs, and foresees what it will miss; what it then missed, by the engines' own histograms,
says which of them is likely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from autoscaler.core.candidates.fleet_model import carried_by, chance_ratio_of_one, serve
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.tuning import TUNING

_HALF = 4
"""Steps of RATIOS to half of what is carried."""
TOLD = 18
"""Index of the one of RATIOS at which the target was told right."""
RATIOS: FloatArray = np.array([math.pow(2.0, (step - TOLD) / _HALF) for step in range(27)])
"""Of the in-flight target as told: 1/23 to 4, each 1.19 times the one before: as far apart as the shares of rules. With
steps of sqrt(2) what a replica carries lay between two of them, and belief went to and fro."""
SEATS_RATIOS: FloatArray = np.array([1.25, 2.5, 5.0])
"""Of what a replica carries within the objective: what it serves at once, so that a queue is gone."""
_CARRIES: FloatArray = np.repeat(RATIOS, len(SEATS_RATIOS))
_SEATS: FloatArray = _CARRIES * np.tile(SEATS_RATIOS, len(RATIOS))
"""By hypothesis, one for each pair of the two."""
_LEAST, _MOST = 1e-3, 0.98
"""Nothing that was foreseen is held impossible, nor certain."""
BINS = 24
"""Of the load of one replica, each sqrt(2) times the one before, the last from 4 on."""


class Foreseen(NamedTuple):
    """What the fleet that really runs is to miss of one step's arrivals, by hypothesis."""

    at: float
    arrivals: float
    full: float
    """Load of one replica."""
    late: list[float]
    chance: list[float]


class Fleet(NamedTuple):
    """The fleet that really runs, over one step."""

    arrivals: float
    load: float
    """Mean of now, in replicas as told."""
    ready: float
    """Mean of its ready replicas."""
    service_s: float
    step_s: float


@dataclass(slots=True, kw_only=True)
class CapacityMemory:
    """Of one model. Part of the engine's memory."""

    hypothesis: int = TOLD * len(SEATS_RATIOS)
    """The one that is believed."""
    in_flight: FloatArray = field(default_factory=lambda: np.zeros(len(_SEATS)))
    """By hypothesis: requests that the fleet that really runs would hold."""
    likelihood: FloatArray = field(default_factory=lambda: np.zeros(len(_SEATS)))
    """By hypothesis: decayed logarithms."""
    foreseen: list[Foreseen] = field(default_factory=list)
    """What waits for what is seen."""
    calm: tuple[float, float] = (0.0, 0.0)
    """Misses that were seen where nobody was to wait, and those foreseen."""
    queued: tuple[float, float] = (0.0, 0.0)
    """The same where some were to wait."""
    judged: float = 0.0
    """Requests, decayed."""
    calm_missed: FloatArray = field(default_factory=lambda: np.zeros(BINS))
    """By the load of one replica: misses where nobody was to wait, decayed."""
    calm_judged: FloatArray = field(default_factory=lambda: np.zeros(BINS))
    """Likewise the requests."""
    sureness_ratio: float = field(
        default_factory=lambda: _sureness(_PRIOR, TOLD)  # before anything was seen
    )
    """Probability that a replica carries what it is held to carry."""

    @property
    def believed(self) -> int:
        """What a replica is held to carry; index in RATIOS."""
        return self.hypothesis // len(SEATS_RATIOS)

    @property
    def seats_ratio(self) -> float:
        """Of what a replica carries: what it is held to serve at once."""
        return float(SEATS_RATIOS[self.hypothesis % len(SEATS_RATIOS)])

    @property
    def ratio(self) -> float:
        """Of the in-flight target as told: what a replica is held to carry."""
        return float(RATIOS[self.believed])

    @property
    def base_ratio(self) -> float:
        """Share of the requests that misses however few replicas are loaded: no fleet could spare those."""
        # two dozen numbers: as lists they take a third of the time
        ratios = [
            missed / judged
            for missed, judged in zip(
                self.calm_missed.tolist(), self.calm_judged.tolist(), strict=True
            )
            if judged >= TUNING.base_requests
        ]
        return min(ratios) if ratios else 0.0

    def factors(self, budget_ratio: float) -> tuple[float, float]:
        """Return by how much more is missed than the model says: where nobody waits, and where some do."""
        doubt = 0.1 * budget_ratio * self.judged + 0.5
        calm = (self.calm[0] + doubt) / (self.calm[1] + doubt)
        queued = (self.queued[0] + doubt) / (self.queued[1] + doubt)
        return min(100.0, max(0.3, calm)), min(5.0, max(1.0, queued))

    def put_before(
        self,
        *,
        hypothesis: int,
        likelihood: FloatArray,
        calm: tuple[float, float],
        queued: tuple[float, float],
        judged: float,
        calm_missed: FloatArray,
        calm_judged: FloatArray,
    ) -> None:
        """Put what was seen of before beside what was seen since, faded to now; named as here.

        What was believed then is believed on, until what is likely says something else as clearly as ever.
        """
        if self.judged <= judged and self.hypothesis != hypothesis:
            self.hypothesis = hypothesis
            self.calm = self.queued = (0.0, 0.0)
        if self.hypothesis == hypothesis:
            self.calm = (self.calm[0] + calm[0], self.calm[1] + calm[1])
            self.queued = (self.queued[0] + queued[0], self.queued[1] + queued[1])
        self.likelihood += likelihood
        self.judged += judged
        self.calm_missed += calm_missed
        self.calm_judged += calm_judged
        self.sureness_ratio = _sureness(self.likelihood + _PRIOR, self.believed)

    def foresee(
        self, fleet: Fleet, *, at: float, target: float, slack_s: float, budget_ratio: float
    ) -> None:
        """Write down what is to be missed of one step's arrivals.

        Args:
            fleet: that really runs.
            at: end of the step, seconds.
            target: in-flight requests of one replica, as told.
            slack_s: an arrival that waits longer misses.
            budget_ratio: share that may miss.
        """
        self.in_flight, late = serve(
            self.in_flight,
            arrivals=fleet.arrivals,
            ready=fleet.ready,
            seats=target * _SEATS,
            service_s=fleet.service_s,
            step_s=fleet.step_s,
            slack_s=slack_s,
        )
        chance = chance_ratio_of_one(
            fleet.load, ready=fleet.ready, carried_ratio=_CARRIES, budget_ratio=budget_ratio
        )
        self.foreseen.append(
            Foreseen(
                at=at,
                arrivals=fleet.arrivals,
                full=fleet.load / max(carried_by(fleet.ready), 1e-9),
                late=late.tolist(),
                chance=chance.tolist(),
            )
        )

    def compare(self, *, until: float, missed: float, judged: float, passed_s: float) -> None:
        """Hold what was foreseen of arrivals up to `until` against what was missed since the last comparison.

        Args:
            until: seconds; later arrivals have not ended yet.
            missed: requests that were not within the objective.
            judged: requests of which that is known.
            passed_s: since the last comparison.
        """
        left = math.pow(0.5, passed_s / TUNING.capacity_half_life_s)
        self.likelihood *= left
        self.calm_missed *= left
        self.calm_judged *= left
        self.judged *= left
        self.calm = (self.calm[0] * left, self.calm[1] * left)
        self.queued = (self.queued[0] * left, self.queued[1] * left)
        self._hear(until=until, missed=missed, judged=judged)
        self.sureness_ratio = _sureness(self.likelihood + _PRIOR, self.believed)

    def _hear(self, *, until: float, missed: float, judged: float) -> None:
        """Take in what was missed of the arrivals that are due."""
        due = [each for each in self.foreseen if each.at <= until]
        self.foreseen = self.foreseen[len(due) :]
        arrivals = math.fsum([each.arrivals for each in due])
        if arrivals <= 0.0 or judged <= 0.0:
            return
        if len(due) == 1:  # almost always
            late, chance = np.array(due[0].late), np.array(due[0].chance)
        else:
            weights = np.array([each.arrivals for each in due])[:, None] / arrivals
            late = np.add.reduce(weights * np.array([each.late for each in due]), axis=0)
            chance = np.add.reduce(weights * np.array([each.chance for each in due]), axis=0)
        base = self.base_ratio
        self._learn(late, chance, base=base, missed=missed, judged=judged)
        full = math.fsum([each.full * each.arrivals for each in due]) / arrivals
        half = max(0, self.believed - _HALF) * len(SEATS_RATIOS)
        if late[half] == 0.0:  # not even if replicas carried half of it
            place = math.floor(2.0 * math.log2(max(full, 1e-9))) + BINS - 4
            self.calm_missed[min(BINS - 1, max(0, place))] += missed
            self.calm_judged[min(BINS - 1, max(0, place))] += judged
        self._believe()

    def _learn(
        self, late: FloatArray, chance: FloatArray, *, base: float, missed: float, judged: float
    ) -> None:
        """Add what was seen to the likelihood, and to what the believed one said of it."""
        share = min(1.0, missed / judged)
        expected = base + (1.0 - base) * np.maximum(late, chance)
        expected = np.minimum(np.maximum(expected, _LEAST), _MOST)
        weight = min(judged, TUNING.capacity_requests_max)
        each_likely, before = [], math.nan
        for each in expected.tolist():
            if each != before:  # neighbours foresee the same wherever nobody is late
                before = each
                found = weight * (share * math.log(each) + (1.0 - share) * math.log(1.0 - each))
            each_likely.append(found)
        likely = np.array(each_likely)
        # One moment that no hypothesis foresaw, a node that hung, refutes none of them for good.
        self.likelihood += np.maximum(likely - max(each_likely), -TUNING.capacity_step_max)
        self.judged += judged
        believed = self.hypothesis
        spared = max(0.0, missed - base * judged)
        if late[believed] == 0.0:
            self.calm = (self.calm[0] + spared, self.calm[1] + judged * float(chance[believed]))
        else:
            self.queued = (self.queued[0] + spared, self.queued[1] + judged * float(late[believed]))

    def _believe(self) -> None:
        """Believe the likeliest, when it is clearly likelier than the one that is believed."""
        likely = self.likelihood + _PRIOR
        best = int(likely.argmax())
        if likely[best] > likely[self.hypothesis] + TUNING.capacity_stick:
            self.hypothesis = best
            self.calm = self.queued = (0.0, 0.0)


_PRIOR: FloatArray = np.array(
    [-0.5 * math.pow(math.log(each) / TUNING.capacity_doubt, 2.0) for each in _CARRIES.tolist()]
)


def _sureness(likely: FloatArray, believed: int) -> float:
    """Return the probability of one of RATIOS, of logarithms by hypothesis."""
    weights = [*map(math.exp, (likely - np.maximum.reduce(likely)).tolist())]
    first = believed * len(SEATS_RATIOS)
    return math.fsum(weights[first : first + len(SEATS_RATIOS)]) / math.fsum(weights)
