"""The fleets of all rules, played side by side: what each would have paid and missed.

They are played under the hypotheses of capacity around the one that is believed: what replicas carry
decides what a rule asks for, and what becomes of its queue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from autoscaler.core.candidates.capacity import RATIOS, TOLD, Fleet
from autoscaler.core.candidates.fleet_model import chance_ratio, replicas_for, serve
from autoscaler.core.candidates.peaks import PeakMemory
from autoscaler.core.candidates.rules import PEAKS, SHARE, SHARES
from autoscaler.core.contract.state import FloatArray, IntArray
from autoscaler.core.tuning import TUNING

HYPOTHESES = 7
"""Played at a time."""


def _fleets() -> FloatArray:
    return np.zeros((HYPOTHESES, PEAKS, len(SHARES)))


def _hypotheses() -> FloatArray:
    return np.zeros(HYPOTHESES)


class _Asked(NamedTuple):
    """On what it depends how many replicas the fleets asked for."""

    step: int
    """Of the peaks."""
    first: int
    """Hypothesis."""
    least: int
    most: int


@lru_cache(maxsize=len(RATIOS))
def _fillings(first: int) -> tuple[FloatArray, IntArray]:
    """Return what a replica is filled to, of the hypotheses from this one on, each number once.

    Ratios and shares are steps of one another, so that of their products less than half are different.

    Returns:
        Each of them, and where each fleet finds what it asks for among the answers, which are [peak, filling].
    """
    carries, places = np.unique(
        RATIOS[first : first + HYPOTHESES, None] * SHARE, return_inverse=True
    )
    rows = np.arange(PEAKS)[:, None] * len(carries)
    return carries, rows + places.reshape(HYPOTHESES, 1, len(SHARES))


class Missed(NamedTuple):
    """Shares of one step's arrivals; [hypothesis, peak, share]."""

    late_ratio: FloatArray
    chance_ratio: FloatArray
    """Of those that are not late."""

    def of(self, place: tuple[int, int, int]) -> tuple[float, float]:
        """Return the shares of all arrivals that one of the fleets missed: late, and by chance."""
        late, chance = float(self.late_ratio[place]), float(self.chance_ratio[place])
        return late, chance * (1.0 - late)


@dataclass(slots=True, kw_only=True)
class FleetsMemory:
    """Of one model. Part of the engine's memory; arrays are [hypothesis, peak, share]."""

    first: int = TOLD - HYPOTHESES // 2
    """The first hypothesis that is played; index in RATIOS."""
    in_flight: FloatArray = field(default_factory=_fleets)
    """Requests now."""
    replica_s: FloatArray = field(default_factory=_fleets)
    """Replica-seconds that were asked for, decayed; likewise all below."""
    starts: FloatArray = field(default_factory=_fleets)
    """Replicas that were started."""
    by_chance: FloatArray = field(default_factory=_fleets)
    """Requests that missed by chance."""
    late: FloatArray = field(default_factory=_fleets)
    """Requests that waited too long."""
    arrivals: FloatArray = field(default_factory=_hypotheses)
    """[hypothesis]: requests."""
    played_s: FloatArray = field(default_factory=_hypotheses)
    """[hypothesis]: seconds."""
    asked: tuple[_Asked, FloatArray] | None = field(default=None, init=False)
    """What the fleets asked for at the last step, which the next one begins with; no part of a checkpoint, for it
    is worked out anew where it is not known."""

    def play_around(self, believed: int) -> None:
        """Play the hypotheses around this one: those that come anew begin with nothing."""
        first = min(max(0, believed - HYPOTHESES // 2), len(RATIOS) - HYPOTHESES)
        moved = first - self.first
        if not moved:
            return
        rows = np.arange(HYPOTHESES) + moved
        known = (rows >= 0) & (rows < HYPOTHESES)
        for name in (
            "in_flight",
            "replica_s",
            "starts",
            "by_chance",
            "late",
            "arrivals",
            "played_s",
        ):
            before = getattr(self, name)
            after = np.zeros_like(before)
            after[known] = before[rows[known]]
            setattr(self, name, after)
        self.first = first

    def play(
        self,
        fleet: Fleet,
        *,
        peaks: PeakMemory,
        cold_start_s: float,
        seats: float,
        slack_s: float,
        budget_ratio: float,
        replicas_min: int,
        replicas_max: int,
    ) -> Missed:
        """Play one step of all of them, and return what each missed of its arrivals.

        Args:
            fleet: that really runs: its arrivals are everyone's.
            peaks: the loads up to this step.
            cold_start_s: from a replica asked for to ready.
            seats: requests that one replica serves at once, if it carries what was told.
            slack_s: an arrival that waits longer misses.
            budget_ratio: share that may miss.
            replicas_min: of each fleet, at least one.
            replicas_max: likewise.
        """
        ratios = RATIOS[self.first : self.first + HYPOTHESES, None, None]
        about = _Asked(peaks.steps, self.first, max(1, replicas_min), max(1, replicas_max))
        asked = self._replicas_for(peaks.asked, about).astype(np.float64)
        if self.asked is not None and self.asked[0] == about._replace(step=peaks.steps - 1):
            before = self.asked[1]
        else:
            before = self._replicas_for(peaks.asked_before, about).astype(np.float64)
        self.asked = about, asked
        ready = self._replicas_for(peaks.ready(cold_start_s), about).astype(np.float64)
        self.in_flight, late = serve(
            self.in_flight,
            arrivals=fleet.arrivals,
            ready=ready,
            seats=seats * ratios,
            service_s=fleet.service_s,
            step_s=fleet.step_s,
            slack_s=slack_s,
        )
        chance = chance_ratio(
            peaks.now, ready=ready, carried_ratio=ratios, budget_ratio=budget_ratio
        )
        by_chance = fleet.arrivals * chance
        by_chance *= 1.0 - late
        started = asked - before
        left = math.pow(0.5, fleet.step_s / TUNING.played_half_life_s)
        for sums, came in (
            (self.replica_s, asked * fleet.step_s),
            (self.starts, np.maximum(started, 0.0, out=started)),
            (self.by_chance, by_chance),
            (self.late, fleet.arrivals * late),
            (self.arrivals, fleet.arrivals),
            (self.played_s, fleet.step_s),
        ):
            np.multiply(sums, left, out=sums)
            np.add(sums, came, out=sums)
        return Missed(late_ratio=late, chance_ratio=chance)

    def _replicas_for(self, loads: FloatArray, about: _Asked) -> IntArray:
        """Return what the fleets ask for, of loads by peak."""
        carries, places = _fillings(self.first)
        found = replicas_for(loads[:, None] / carries, least=about.least, most=about.most)
        return found.take(places)
