"""The choice among the rules: the cheapest that would have kept the objective."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from autoscaler.core.candidates.capacity import CapacityMemory
from autoscaler.core.candidates.fleets import FleetsMemory
from autoscaler.core.candidates.rules import CAREFUL
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.tuning import TUNING


class Standing(NamedTuple):
    """What one rule would have cost and attained, by what was played; the last day weighs most."""

    replicas: float
    """Mean of those asked for."""
    attained_ratio: float
    """Of the requests that some fleet could have served in time."""


@dataclass(slots=True, kw_only=True)
class ChoiceMemory:
    """Of one model. Part of the engine's memory."""

    chosen: int = CAREFUL
    """Index in RULES."""
    since: float | None = None
    """Seconds; None: no rule was chosen yet, the careful one decides."""
    runner_up: int | None = None
    """The next best of another kind; None: not known."""
    standing: Standing | None = None
    """Of the chosen one; None: nothing was played under what is believed."""
    runner_up_standing: Standing | None = None
    missed: float = 0.0
    """Requests that really missed, those apart that no fleet could have spared; decayed."""
    judged: float = 0.0
    """Requests, likewise."""
    foreseen: float = 0.0
    """Misses that were foreseen of the rules that decided, likewise."""

    def remember(self, *, missed: float, judged: float, foreseen: float, passed_s: float) -> None:
        """Remember what came of the rule that decides."""
        left = math.pow(0.5, passed_s / TUNING.played_half_life_s)
        self.missed = self.missed * left + missed
        self.judged = self.judged * left + judged
        self.foreseen = self.foreseen * left + foreseen

    def choose(
        self,
        fleets: FleetsMemory,
        capacity: CapacityMemory,
        *,
        at: float,
        budget_ratio: float,
        request_s: float,
    ) -> None:
        """Choose anew.

        The misses of a rule count from where even the best of all rules has some: a jump that none could
        meet says nothing about any. Those beyond its part of the budget cost what many requests cost.

        Args:
            fleets: what was played.
            capacity: under which hypothesis.
            at: now, seconds.
            budget_ratio: share that may miss.
            request_s: replica-seconds that one request takes.
        """
        row = capacity.believed - fleets.first
        arrivals, played_s = float(fleets.arrivals[row]), float(fleets.played_s[row])
        if arrivals <= 0.0:
            return  # of traffic alone can be told what it takes
        calm, queued = capacity.factors(budget_ratio)
        missed = np.minimum(
            fleets.by_chance[row] * calm + fleets.late[row] * queued, arrivals
        ).reshape(-1)
        missed -= np.minimum.reduce(missed)
        aim = TUNING.budget_aim_ratio / self._overspent(budget_ratio)
        excess = np.maximum(0.0, missed - aim * budget_ratio * arrivals)
        replica_s = fleets.replica_s[row].reshape(-1)
        score = replica_s + TUNING.start_price_s * fleets.starts[row].reshape(-1)
        score += TUNING.miss_price / budget_ratio * request_s * excess
        best, chosen = int(score.argmin()), self.chosen
        # Until enough was played, only to one that asks for more.
        known = played_s >= TUNING.played_s_min or replica_s[best] > replica_s[chosen]
        if known and score[best] < score[chosen] * (1.0 - TUNING.choice_stick_ratio):
            self.chosen, self.since = best, at
        self._account(replica_s / played_s, 1.0 - missed / arrivals, score=score)

    def _overspent(self, budget_ratio: float) -> float:
        """Return how many times more was really missed than the budget, or than was foreseen; at least 1."""
        allowed = max(budget_ratio * self.judged, self.foreseen) + 1.0
        return min(TUNING.overspent_max, max(1.0, self.missed / allowed))

    def _account(self, replicas: FloatArray, attained: FloatArray, *, score: FloatArray) -> None:
        """Write down how the chosen one stands, and the next best that asks for another number."""
        chosen = self.chosen
        other = np.abs(replicas - replicas[chosen]) > 1e-6
        runner_up = None
        if np.count_nonzero(other):
            runner_up = int(np.where(other, score, np.inf).argmin())
        self.standing = Standing(float(replicas[chosen]), float(attained[chosen]))
        self.runner_up = runner_up
        self.runner_up_standing = (
            None
            if runner_up is None
            else Standing(float(replicas[runner_up]), float(attained[runner_up]))
        )
