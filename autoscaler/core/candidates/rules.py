"""The family of rules that are played: how far back a rule looks, and how full it means its replicas to be.

Each asks for the replicas that carry the highest load of its window when they are filled to its share.
Short windows follow the load, as an HorizontalPodAutoscaler does; long ones stand still over it, as a
static fleet does. Between them lie the best settings of most autoscalers that only look back.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from autoscaler.core.tuning import TUNING

MEANS_S = (30.0, 120.0)
"""Seconds over which the load is averaged."""
COLD_STARTS = (0.5, 1.0, 2.0)
"""Windows in cold starts, then those in seconds."""
WINDOW_S_MIN = 120.0
"""However quickly replicas start: a fleet that follows each half minute is no calm one."""
WINDOWS_S = (600.0, 1200.0, 2400.0, 5400.0, 4 * 3600.0, 12 * 3600.0)
WINDOWS = len(COLD_STARTS) + len(WINDOWS_S)
SHARES = tuple(math.pow(2.0, step / 4.0) for step in range(-5, 4))
"""Of what a replica carries: 0.42 to 1.68, each 1.19 times the one before."""
SHARE: FloatArray = np.array(SHARES)


class Rule(NamedTuple):
    """One of the family."""

    mean_s: float
    """One of MEANS_S."""
    window: int
    """Index among the windows."""
    share: float
    """One of SHARES."""

    def window_s(self, cold_start_s: float) -> float:
        """Return how far back it looks, seconds."""
        if self.window < len(COLD_STARTS):
            return max(WINDOW_S_MIN, COLD_STARTS[self.window] * cold_start_s)
        return WINDOWS_S[self.window - len(COLD_STARTS)]

    @lru_cache(maxsize=256)  # noqa: B019  a rule is a value; the same two are said on every tick
    def said(self, cold_start_s: float) -> str:
        """Say it in words.

        >>> Rule(30.0, 4, 0.5).said(180.0)
        'the highest load of 20 min (means of 30 s), replicas filled to 0.50'
        """
        window_s = self.window_s(cold_start_s)
        span = f"{window_s / 60.0:.3g} min" if window_s < 5400.0 else f"{window_s / 3600.0:.3g} h"
        return (
            f"the highest load of {span} (means of {self.mean_s:.0f} s), "
            f"replicas filled to {self.share:.2f}"
        )


RULES = tuple(
    Rule(mean_s, window, share)
    for mean_s in MEANS_S
    for window in range(WINDOWS)
    for share in SHARES
)
"""All of them; a rule's place is `peak * len(SHARES) + share`."""
PEAKS = len(MEANS_S) * WINDOWS
"""Highest loads that rules look at: `mean * WINDOWS + window`."""
CAREFUL = RULES.index(Rule(MEANS_S[0], len(COLD_STARTS) + 1, SHARES[3]))
"""Twenty minutes, 0.71: what decides until enough was played to tell the rules apart."""


def window_steps(cold_start_s: float) -> IntArray:
    """Return [window]: the windows in steps of the play, at least one each."""
    seconds = [max(WINDOW_S_MIN, ratio * cold_start_s) for ratio in COLD_STARTS]
    seconds += WINDOWS_S
    return np.maximum(1, np.round(np.array(seconds) / TUNING.play_s)).astype(np.int64)
