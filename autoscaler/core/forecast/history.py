"""The recent past of one series, on a grid of time.

Ticks come nearly regularly; the grid makes them exactly so, and every look back an index instead of
a search. A slot without a value is unknown, and no mean takes it for zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscaler.core.contract.state import FloatOrNaN

SLOT_S = 5.0
"""Width of a slot: the default tick."""
SLOTS = 320
"""Kept slots: the longest lead (1,200 s), and a batch of residuals that wait."""
BRIDGED_SLOTS = 3
"""A gap this short is a late tick, and the new value fills it; a longer one is unknown."""

_AGREEING_SLOTS = 60
_AGREEING_REPLICAS, _AGREEING_RATIO = 0.25, 0.25
"""Half of two replicas is not two, as where half of the pods were scraped; three may be four."""


@dataclass(slots=True, kw_only=True)
class History:
    """A ring of slots, with running sums over the spans whose means are asked for.

    Part of the engine's memory.
    """

    anchor_at: float | None = None
    """The first moment: the middle of slot 0, so that a tick's jitter does not cross a boundary."""
    slot: int = -1
    """The newest slot; -1: none yet."""
    since: int = 0
    """The first slot of those up to the newest one that all hold a value."""
    values: list[FloatOrNaN] = field(default_factory=lambda: [math.nan] * SLOTS)
    """NaN: unknown."""
    sums: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By span in slots: the slot for which it was last summed, and the sum. Only of spans without a
    gap; summed anew once a ring, so that rounding does not accumulate."""

    def record(self, at: float, value: float) -> int:
        """Put `value` into the slot of `at`; return how many slots are new (0: the same one)."""
        slot = self.slot_of(at)
        if self.anchor_at is None:
            self.anchor_at = at
        opened = slot - self.slot
        values = self.values
        if opened == 0:
            self.sums.clear()
        elif opened > 1:
            bridged = opened - 1 <= BRIDGED_SLOTS and self.slot >= 0
            for skipped in range(slot - min(opened, SLOTS) + 1, slot):
                values[skipped % SLOTS] = value if bridged else math.nan
            self.sums.clear()
            if not bridged:
                self.since = slot
        values[slot % SLOTS] = value
        self.slot = slot
        return opened

    def slot_of(self, at: float) -> int:
        """Return the slot of a moment, never one before the newest."""
        if self.anchor_at is None:
            return 0
        return max(self.slot, math.floor((at - self.anchor_at) / SLOT_S + 0.5))

    def mean_until(self, slot: int, slots: int) -> float:
        """Mean of the known values of `slots` slots up to one that is known, of the last SLOTS."""
        if slots == 1:
            return self.values[slot % SLOTS]
        window = self._window(slot, slots)
        total = math.fsum(window)
        if not math.isnan(total):
            return total / slots
        known = [value for value in window if not math.isnan(value)]
        return math.fsum(known) / len(known)

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[self.slot % SLOTS]

    def mean(self, slots: int) -> float:
        """Mean of the known values of the last `slots` slots; there is at least the newest one."""
        slot = self.slot
        if slot - self.since + 1 < slots:
            known = [v for v in self.recent(min(slots, slot + 1)) if not math.isnan(v)]
            return math.fsum(known) / len(known)
        at, total = self.sums.get(slots, (-1, 0.0))
        if at == slot - 1 and slot % SLOTS and slot - self.since >= slots:
            total += self.values[slot % SLOTS] - self.values[(slot - slots) % SLOTS]
        elif at != slot:
            total = math.fsum(self.recent(slots))
        self.sums[slots] = slot, total
        return max(total, 0.0) / slots

    def agrees_with(self, value: float) -> bool:
        """Tell whether a value could be of the same series: not off by much from the last five minutes that are known."""
        known = [each for each in self.recent(SLOTS) if not math.isnan(each)][-_AGREEING_SLOTS:]
        if not known:
            return False
        mean = math.fsum(known) / len(known)
        return abs(value - mean) <= _AGREEING_REPLICAS + _AGREEING_RATIO * max(value, mean)

    def recent(self, slots: int) -> list[float]:
        """Return the last `slots` values, at most SLOTS, oldest first; NaN where unknown."""
        return self._window(self.slot, slots)

    def _window(self, slot: int, slots: int) -> list[float]:
        end = slot % SLOTS + 1
        begin = end - slots
        values = self.values
        return values[begin:end] if begin >= 0 else values[begin:] + values[:end]

    def stays_below(self, value: float, *, slots: int) -> bool:
        """Tell whether the last `slots` slots are all known, and all below `value`."""
        if self.last >= value or self.slot - self.since + 1 < slots:
            return False
        return max(self.recent(slots)) < value
