"""The recent past of one series, on a grid of time. Pure: no I/O, no clock; time is an argument.

Ticks come nearly regularly; the grid makes them exactly so, and every look back an index instead of
a search. A slot without a value is unknown, and no mean takes it for zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.plain import (
    Plain,
    plain_float,
    plain_floats,
    read_floats,
    read_int,
    read_optional_float,
    read_record,
)
from autoscaler.core.state import FloatArray

SLOT_S = 5.0
"""Width of a slot: the default tick."""
SLOTS = 256
"""Kept slots: more than the longest lead (1,200 s) and the longest mean (900 s) look back."""
BRIDGED_SLOTS = 3
"""A gap this short is a late tick, and the new value fills it; a longer one is unknown."""


def _empty() -> FloatArray:
    return np.full(2 * SLOTS, np.nan)


@dataclass(slots=True, kw_only=True)
class History:
    """A ring of slots, written twice so that any look back is one slice. Part of the memory."""

    anchor_at: float | None = None
    """The first moment: the middle of slot 0, so that a tick's jitter does not cross a boundary."""
    slot: int = -1
    """The newest slot; -1: none yet."""
    known: int = 0
    """How many slots up to the newest one hold a value without a gap, at most SLOTS."""
    values: FloatArray = field(default_factory=_empty)

    def record(self, at: float, value: float) -> int:
        """Put `value` into the slot of `at`; return how many slots are new (0: the same one)."""
        if self.anchor_at is None:
            self.anchor_at = at
        slot = max(self.slot, math.floor((at - self.anchor_at) / SLOT_S + 0.5))
        opened = slot - self.slot
        if opened - 1 > BRIDGED_SLOTS and self.slot >= 0:
            self._write(slot - min(opened, SLOTS) + 1, slot - 1, math.nan)
            self._write(slot, slot, value)
            self.known = 1
        else:
            self._write(slot - max(opened, 1) + 1, slot, value)
            self.known = min(self.known + opened, SLOTS)
        self.slot = slot
        return opened

    def _write(self, first: int, last: int, value: float) -> None:
        for slot in range(first, last + 1):
            place = slot % SLOTS
            self.values[place] = value
            self.values[place + SLOTS] = value

    @property
    def last(self) -> float:
        """The newest value."""
        return float(self.values[self.slot % SLOTS])

    def stays_below(self, value: float, *, slots: int) -> bool:
        """Tell whether the last `slots` slots are all known, and all below `value`."""
        if self.known < slots:
            return False
        end = self.slot % SLOTS + SLOTS + 1
        return bool(np.maximum.reduce(self.values[end - slots : end]) < value)

    def mean(self, slots: int) -> float:
        """Mean of the known values of the last `slots` slots; there is at least the newest one."""
        end = self.slot % SLOTS + SLOTS + 1
        if self.known >= slots:
            return float(np.add.reduce(self.values[end - slots : end])) / slots
        recent = self.values[end - min(slots, self.slot + 1, SLOTS) : end]
        recent = recent[~np.isnan(recent)]
        return float(np.add.reduce(recent)) / len(recent)

    def to_builtins(self) -> Plain:
        """Write for a checkpoint."""
        return {
            "anchor_at": plain_float(self.anchor_at),
            "slot": self.slot,
            "known": self.known,
            "values": plain_floats(self.values[:SLOTS]),
        }

    @classmethod
    def from_builtins(cls, value: Plain) -> History:
        """Read back what `to_builtins` wrote."""
        record = read_record(value)
        values = read_floats(record["values"])
        return cls(
            anchor_at=read_optional_float(record["anchor_at"]),
            slot=read_int(record["slot"]),
            known=read_int(record["known"]),
            values=np.concatenate([values, values]),
        )
