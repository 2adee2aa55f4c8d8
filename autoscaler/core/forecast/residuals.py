"""Decayed histograms of forecast residuals, one for each lead and expert. Pure: no I/O, no clock.

Residuals are taken in square-root space, `2 * (sqrt(d + 0.3) - sqrt(level + 0.3))`: there the
spread of demand is nearly the same at night and at the peak, so one histogram serves both. Leads
are a fixed grid of seconds, for the steps of the rule change as the cold start is learnt.

New residuals wait in a batch, because what follows from the histograms (`Mixture`) costs more than
a tick may, and changes little from one tick to the next once there are hundreds of residuals.

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
    read_int,
    read_record,
)
from autoscaler.core.state import FloatArray

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
IDLE_PRIOR_WEIGHT = 360.0
"""The same of an idle model: as if it had been idle for half an hour. Idle ticks before one onset
are alike, so they do not tell how often one comes: a single one must not look like a habit."""
SHARPNESS = 10.0
"""Of the experts' weights: `exp(-10 * (loss / best - 1))`."""
RESCALE_AT = 1e9
"""New residuals weigh more instead of old ones less; at this growth all are scaled back."""
BATCH = 24
"""Most residuals taken in at once: two minutes of ticks."""
BATCH_RATIO = 0.1
"""A batch is no more than a tenth of what is known."""


def _half_atoms() -> FloatArray:
    """Return the places that hold a histogram's mass, halved: so they add to a level's root.

    Residuals are fine around zero and geometric outwards: from 0.1 (a fifth of a replica at a level
    of three) to 24 (from none to 160 replicas).
    """
    outward = [0.05 * (math.pow(1.115, i) - 1.0) / 0.115 for i in range(1, 32)]
    return np.array([-a for a in reversed(outward)] + [0.0] + outward, dtype=np.float64)


HALF_ATOMS = _half_atoms()
BINS = len(HALF_ATOMS)


def root(demand: float) -> float:
    """Carry a demand into square-root space (half the scale of a residual)."""
    return math.sqrt(demand + SHIFT)


def _prior() -> FloatArray:
    """Return the Laplace prior on the atoms: each one's share lies between its neighbours' middles."""

    def below(x: float) -> float:
        if x < 0.0:
            return 0.5 * math.exp(x / PRIOR_SCALE)
        return 1.0 - 0.5 * math.exp(-x / PRIOR_SCALE)

    places = [2.0 * float(half) for half in HALF_ATOMS]
    edges = [0.5 * (a + b) for a, b in pairwise(places)]
    reached = [0.0, *(below(edge) for edge in edges), 1.0]
    return np.array([b - a for a, b in pairwise(reached)], dtype=np.float64)


PRIOR = _prior()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What follows from the histograms and the experts' weights, until the next batch."""

    mass: FloatArray
    """[lead, expert * BINS]: probability of each atom of each expert; a lead's sum is 1."""
    tails: tuple[FloatArray, FloatArray, FloatArray]
    """[lead, expert * (BINS + 1)]: sums over this atom and those above of the probability, of it
    times the atom (halved), and of it times the atom (halved) squared."""


