"""One forecast: the distribution of demand at each lead, as seen at one moment.

It is a mixture: around each expert's baseline its own histogram of residuals, carried back from
square-root space. What the rule asks of it is the *use* of a replica, `E[clip(D - (k - 1), 0, 1)]`:
the share of a step in which replica k has work. With `G(x) = E[max(D - x, 0)]` that is
`G(k - 1) - G(k)`, and G follows from sums over the tails of the histograms alone: an atom a (half a
residual) around an expert's root s stands for `D = (s + a)^2 - 0.3`, so sums of probability, of
probability * a and of probability * a^2 over the atoms above a threshold give the sum of D over
them, whatever the baseline is.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.core.forecast.residuals import BAND, LEADS_S, PLACES, Mixture
from autoscaler.core.tuning import TUNING

_MIDDLES = [0.5 * (a + b) for a, b in pairwise(LEADS_S)]
_SHIFT = TUNING.root_shift
_ZERO_ROOT = math.sqrt(_SHIFT)
_RESOLUTION = 0.02
"""Of the band's edges, in square-root space: at ten replicas an eighth of one."""


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
    return bisect_left(_MIDDLES, seconds)


class Forecast(NamedTuple):
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
    roots: tuple[float, ...]
    """Of each expert: its baseline in square-root space."""
    mixture: Mixture

    def expected_use(self, first: int, last: int, *, carried_ratio: float = 1.0) -> FloatArray:
        """Return the expected use of replicas `first` to `last` (counted from 1): [replica, lead].

        Args:
            first: replica.
            last: replica.
            carried_ratio: what each of them carries, of the replicas that the forecast counts in.
        """
        experts = tuple(zip(self.mixture.offsets, self.roots, strict=True))
        places: list[int] = []
        factors: list[float] = []
        for demand in range(first - 1, last + 1):
            edge = math.sqrt(demand * carried_ratio + _SHIFT)
            for offset, root in experts:
                # D - x = (s + a)^2 - q^2 with q the edge's root: a^2 + 2 s a - t (t + 2 s), t = q - s
                threshold = edge - root
                places.append(offset + bisect_left(PLACES, threshold))
                factors += (-threshold * (edge + root), root + root, 1.0)
        sums = self.mixture.tails.take(places, axis=0)
        sums *= np.array(factors).reshape(-1, 3, 1)
        excess = np.add.reduce(sums.reshape(last - first + 2, -1, len(LEADS_S)), axis=1)
        use: FloatArray = excess[:-1] - excess[1:]
        return use if carried_ratio == 1.0 else use / carried_ratio


def distribution(mixture: Mixture, *, at: float, roots: tuple[float, ...], lead: int) -> Forecast:
    """Put a forecast together from the experts' baselines and their residuals."""
    mean = 0.0
    masses: list[tuple[float, list[float]]] = []
    lows: list[float] = []
    highs: list[float] = []
    for root, (mass, moment, square, low, high) in zip(roots, mixture.at_lead(lead), strict=True):
        place = bisect_left(PLACES, _ZERO_ROOT - root)
        mean += square[place] + 2.0 * root * moment[place]
        mean += (root * root - _SHIFT) * mass[place]
        masses.append((root, mass))
        lows.append(root + low)
        highs.append(root + high)
    low_replicas = _demand(_narrow(masses, lows, above=1.0 - BAND[0])[0])
    high_replicas = _demand(_narrow(masses, highs, above=1.0 - BAND[1])[1])
    return Forecast(
        at=at,
        lead_s=float(LEADS_S[lead]),
        mean_replicas=max(0.0, mean),
        low_replicas=low_replicas,
        high_replicas=high_replicas,
        roots=roots,
        mixture=mixture,
    )


def _narrow(
    masses: list[tuple[float, list[float]]], quantiles: list[float], *, above: float
) -> tuple[float, float]:
    """Narrow down where the mixture has `above` of its mass above: between its experts' own places.

    Args:
        masses: each expert's root, and its mass at each place and above.
        quantiles: the experts' own.
        above: share of the mass.
    """
    low, high = min(quantiles), max(quantiles)
    while high - low > _RESOLUTION:
        middle = 0.5 * (low + high)
        left = above
        for root, mass in masses:
            left -= mass[bisect_right(PLACES, middle - root)]
        if left >= 0.0:
            high = middle
        else:
            low = middle
    return low, high


def _demand(place: float) -> float:
    """Carry a root back to a demand; below zero there is none."""
    return place * place - _SHIFT if place > _ZERO_ROOT else 0.0
