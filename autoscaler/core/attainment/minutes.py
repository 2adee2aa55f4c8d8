"""Misses of a minute: those of first tokens, of paces, and what was aborted or lost, added up.

No page says how many requests had both their first token in time and their pace. Misses that are added
up count a request twice that missed both; where a fleet is overrun, nearly all that miss one miss the
other too. But no more are missed than there are: so they are added up minute by minute, and no minute
has more misses than requests. (In the replay, bursts on a fleet that may not grow: 64 to 66 % told where
67 to 70 % were attained, 35 to 45 % if added up over the hour; see
`tests/simulations/replay/test_attainment.py`.) A minute, because the first token and the last of a request
lie some seconds apart: over shorter times those two misses fall into two of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.attainment.progress import SUMS
from autoscaler.core.contract.state import FloatArray

WINDOW_SUMS = (*SUMS, "missed", "missed_most")
"""Of a window: SUMS, and the misses of its whole minutes: as requests are taken to lie between bounds, and
if all that lie between the bounds around an objective missed it."""
_MINUTE_S = 60.0


@dataclass(slots=True, kw_only=True)
class MinuteMemory:
    """The minute that is not over. Part of the engine's memory."""

    number: int = -1
    """Counted from the epoch; -1: none yet."""
    sums: FloatArray = field(default_factory=lambda: np.zeros(len(SUMS)))


def take(memory: MinuteMemory, *, at: float, sums: FloatArray) -> list[tuple[float, FloatArray]]:
    """Take in what came, and return what to add to the windows: (when, WINDOW_SUMS).

    The misses of a minute that is over now are of that minute, however long ago it was.
    """
    number = math.floor(at / _MINUTE_S)
    came = np.zeros(len(WINDOW_SUMS))
    came[: len(SUMS)] = sums
    adds = [(at, came)]
    if number > memory.number:
        if memory.number >= 0:
            over = np.zeros(len(WINDOW_SUMS))
            over[len(SUMS) :] = misses(memory)
            adds.insert(0, (memory.number * _MINUTE_S, over))
        memory.number = number
        memory.sums = np.zeros(len(SUMS))
    memory.sums += sums
    return adds


def misses(memory: MinuteMemory) -> tuple[float, float]:
    """Return the misses of the minute so far, and at the most."""
    (
        first_tokens,
        ttft_low,
        ttft_within,
        _,
        paced,
        tpot_low,
        tpot_within,
        _,
        ended,
        failed,
    ) = memory.sums.tolist()
    requests = max(first_tokens, ended)
    about = first_tokens - ttft_within + paced - tpot_within + failed
    most = first_tokens - ttft_low + paced - tpot_low + failed
    # What is interpolated is rounded: none is not a little less than none.
    return max(0.0, min(requests, about)), max(0.0, min(requests, most))