@dataclass(slots=True, kw_only=True)
class Residuals:
    """Histograms and losses of `experts` experts at all leads. Part of the engine's memory."""

    experts: int
    prior_weight: float = PRIOR_WEIGHT
    mass: FloatArray = field(init=False)
    """[lead, expert, atom]; in units of `growth`."""
    total: FloatArray = field(init=False)
    """[lead]: the mass of each of its experts' histograms (all get as many residuals)."""
    loss: FloatArray = field(init=False)
    """[lead, expert]: decayed sum of absolute residuals."""
    seen: FloatArray = field(init=False)
    """[lead]: how many residuals were taken in, ever."""
    growth: float = 1.0
    """Weight of a residual of now."""
    batch: FloatArray = field(init=False)
    """[BATCH, lead, expert]: residuals (halved) that wait; NaN: no forecast was made for it."""
    batched: int = 0
    """How many wait."""
    waited_s: float = 0.0
    """The time they span."""
    mixture: Mixture = field(init=False)

    def __post_init__(self) -> None:
        leads = len(LEADS_S)
        self.mass = np.tile(self.prior_weight * PRIOR, (leads, self.experts, 1))
        self.total = np.full(leads, self.prior_weight)
        self.loss = np.full((leads, self.experts), PRIOR_WEIGHT * PRIOR_SCALE)
        self.seen = np.zeros(leads)
        self.batch = np.full((BATCH, leads, self.experts), np.nan)
        self.mixture = self._mix()

    def add(self, halves: FloatArray, *, elapsed_s: float) -> None:
        """Add one residual for each lead and expert.

        Args:
            halves: [lead, expert], differences of roots (half a residual); NaN where no forecast
                was made that long ago (then for all experts of that lead).
            elapsed_s: since the last ones.
        """
        self.batch[self.batched] = halves
        self.batched += 1
        self.waited_s += elapsed_s
        if self.batched == BATCH or self.batched >= BATCH_RATIO * self.seen[0]:
            self._take_in()

    def _take_in(self) -> None:
        """Take the waiting residuals into the histograms."""
        self._age(self.waited_s)
        halves = self.batch[: self.batched]
        valid = ~np.isnan(halves)
        weight = np.where(valid, self.growth, 0.0)
        halves = np.where(valid, halves, 0.0)
        clipped = np.clip(halves, HALF_ATOMS[0], HALF_ATOMS[-1])
        # Each residual is split between its two neighbours so that the mean stays exact.
        left = np.minimum(np.searchsorted(HALF_ATOMS, clipped, side="right") - 1, BINS - 2)
        share = (clipped - HALF_ATOMS[left]) / (HALF_ATOMS[left + 1] - HALF_ATOMS[left])
        share *= weight
        place = left + np.arange(0, self.mass.size, BINS).reshape(1, *self.loss.shape)
        places = np.concatenate([place.reshape(-1), place.reshape(-1) + 1])
        shares = np.concatenate([(weight - share).reshape(-1), share.reshape(-1)])
        self.mass += np.bincount(places, shares, minlength=self.mass.size).reshape(self.mass.shape)
        self.loss += np.add.reduce(2.0 * np.abs(halves) * weight, axis=0)
        self.total += np.add.reduce(weight[:, :, 0], axis=0)
        self.seen += np.add.reduce(valid[:, :, 0], axis=0)
        self.batched = 0
        self.waited_s = 0.0
        self.mixture = self._mix()

    def _age(self, elapsed_s: float) -> None:
        """Let time pass: what comes later weighs more."""
        self.growth *= math.exp(elapsed_s / DECAY_S)
        if self.growth > RESCALE_AT:
            self.mass /= self.growth
            self.total /= self.growth
            self.loss /= self.growth
            self.growth = 1.0

    def weights(self) -> FloatArray:
        """Weigh the experts by their own losses, per group of leads: [lead, expert], sum 1."""
        grouped = self.loss.reshape(GROUPS, -1, self.experts)
        losses_by_group: list[list[float]] = np.add.reduce(grouped, axis=1).tolist()
        rows: list[list[float]] = []
        for losses in losses_by_group:
            best = min(losses)
            raw = [math.exp(-SHARPNESS * (loss / best - 1.0)) for loss in losses]
            total = sum(raw)
            rows.append([value / total for value in raw])
        return np.repeat(np.array(rows), len(LEADS_S) // GROUPS, axis=0)

    def _mix(self) -> Mixture:
        leads, experts, _ = self.mass.shape
        mass = self.mass * (self.weights() / self.total[:, None])[:, :, None]
        tails = np.zeros((3, leads, experts, BINS + 1))
        moment = mass
        for tail in tails:
            np.add.accumulate(moment[..., ::-1], axis=-1, out=tail[..., BINS - 1 :: -1])
            moment = moment * HALF_ATOMS
        flat = tails.reshape(3, leads, -1)
        return Mixture(mass=mass.reshape(leads, -1), tails=(flat[0], flat[1], flat[2]))

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "mass": plain_floats(self.mass),
            "total": plain_floats(self.total),
            "loss": plain_floats(self.loss),
            "seen": plain_floats(self.seen),
            "growth": self.growth,
            "batch": plain_floats(self.batch[: self.batched]),
            "batched": self.batched,
            "waited_s": self.waited_s,
        }

    def restore(self, value: Plain) -> None:
        """Read back what `to_builtins` wrote, of as many experts."""
        record = read_record(value)
        self.mass = read_floats(record["mass"]).reshape(self.mass.shape)
        self.total = read_floats(record["total"])
        self.loss = read_floats(record["loss"]).reshape(self.loss.shape)
        self.seen = read_floats(record["seen"])
        self.growth = read_float(record["growth"])
        self.batched = read_int(record["batched"])
        self.waited_s = read_float(record["waited_s"])
        waiting = self.batch[: self.batched]
        waiting[...] = read_floats(record["batch"]).reshape(waiting.shape)
        self.mixture = self._mix()
