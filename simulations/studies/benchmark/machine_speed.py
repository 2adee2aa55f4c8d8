"""A piece of work that is always the same: what a machine's figures are divided by to compare them."""

from __future__ import annotations

import time

TURNS = 5
STEPS = 20_000


def reference_turn_s() -> float:
    """CPU seconds of a thousand steps of plain Python, the fastest of a few turns.

    A machine that is twice as fast, or half as busy, halves this and what it is a yardstick for.
    """
    return min(_turn_s() for _ in range(TURNS)) * 1000 / STEPS


def _turn_s() -> float:
    began = time.process_time()
    seen: dict[int, float] = {}
    for step in range(STEPS):
        seen[step % 97] = seen.get(step % 89, 0.0) + step / 7
    assert len(seen) == 97
    return time.process_time() - began
