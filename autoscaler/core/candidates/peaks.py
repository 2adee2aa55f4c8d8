"""The highest loads of the windows that rules look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from autoscaler.core.candidates.rules import MEANS_S, PEAKS, window_steps
from autoscaler.core.contract.state import BoolArray, FloatArray, IntArray
from autoscaler.core.tuning import TUNING

FINE = 160
"""Steps that are kept one by one: forty minutes."""
BLOCK = 20
"""Of those before only the highest of so many is kept: of five minutes."""
BLOCKS = 144
"""So many: twelve hours."""
START_STEPS_MAX = 120
"""The longest cold start that is told apart: half an hour."""
_MEAN_STEPS = tuple(max(1, round(mean_s / TUNING.play_s)) for mean_s in MEANS_S)


@dataclass(slots=True, kw_only=True)
class PeakMemory:
    """The loads of one model. Part of the engine's memory."""

    steps: int = 0
    """Taken in so far."""
    loads: FloatArray = field(default_factory=lambda: np.zeros(max(_MEAN_STEPS)))
    """The last ones, newest first."""
    fine: FloatArray = field(default_factory=lambda: np.zeros((len(MEANS_S), FINE)))
    """[mean, step]: newest first."""
    coarse: FloatArray = field(default_factory=lambda: np.zeros((len(MEANS_S), BLOCKS)))
    """[mean, block]: the highest of each block, first of the one that is not full yet."""
    peaks: FloatArray = field(default_factory=lambda: np.zeros((PEAKS, START_STEPS_MAX)))
    """[peak, step]: newest first."""

    def add(self, load: float, *, cold_start_s: float) -> None:
        """Take in the mean load of one step, in replicas."""
        self.steps += 1
        loads, fine, coarse = self.loads, self.fine, self.coarse
        loads[1:] = loads[:-1]
        loads[0] = load
        fine[:, 1:] = fine[:, :-1]
        for row, steps in enumerate(_MEAN_STEPS):
            known = min(steps, self.steps)
            fine[row, 0] = np.add.reduce(loads[:known]) / known
        if self.steps % BLOCK == 1:
            coarse[:, 1:] = coarse[:, :-1]
            coarse[:, 0] = 0.0
        np.maximum(coarse[:, 0], fine[:, 0], out=coarse[:, 0])
        self.peaks[:, 1:] = self.peaks[:, :-1]
        self.peaks[:, 0] = self._highest(cold_start_s)

    def put_before(
        self,
        *,
        fine: FloatArray,
        coarse: FloatArray,
        steps: int,
        passed_steps: int,
        cold_start_s: float,
    ) -> None:
        """Put loads of before behind those that were taken in since.

        Nobody knows what was between: for so long it is held to have stayed, so that no window forgets what it would not
        have forgotten; where that is longer than steps are kept one by one, nothing is held of it.

        Args:
            fine: [mean, step]: newest first, as they were.
            coarse: [mean, block]: likewise.
            steps: that were taken in then.
            passed_steps: since then, those that were taken in since among them.
            cold_start_s: as of `add`.
        """
        own = min(self.steps, passed_steps, FINE)
        behind = min(max(passed_steps, own), FINE)
        stayed = fine[:, :1] if passed_steps < FINE else np.zeros((len(MEANS_S), 1))
        between = np.repeat(stayed, behind - own, axis=1)
        self.fine = np.concatenate([self.fine[:, :own], between, fine], axis=1)[:, :FINE].copy()
        blocks = min(passed_steps // BLOCK, BLOCKS)
        moved = np.concatenate([np.repeat(stayed, blocks, axis=1), coarse], axis=1)[:, :BLOCKS]
        self.coarse = np.maximum(self.coarse, moved)
        self.loads[self.steps :] = fine[0, 0]
        self.steps += max(steps, *_MEAN_STEPS)
        self.peaks[:] = self._highest(cold_start_s)[:, None]

    def _highest(self, cold_start_s: float) -> FloatArray:
        """Return [peak]: the highest load of each window."""
        is_fine, in_steps, in_blocks = _windows(cold_start_s)
        highest: FloatArray = np.where(
            is_fine,
            np.maximum.accumulate(self.fine, axis=1).take(in_steps, axis=1),
            np.maximum.accumulate(self.coarse, axis=1).take(in_blocks, axis=1),
        ).reshape(PEAKS)
        return highest

    @property
    def now(self) -> float:
        """The load of now, averaged over the shorter of MEANS_S."""
        return float(self.fine[0, 0])

    @property
    def asked(self) -> FloatArray:
        """[peak]: what replicas are asked for."""
        return self.peaks[:, 0]

    @property
    def asked_before(self) -> FloatArray:
        """[peak]: what they were asked for one step ago."""
        return self.peaks[:, min(1, self.steps - 1)]

    def ready(self, cold_start_s: float) -> FloatArray:
        """Return [peak]: what there are ready replicas for.

        A rule's replica is ready when it has been asked for without a break for one cold start, for what is
        given up is what was asked for last. So it is the lowest that the peak was since then.
        """
        span = min(START_STEPS_MAX, self.steps, max(1, round(cold_start_s / TUNING.play_s)))
        lowest: FloatArray = np.minimum.reduce(self.peaks[:, :span], axis=1)
        return lowest


@lru_cache(maxsize=256)
def _windows(cold_start_s: float) -> tuple[BoolArray, IntArray, IntArray]:
    """Return of each window whether steps tell it, and the last step and the last block that lie in it.

    Kept: cold starts are learnt slowly. It changes no result.
    """
    spans = window_steps(cold_start_s)
    in_steps = np.minimum(spans, FINE) - 1
    in_blocks = np.minimum((spans + BLOCK - 1) // BLOCK, BLOCKS) - 1
    return spans <= FINE, in_steps, in_blocks
