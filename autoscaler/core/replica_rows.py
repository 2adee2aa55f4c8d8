"""Which replicas of this look were there at the last one, and which have begun since.

Whoever keeps columns from one look to the next brings them into the order of the new one by this.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import (
    CREATION_RESOLUTION_S,
    BoolArray,
    FloatArray,
    IntArray,
    ReplicaColumns,
)

WATCH_LAG_S = 60.0
"""A pod created longer ago than this that appears only now is not new: our view had a gap."""


class RowsBefore(NamedTuple):
    """Of each replica of this look."""

    rows: IntArray
    """Its row at the last look; of one that is not `kept`, any."""
    kept: BoolArray
    """It was there."""
    begun: BoolArray
    """It was not, and cannot have served before: its counters began at zero."""

    def carried(self, columns: FloatArray) -> FloatArray:
        """Bring columns, [any, replica], into this order; of those that were not there all is unknown."""
        moved = np.full((len(columns), len(self.rows)), np.nan)
        moved[:, self.kept] = columns[:, self.rows[self.kept]]
        return moved


def find_rows(
    names: tuple[str, ...],
    created_at: FloatArray,
    *,
    replicas: ReplicaColumns,
    last_look: float | None,
) -> RowsBefore | None:
    """Find each replica's row at the last look; None: all of them are as they were.

    One that cannot have served before began at zero: if it is ready already, it must have been
    created since the last look; if it is not, it may be somewhat older, because the watch lags. Of
    any other nothing is known. One of the same name that was created anew (a StatefulSet's) is
    another replica.

    Args:
        names: at the last look.
        created_at: of these.
        replicas: at this look.
        last_look: when the last one was; None: there was none.
    """
    if names == replicas.name and (
        created_at is replicas.created_at
        or np.count_nonzero(created_at == replicas.created_at) == len(names)
    ):
        return None
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of.get(name, -1) for name in replicas.name], dtype=np.int64)
    kept = rows >= 0
    kept[kept] = created_at[rows[kept]] == replicas.created_at[kept]
    begun = np.zeros(len(rows), dtype=np.bool_)
    if last_look is not None:
        lag_s = np.where(replicas.ready, CREATION_RESOLUTION_S, WATCH_LAG_S)
        begun = ~kept & (replicas.created_at >= last_look - lag_s)
    return RowsBefore(rows, kept, begun)
