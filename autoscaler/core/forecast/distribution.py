"""One forecast: the distribution of demand at each lead, as seen at one moment. Pure: no I/O.

It is a mixture: around each expert's level its own histogram of residuals, carried back from
square-root space. What the rule asks of it is the *use* of a replica, `E[clip(D - (k - 1), 0, 1)]`:
the share of a step in which replica k has work. With `G(x) = E[max(D - x, 0)]` that is
`G(k - 1) - G(k)`, and G follows from suffix sums of the histograms alone: an atom r around an
expert's root s stands for `D = (s + r / 2)^2 - 0.3`, so sums of mass, of mass * r and of
mass * r^2 over the atoms above a threshold give the sum of D over them, whatever the level is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from autoscaler.core.forecast.residuals import (
    ATOMS,
    ATOMS_SQUARED,
    BINS,
    LEADS_S,
    SHIFT,
    Residuals,
)
from autoscaler.core.state import FloatArray, IntArray

BAND = (0.05, 0.95)
"""Quantiles between which 90 % is expected."""
_MIDDLES = np.array([0.5 * (a + b) for a, b in pairwise(LEADS_S)])
_ZERO_ROOT = math.sqrt(SHIFT)


def nearest_leads(seconds: FloatArray) -> IntArray:
    """Return the index of the lead of the grid that is nearest to each moment ahead."""
    return np.searchsorted(_MIDDLES, seconds)


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
    weights: FloatArray
    """[lead, expert]: its weight over the mass of its histogram."""
    tails: tuple[FloatArray, FloatArray, FloatArray]
    """[lead, expert * (BINS + 1)]: sums of mass, mass * r, mass * r^2 over this atom and those above."""

    def use(self, first: int, last: int) -> FloatArray:
        """Return the expected use of replicas `first` to `last` (counted from 1): [lead, level]."""
        excess = _excess(self, np.arange(first - 1, last + 1, dtype=np.float64))
        return excess[:, :-1] - excess[:, 1:]


def distribution(
    residuals: Residuals, *, at: float, roots: FloatArray, cold_start_s: float
) -> Forecast:
    """Put a forecast together from the experts' levels and their residuals."""
    lead = nearest_lead(cold_start_s)
    weights = residuals.weights()
    weights /= residuals.total[:, None]
    low, high = _band(residuals.mass[lead], weights=weights[lead], roots=roots)
    made = Forecast(
        at=at,
        lead_s=float(LEADS_S[lead]),
        mean_replicas=0.0,
        low_replicas=low,
        high_replicas=high,
        roots=roots,
        weights=weights,
        tails=_tails(residuals.mass),
    )
    mean = float(_excess(made, np.zeros(1))[lead, 0])
    return Forecast(
        at=at,
        lead_s=made.lead_s,
        mean_replicas=mean,
        low_replicas=low,
        high_replicas=high,
        roots=roots,
        weights=weights,
        tails=made.tails,
    )


def _excess(forecast: Forecast, levels: FloatArray) -> FloatArray:
    """Return `G(x) = E[max(D - x, 0)]`: [lead, level]."""
    roots = forecast.roots[:, None]
    thresholds = np.sqrt(levels + SHIFT) - roots
    thresholds *= 2.0
    experts = len(roots)
    place = np.searchsorted(ATOMS, thresholds)  # [expert, level]: the first atom that counts
    place += np.arange(0, experts * (BINS + 1), BINS + 1)[:, None]
    flat = place.reshape(-1)
    mass, first, second = forecast.tails
    # sum of (s^2 - 0.3 - x) + s r + r^2 / 4 over the atoms that count
    above = mass.take(flat, axis=1)
    above *= (roots * roots - SHIFT - levels).reshape(-1)
    moment = first.take(flat, axis=1)
    moment *= np.repeat(forecast.roots, len(levels))
    above += moment
    moment = second.take(flat, axis=1)
    moment *= 0.25
    above += moment
    shaped = above.reshape(-1, experts, len(levels))
    shaped *= forecast.weights[:, :, None]
    excess: FloatArray = np.add.reduce(shaped, axis=1)
    return excess


def _tails(mass: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    leads, experts, _ = mass.shape
    sums = np.zeros((3, leads, experts, BINS + 1))
    backwards = sums[..., BINS - 1 :: -1]
    np.add.accumulate(mass[..., ::-1], axis=-1, out=backwards[0])
    np.add.accumulate((mass * ATOMS)[..., ::-1], axis=-1, out=backwards[1])
    np.add.accumulate((mass * ATOMS_SQUARED)[..., ::-1], axis=-1, out=backwards[2])
    flat = sums.reshape(3, leads, -1)
    return flat[0], flat[1], flat[2]


def _band(mass: FloatArray, *, weights: FloatArray, roots: FloatArray) -> tuple[float, float]:
    """Return the quantiles of the band, from the mixture's atoms in order."""
    places = 0.5 * ATOMS + roots[:, None]
    np.maximum(places, _ZERO_ROOT, out=places)
    places *= places
    flat = places.reshape(-1)
    order = np.argsort(flat, kind="stable")
    reached = np.add.accumulate((mass * weights[:, None]).reshape(-1)[order])
    found = np.minimum(np.searchsorted(reached, BAND), len(flat) - 1)
    low, high = flat[order[found]].tolist()
    return max(low - SHIFT, 0.0), max(high - SHIFT, 0.0)
