"""A placement: one slot for each replica that is asked for, in its pool, with the reason it is there.

Counts, and what is said about them, follow from the slots; nothing is counted beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class SlotReason(StrEnum):
    """Why a replica is asked for in a pool."""

    FALLBACK = "Fallback"
    """Promised on on-demand for interrupted spot nodes."""
    FLOOR = "Floor"
    """The warm floor, kept in its pool."""
    SERVING = "Serving"
    """One of those that are to serve."""
    STAND_IN = "StandIn"
    """On top of those that are to serve, for one of another pool that is stuck or not back yet."""
    HELD = "Held"
    """Not needed, and not given up: nothing may be scaled down, or this pool may not be."""
    HELD_DOOMED = "HeldDoomed"
    """Not needed, and not given up: the pool's ReplicaSet might keep just its doomed replicas."""


class Slot(NamedTuple):
    """One replica that is asked for."""

    reason: SlotReason
    stands_in_for: int | None = None
    """The pool whose replica it stands in for, by index; None: it stands in for none."""


FALLBACK = Slot(SlotReason.FALLBACK)
FLOOR = Slot(SlotReason.FLOOR)
SERVING = Slot(SlotReason.SERVING)
HELD = Slot(SlotReason.HELD)
HELD_DOOMED = Slot(SlotReason.HELD_DOOMED)


class Placement(NamedTuple):
    """Where replicas are asked for, and why."""

    slots: tuple[tuple[Slot, ...], ...]
    """By pool; what is given up first stands last."""
    stand_ins: int
    """Stand-ins outside the preferred pool, among the slots or still there."""
    floor_stand_ins: int
    """Stand-ins for the warm floor inside it, or those it shares with, among the slots."""
    not_back: int
    """Of the replicas that are to serve on spot, those that are not back: what a fallback may stand
    in for."""
    unplaced: int
    """Stuck replicas for which no other pool can be had."""

    @property
    def desired(self) -> tuple[int, ...]:
        """Replicas by pool, fallback included."""
        return tuple([len(slots) for slots in self.slots])

    @property
    def total(self) -> int:
        """Replicas over all pools, fallback included."""
        return sum([len(slots) for slots in self.slots])


_WHY_HELD = {
    SlotReason.HELD: "which may not be cut now: it rolls out, its promises cannot be read, or nothing may",
    SlotReason.HELD_DOOMED: "whose ReplicaSet might keep just its doomed replicas",
}


def explain_held(placement: Placement, *, pools: Sequence[str]) -> str:
    """Say which replicas are kept though they are not needed, and why.

    Args:
        placement: with replicas that are held.
        pools: names, in the order of the placement.
    """
    found = [
        f"{held} on {pool}, {why}"
        for pool, slots in zip(pools, placement.slots, strict=True)
        for reason, why in _WHY_HELD.items()
        if (held := sum([slot.reason is reason for slot in slots]))
    ]
    return f"kept, though not needed: {'; '.join(found)}"
