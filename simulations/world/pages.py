"""What the replicas' pages said when they were last read: one table, no object per replica and tick.

A column is a replica, by its number in the fleet, which is never used again: it keeps what was read
last, also of a replica that is gone. A row is a gauge, or a bucket of a histogram
(`serving/histograms.py` says which).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.contract.state import FloatArray
from simulations.serving.gauges import Gauges, gauges
from simulations.serving.histograms import GAUGES, ROWS, SAMPLED_AT

FIRST_COLUMNS = 64


class ReplicaPages:
    """All that was read in a run; NaN: never."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.table: FloatArray = np.full((ROWS, FIRST_COLUMNS), np.nan)

    def expect(self, number: int) -> None:
        """Have a column for this replica."""
        columns = self.table.shape[1]
        if number >= columns:
            table = np.full((ROWS, max(number + 1, 2 * columns)), np.nan)
            table[:, :columns] = self.table
            self.table = table

    def of(self, numbers: NDArray[np.int64]) -> FloatArray:
        """The columns of these replicas, in this order: a copy, which no later reading changes."""
        found: FloatArray = self.table.take(numbers, axis=1)
        return found

    def page(self, number: int) -> Gauges | None:
        """What this replica's page said last; None: it was never read."""
        if math.isnan(self.table[SAMPLED_AT, number]):
            return None
        return gauges(self.table[GAUGES, number].tolist())

    def read_at(self, number: int) -> float:
        """When it was read, seconds; NaN: never."""
        return float(self.table[SAMPLED_AT, number])
