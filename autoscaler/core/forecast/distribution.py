"""One forecast: the distribution of demand at each lead, as seen at one moment. Pure: no I/O.

It is a mixture: around each expert's level its own histogram of residuals, carried back from
square-root space. What the rule asks of it is the *use* of a replica, `E[clip(D - (k - 1), 0, 1)]`:
the share of a step in which replica k has work. With `G(x) = E[max(D - x, 0)]` that is
`G(k - 1) - G(k)`, and G follows from sums over the tails of the histograms alone: an atom a (half a
residual) around an expert's root s stands for `D = (s + a)^2 - 0.3`, so sums of probability, of
probability * a and of probability * a^2 over the atoms above a threshold give the sum of D over
them, whatever the level is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from autoscaler.core.forecast.residuals import (
    BINS,
    HALF_ATOMS,
    LEADS_S,
    SHIFT,
    Mixture,
)
from autoscaler.core.state import FloatArray

BAND = np.array([0.05, 0.95])
"""Quantiles between which 90 % is expected."""
_MIDDLES = np.array([0.5 * (a + b) for a, b in pairwise(LEADS_S)])
_ZERO_ROOT = math.sqrt(SHIFT)
_EDGES = np.sqrt(np.arange(1024, dtype=np.float64) + SHIFT)
_OFFSETS = np.arange(0, 64 * (BINS + 1), BINS + 1, dtype=np.int64)[:, None]
"""Where each expert's tail begins."""


def between_leads(seconds: float) -> tuple[int, float]:
    """Return where a moment ahead lies: after which lead, and which share of the way to the next.

    Moments before the first lead count as that one, and those beyond the last likewise.
    """
    last = len(LEADS_S) - 2
    lead = min(max(bisect_right(LEADS_S, seconds) - 1, 0), last)
    share = (seconds - LEADS_S[lead]) / (LEADS_S[lead + 1] - LEADS_S[lead])
    return lead, min(max(share, 0.0), 1.0)


def nearest_lead(seconds: float) -> int:
    """Return the index of the lead of the grid that is nearest to a moment ahead."""
    return int(np.searchsorted(_MIDDLES, seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The distribution of the offered load ahead, in replicas."""

    at: float
    """When it was made."""
    lead_s: float
    """The lead that the three numbers below are of: the grid's nearest to one cold start."""
    mean_replicas: float
    low_replicas: float
    """5 % quantile."""
    high_replicas: float
    """95 % quantile."""
    roots: FloatArray
    """[expert]: its level in square-root space."""
    mixture: Mixture

    def use(self, first: int, last: int) -> FloatArray:
        """Return the expected use of replicas `first` to `last` (counted from 1): [level, lead]."""
        edges = _edge_roots(first - 1, last)
        roots = self.roots[:, None]
        threshold = edges - roots  # [expert, edge]
        place = HALF_ATOMS.searchsorted(threshold)  # the first atom that counts
        place += _OFFSETS[: len(roots)]
        # D - x = (s + a)^2 - q^2 with q the edge's root: a^2 + 2 s a - t (t + 2 s), t = q - s
        mass, first_moment, second_moment = self.mixture.tails
        doubled = 2.0 * roots
        excess = first_moment.take(place, axis=1)  # [lead, expert, edge]
        excess *= doubled
        excess += second_moment.take(place, axis=1)
        doubled = doubled + threshold
        doubled *= threshold
        doubled = mass.take(place, axis=1) * doubled
        excess -= doubled
        summed = np.add.reduce(excess, axis=1).T
        use: FloatArray = summed[:-1] - summed[1:]
        return use


def distribution(mixture: Mixture, *, at: float, roots: FloatArray, lead: int) -> Forecast:
    """Put a forecast together from the experts' levels and their residuals."""
    places = (HALF_ATOMS + roots[:, None]).reshape(-1)
    mass = mixture.mass[lead]
    order = places.argsort(kind="stable")
    found = np.add.accumulate(mass.take(order)).searchsorted(BAND)
    low, high = places.take(order.take(found, mode="clip")).tolist()
    np.maximum(places, _ZERO_ROOT, out=places)
    places *= places
    places *= mass
    return Forecast(
        at=at,
        lead_s=float(LEADS_S[lead]),
        mean_replicas=max(0.0, float(np.add.reduce(places)) - SHIFT),
        low_replicas=_demand(low),
        high_replicas=_demand(high),
        roots=roots,
        mixture=mixture,
    )


def _demand(place: float) -> float:
    """Carry a root back to a demand; below zero there is none."""
    return place * place - SHIFT if place > _ZERO_ROOT else 0.0


def _edge_roots(first: int, last: int) -> FloatArray:
    """Return the roots of `first` to `last` replicas."""
    if last < len(_EDGES):
        return _EDGES[first : last + 1]
    return np.sqrt(np.arange(first, last + 1, dtype=np.float64) + SHIFT)
