"""Decayed histograms of forecast residuals, one for each lead and expert. Pure: no I/O, no clock.

Residuals are taken in square-root space, `2 * (sqrt(d + 0.3) - sqrt(level + 0.3))`: there the
spread of demand is nearly the same at night and at the peak, so one histogram serves both. Leads
are a fixed grid of seconds, for the steps of the rule change as the cold start is learnt.

Nothing here takes exp, log or power of arrays, nor a matrix product: their bytes differ between
CPUs, and decisions are replayed byte for byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from autoscaler.core.plain import (
    Plain,
    plain_floats,
    read_float,
    read_floats,
    read_record,
)
from autoscaler.core.state import BoolArray, FloatArray

LEADS_S = (15, 30, 45, 60, 90, 120, 180, 240, 360, 540, 780, 1200)
GROUPS = 4
"""Leads are weighed in groups of three: up to 45, 120, 360 and 1200 s."""
SHIFT = 0.3
"""Under the root, so that zero has a finite slope."""
DECAY_S = 2 * 86_400.0
PRIOR_SCALE = 0.3
"""Of the Laplace prior around zero, in square-root space."""
PRIOR_WEIGHT = 5.0
"""In residuals."""
SHARPNESS = 10.0
"""Of the experts' weights: `exp(-10 * (loss / best - 1))`."""
RESCALE_AT = 1e9
"""New residuals weigh more instead of old ones less; at this growth all are scaled back."""


def _atoms() -> FloatArray:
    """Return the places that hold the histogram's mass: fine around zero, geometric outwards.

    From 0.1 (at a level of three replicas a fifth of one) to 24 (from none to 160 replicas).
    """
    outward = [0.1 * (math.pow(1.115, i) - 1.0) / 0.115 for i in range(1, 32)]
    return np.array([-a for a in reversed(outward)] + [0.0] + outward, dtype=np.float64)


ATOMS = _atoms()
ATOMS_SQUARED = ATOMS * ATOMS
BINS = len(ATOMS)


def root(demand: float) -> float:
    """Carry a demand into square-root space (half the scale of a residual)."""
    return math.sqrt(demand + SHIFT)


def _prior() -> FloatArray:
    """Return the Laplace prior on the atoms: each one's share lies between its neighbours' middles."""

    def below(x: float) -> float:
        if x < 0.0:
            return 0.5 * math.exp(x / PRIOR_SCALE)
        return 1.0 - 0.5 * math.exp(-x / PRIOR_SCALE)

    places = [float(atom) for atom in ATOMS]
    edges = [0.5 * (a + b) for a, b in pairwise(places)]
    reached = [0.0, *(below(edge) for edge in edges), 1.0]
    return np.array([b - a for a, b in pairwise(reached)], dtype=np.float64)


PRIOR = _prior()


def _initial_mass(experts: int) -> FloatArray:
    return np.tile(PRIOR_WEIGHT * PRIOR, (len(LEADS_S), experts, 1))


@dataclass(slots=True, kw_only=True)
class Residuals:
    """Histograms and losses of `experts` experts at all leads. Part of the engine's memory."""

    experts: int
    mass: FloatArray = field(init=False)
    """[lead, expert, atom]; in units of `growth`."""
    total: FloatArray = field(init=False)
    """[lead]: the mass of each of its experts' histograms (they get the same residuals' number)."""
    loss: FloatArray = field(init=False)
    """[lead, expert]: decayed sum of absolute residuals."""
    seen: FloatArray = field(init=False)
    """[lead]: how many residuals there were, ever."""
    growth: float = 1.0
    """Weight of a residual of now."""

    def __post_init__(self) -> None:
        leads = len(LEADS_S)
        self.mass = _initial_mass(self.experts)
        self.total = np.full(leads, PRIOR_WEIGHT)
        self.loss = np.full((leads, self.experts), PRIOR_WEIGHT * PRIOR_SCALE)
        self.seen = np.zeros(leads)

    def age(self, elapsed_s: float) -> None:
        """Let time pass: what comes later weighs more."""
        self.growth *= math.exp(elapsed_s / DECAY_S)
        if self.growth > RESCALE_AT:
            self.mass /= self.growth
            self.total /= self.growth
            self.loss /= self.growth
            self.growth = 1.0

    def add(self, residuals: FloatArray, valid: BoolArray) -> None:
        """Add one residual for each expert at the leads that are valid.

        Args:
            residuals: [lead, expert], in square-root space; anything where not valid.
            valid: [lead]: whether a forecast was made that long ago.
        """
        if not valid.all():
            if not valid.any():
                return
            weight = np.where(valid, self.growth, 0.0)
            residuals = np.where(valid[:, None], residuals, 0.0)
        else:
            weight = np.full(len(valid), self.growth)
        clipped = np.clip(residuals, ATOMS[0], ATOMS[-1])
        # Each residual is split between its two neighbours so that the mean stays exact.
        left = np.searchsorted(ATOMS, clipped, side="right") - 1
        np.minimum(left, BINS - 2, out=left)
        share = (clipped - ATOMS[left]) / (ATOMS[left + 1] - ATOMS[left])
        share *= weight[:, None]
        flat = self.mass.reshape(-1)
        place = left + np.arange(0, flat.size, BINS).reshape(left.shape)
        flat[place + 1] += share
        np.subtract(weight[:, None], share, out=share)
        flat[place] += share
        self.loss += np.abs(residuals) * weight[:, None]
        self.total += weight
        self.seen += valid

    def weights(self) -> FloatArray:
        """Weigh the experts by their own losses, per group of leads: [lead, expert], sum 1."""
        grouped: list[list[float]] = (
            self.loss.reshape(GROUPS, -1, self.experts).sum(axis=1).tolist()
        )
        rows: list[list[float]] = []
        for losses in grouped:
            best = min(losses)
            raw = [math.exp(-SHARPNESS * (loss / best - 1.0)) for loss in losses]
            total = sum(raw)
            rows.append([value / total for value in raw])
        return np.repeat(np.array(rows), len(LEADS_S) // GROUPS, axis=0)

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "mass": plain_floats(self.mass),
            "total": plain_floats(self.total),
            "loss": plain_floats(self.loss),
            "seen": plain_floats(self.seen),
            "growth": self.growth,
        }

    @classmethod
    def from_builtins(cls, value: Plain, *, experts: int) -> Residuals:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        residuals = cls(experts=experts)
        residuals.mass = read_floats(record["mass"]).reshape(residuals.mass.shape)
        residuals.total = read_floats(record["total"])
        residuals.loss = read_floats(record["loss"]).reshape(residuals.loss.shape)
        residuals.seen = read_floats(record["seen"])
        residuals.growth = read_float(record["growth"])
        return residuals
