"""The speed of this machine, to compare figures between machines: the time of a fixed piece of Python."""

from __future__ import annotations

import time

TURNS = 5
STEPS = 20_000


def reference_turn_s() -> float:
    """CPU seconds of a thousand steps of plain Python, the fastest of a few turns.

    On a machine that is twice as fast, or half as busy, this and the measured times are half as long:
    their ratio can be compared.
    """
    return min(_turn_s() for _ in range(TURNS)) * 1000 / STEPS


def _turn_s() -> float:
    began = time.process_time()
    seen: dict[int, float] = {}
    for step in range(STEPS):
        seen[step % 97] = seen.get(step % 89, 0.0) + step / 7
    assert len(seen) == 97
    return time.process_time() - began
