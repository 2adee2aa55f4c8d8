"""GPUs that no pod holds and that are well, given out to starts that have no node yet.

The scheduler binds what fits within seconds; what it cannot bind it marks unschedulable only after
it has tried. Until then the exporter knows better: a start beyond the free GPUs of the nodes that
its pool can use is not counted on. Where one of those nodes does not say, nothing is known, and
nothing is capped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.state import CapacityType, NodeColumns
from autoscaler.core.supply.doomed import Doom


@dataclass(slots=True, kw_only=True)
class FreeGpus:
    """The account of one observation; models draw from it in their order."""

    nodes: NodeColumns
    doom: Doom | None
    left: list[float] | None = field(default=None, init=False)
    """By node row; NaN: unknown. None: nobody has asked yet."""
    usable: list[bool] = field(default_factory=list, init=False)

    def cover(self, starts: int, *, capacity_type: CapacityType, gpus_per_replica: int) -> int:
        """Take the GPUs of as many of `starts` as are free and return how many that was.

        All of them where it is not known, or where a replica asks for none.
        """
        if gpus_per_replica <= 0 or starts <= 0:
            return starts
        left = self._open()
        rows = [
            row
            for row, usable in enumerate(self.usable)
            if usable
            and (
                capacity_type is CapacityType.MIXED
                or self.nodes.capacity_type[row] is None
                or self.nodes.capacity_type[row] is capacity_type
            )
        ]
        if not rows or any(np.isnan(left[row]) for row in rows):
            return starts
        covered = 0
        for row in rows:
            fits = min(int(left[row]) // gpus_per_replica, starts - covered)
            left[row] -= fits * gpus_per_replica
            covered += fits
        return covered

    def _open(self) -> list[float]:
        if self.left is None:
            nodes = self.nodes
            usable = nodes.exists & nodes.ready & ~nodes.unschedulable
            if self.doom is not None:
                usable &= ~self.doom.doomed[:-1]
            self.usable = usable.tolist()
            self.left = nodes.gpus_free.tolist()
        return self.left
