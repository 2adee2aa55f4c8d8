"""Decayed histograms of forecast residuals, one for each lead and expert.

Residuals are taken in square-root space, `2 * (sqrt(d + 0.3) - sqrt(baseline + 0.3))`: there the
spread of demand is nearly the same at night and at the peak, so one histogram serves both. Leads
are a fixed grid of seconds, for the steps of the rule change as the cold start is learnt.

Nothing here takes exp, log or power of arrays, nor a matrix product: their bytes differ between
CPUs, and decisions are replayed byte for byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.core.tuning import TUNING

LEADS_S = TUNING.leads_s
RESCALE_AT = 1e9
"""New residuals weigh more instead of old ones less; at this growth all are scaled back."""


def _half_atoms() -> FloatArray:
    """Return the places that hold a histogram's mass, halved: so they add to a baseline's root.

    Residuals are fine around zero and geometric outwards.
    """
    first, growth = TUNING.atom_first, TUNING.atom_growth
    steps = range(1, TUNING.atoms_outward + 1)
    outward = [first * (math.pow(1.0 + growth, step) - 1.0) / growth for step in steps]
    return np.array([-a for a in reversed(outward)] + [0.0] + outward, dtype=np.float64)


HALF_ATOMS = _half_atoms()
PLACES: list[float] = HALF_ATOMS.tolist()
"""The same as a list."""
BINS = len(HALF_ATOMS)
_GAPS = HALF_ATOMS[1:] - HALF_ATOMS[:-1]
BAND = (0.05, 0.95)
"""Quantiles between which 90 % is expected."""


def root(demand: float) -> float:
    """Carry a demand into square-root space (half the scale of a residual)."""
    return math.sqrt(demand + TUNING.root_shift)


def _prior() -> FloatArray:
    """Return the Laplace prior on the atoms: each one's share lies between its neighbours' middles."""

    def below(x: float) -> float:
        if x < 0.0:
            return 0.5 * math.exp(x / TUNING.prior_scale)
        return 1.0 - 0.5 * math.exp(-x / TUNING.prior_scale)

    places = [2.0 * half for half in PLACES]
    edges = [0.5 * (a + b) for a, b in pairwise(places)]
    reached = [0.0, *(below(edge) for edge in edges), 1.0]
    return np.array([b - a for a, b in pairwise(reached)], dtype=np.float64)


PRIOR = _prior()


class ExpertTail(NamedTuple):
    """One expert's part of the mixture at one lead; atoms are halved residuals."""

    mass: list[float]
    """Probability of this atom and those above."""
    moment: list[float]
    """Sum of probability times atom, likewise."""
    square: list[float]
    """Sum of probability times atom squared, likewise."""
    low: float
    """The expert's own 5 % quantile."""
    high: float
    """Its 95 % quantile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What follows from the histograms and the experts' weights, until residuals are added."""

    tails: FloatArray
    """[expert * (BINS + 1), 3, lead]: sums over this atom and those above of the probability, of it
    times the atom (halved), and of it times the atom squared. A lead's probabilities sum to 1.
    The lead comes last: what is asked of one atom is asked at all leads."""
    offsets: tuple[int, ...]
    """By expert: its first row of `tails`."""
    _by_lead: dict[int, tuple[ExpertTail, ...]] = field(default_factory=dict)

    def at_lead(self, lead: int) -> tuple[ExpertTail, ...]:
        """Return the experts' parts at one lead, as lists; written out once."""
        found = self._by_lead.get(lead)
        if found is None:
            rows = self.tails[:, :, lead].reshape(-1, BINS + 1, 3)
            tails = rows.transpose(2, 0, 1).tolist()
            found = tuple(
                ExpertTail(
                    mass=mass,
                    moment=moment,
                    square=square,
                    low=_quantile(mass, BAND[0]),
                    high=_quantile(mass, BAND[1]),
                )
                for mass, moment, square in zip(*tails, strict=True)
            )
            self._by_lead[lead] = found
        return found


def _quantile(mass: list[float], quantile: float) -> float:
    """Return the first atom above which no more than 1 - quantile of an expert's mass lies."""
    above = (1.0 - quantile) * mass[0]
    for place, remaining in zip(PLACES, mass[1:], strict=True):
        if remaining <= above:
            return place
    return PLACES[-1]


class SeenBefore(NamedTuple):
    """What an earlier process had taken in, each worth what it was when it was written down."""

    mass: FloatArray
    """[lead, expert, atom]"""
    total: FloatArray
    """[lead], > 0"""
    loss: FloatArray
    """[lead, expert]"""
    seen: FloatArray
    """[lead]"""


