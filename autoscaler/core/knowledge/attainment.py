"""Of knowledge: the error budgets of an hour, a day and thirty days."""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.attainment.minutes import WINDOW_SUMS
from autoscaler.core.attainment.windows import SLOTS, SPANS_S, add_seen_before
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.knowledge.packing import GarbledError, Notches, Packer, Unpacker
from autoscaler.core.knowledge.part import Given, Grain
from autoscaler.core.memory import ModelMemory

_REQUESTS: tuple[Notches, Notches] = ({"ratio": 1e7, "count": 2_000}, {"ratio": 1e5, "count": 250})
"""Less than a per cent apart; roughly, less than five."""
LAYOUT = (SPANS_S, SLOTS, WINDOW_SUMS)
_LATENCIES = (0, 4)
"""Of the sums: where requests stand, and behind them how many were within the objective surely, about and perhaps."""


def pack_budgets(memory: ModelMemory, grain: Grain) -> bytes | None:
    """Write what came and what was missed, by window and slot."""
    now = memory.attainment.windows
    if not now.slots.any():
        return None
    packer = Packer()
    packer.counts(grain)
    packer.moments(*(None if number < 0 else float(number) for number in now.numbers))
    for window in range(len(SPANS_S)):
        packer.notches(_outside(now.slots[window]), **_REQUESTS[grain])
    return packer.packed()


def put_back_budgets(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Add them to what came since."""
    unpacker = Unpacker(packed)
    (grain,) = unpacker.counts(1, most=1)
    numbers = unpacker.moments(len(SPANS_S), until=math.inf)
    slots = np.stack(
        [_within(unpacker.notches((SLOTS, len(WINDOW_SUMS)), **_REQUESTS[grain])) for _ in SPANS_S]
    )
    unpacker.end()
    now = [given.at * (SLOTS - 1) / span_s for span_s in SPANS_S]
    if any(
        each is not None and not 0.0 <= each <= most
        for each, most in zip(numbers, now, strict=True)
    ):
        raise GarbledError("requests of a time that lies ahead")
    attainment = memory.attainment
    if attainment.objective is None:
        attainment.objective = given.spec.objective
    add_seen_before(
        attainment.windows,
        numbers=[-1 if each is None else math.floor(each) for each in numbers],
        slots=slots,
    )
    return ""


def _outside(slots: FloatArray) -> FloatArray:
    """Say of each latency how many were outside of each bound, not within: few, and told as exactly as many."""
    told = slots.copy()
    for first in _LATENCIES:
        all_of_them, surely, about, perhaps = slots.T[first : first + 4]
        told[:, first + 1] = all_of_them - surely
        told[:, first + 2] = all_of_them - about
        told[:, first + 3] = all_of_them - perhaps
    return np.maximum(told, 0.0)


def _within(told: FloatArray) -> FloatArray:
    """Undo it: none is more than all."""
    slots = told.copy()
    for first in _LATENCIES:
        for place in range(first + 1, first + 4):
            slots[:, place] = np.maximum(told[:, first] - told[:, place], 0.0)
    return slots