@dataclass(slots=True, kw_only=True)
class Residuals:
    """Histograms and losses of the experts at all leads. Part of the engine's memory."""

    mass: FloatArray
    """[lead, expert, atom]; in units of `growth`."""
    total: FloatArray
    """[lead]: the mass of each of its experts' histograms (all get as many residuals)."""
    loss: FloatArray
    """[lead, expert]: decayed sum of absolute residuals."""
    seen: FloatArray
    """[lead]: how many residuals were taken in, ever."""
    growth: float = 1.0
    """Weight of a residual of now."""
    mixture: Mixture = field(init=False)

    def __post_init__(self) -> None:
        self.mixture = self._mix()

    @classmethod
    def from_prior(cls, *, experts: int, prior_weight: float = TUNING.prior_weight) -> Residuals:
        """Begin with the prior, as if it had been seen `prior_weight` times."""
        leads = len(LEADS_S)
        return cls(
            mass=np.tile(prior_weight * PRIOR, (leads, experts, 1)),
            total=np.full(leads, prior_weight),
            loss=np.full((leads, experts), TUNING.prior_weight * TUNING.prior_scale),
            seen=np.zeros(leads),
        )

    def add(
        self, halves: FloatArray, *, weights: FloatArray | None = None, each: float = 1.0
    ) -> None:
        """Add residuals.

        Args:
            halves: [any, lead, expert], differences of roots (half a residual); NaN where no
                forecast was made that long ago (then for all experts of that lead).
            weights: [any], in residuals of now; None: each is one.
            each: how many residuals each of them stands for.
        """
        valid = ~np.isnan(halves)
        if weights is None:
            weight = np.where(valid, self.growth, 0.0)
        else:
            weight = np.where(valid, (self.growth * weights)[:, None, None], 0.0)
        halves = np.where(valid, halves, 0.0)
        clipped = np.minimum(np.maximum(halves, PLACES[0]), PLACES[-1])
        # Each residual is split between its two neighbours so that the mean stays exact.
        left = np.minimum(np.searchsorted(HALF_ATOMS, clipped, side="right") - 1, BINS - 2)
        share = (clipped - HALF_ATOMS.take(left)) / _GAPS.take(left)
        share *= weight
        place = left + np.arange(0, self.mass.size, BINS).reshape(1, *self.loss.shape)
        places = np.concatenate([place.reshape(-1), place.reshape(-1) + 1])
        shares = np.concatenate([(weight - share).reshape(-1), share.reshape(-1)])
        self.mass += np.bincount(places, shares, minlength=self.mass.size).reshape(self.mass.shape)
        self.loss += np.add.reduce(2.0 * np.abs(halves) * weight, axis=0)
        self.total += np.add.reduce(weight[:, :, 0], axis=0)
        self.seen += each * np.add.reduce(valid[:, :, 0], axis=0)
        self.mixture = self._mix()

    def add_seen_before(self, before: SeenBefore, *, weight: float, prior_weight: float) -> None:
        """Let residuals that an earlier process took in stand in place of the prior.

        Args:
            before: what it had.
            weight: in residuals of now, what one of then is worth.
            prior_weight: with which this one began.
        """
        self.mass -= np.minimum(self.mass, prior_weight * PRIOR)
        self.loss -= np.minimum(self.loss, TUNING.prior_weight * TUNING.prior_scale)
        self.total -= np.minimum(self.total, prior_weight)
        self.mass += weight * self.growth * before.mass
        self.loss += weight * self.growth * before.loss
        self.total += weight * self.growth * before.total
        self.seen += before.seen
        self.mixture = self._mix()

    def age(self, elapsed_s: float) -> None:
        """Let time pass: what comes later weighs more."""
        self.growth *= math.exp(elapsed_s / TUNING.residual_decay_s)
        if self.growth > RESCALE_AT:
            self.mass /= self.growth
            self.total /= self.growth
            self.loss /= self.growth
            self.growth = 1.0

    def weights(self) -> FloatArray:
        """Weigh the experts by their own losses, per group of leads: [lead, expert], sum 1."""
        grouped = self.loss.reshape(TUNING.lead_groups, -1, self.loss.shape[1])
        losses_by_group: list[list[float]] = np.add.reduce(grouped, axis=1).tolist()
        rows: list[list[float]] = []
        for losses in losses_by_group:
            best = min(losses)
            raw = [math.exp(-TUNING.sharpness * (loss / best - 1.0)) for loss in losses]
            total = sum(raw)
            rows.append([value / total for value in raw])
        return np.repeat(np.array(rows), len(LEADS_S) // TUNING.lead_groups, axis=0)

    def _mix(self) -> Mixture:
        leads, experts, _ = self.mass.shape
        mass = self.mass * (self.weights() / self.total[:, None])[:, :, None]
        tails = np.zeros((experts, BINS + 1, 3, leads))
        moment = mass
        for power in range(3):
            above = np.add.accumulate(moment[..., ::-1], axis=-1)
            tails[:, :BINS, power] = above[..., ::-1].transpose(1, 2, 0)
            moment = moment * HALF_ATOMS
        return Mixture(
            tails=tails.reshape(-1, 3, leads),
            offsets=tuple([expert * (BINS + 1) for expert in range(experts)]),
        )
