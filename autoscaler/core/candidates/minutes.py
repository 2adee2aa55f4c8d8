"""Rules played on minutes that were before the first observation.

Of what was missed then nothing is known, so what a replica carries is not learnt from them: what was told stands.
"""

from __future__ import annotations

import math
from collections.abc import Generator

from autoscaler.core.candidates.play import (
    CandidatesMemory,
    Limits,
    StepTotals,
    TickTraffic,
    play,
)
from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.tuning import TUNING


def play_minutes(
    memory: CandidatesMemory,
    *,
    rows: HistoryColumns,
    offered_replicas: FloatArray,
    service_s: float | None,
    limits: Limits,
) -> Generator[None, None, None]:
    """Play the last day of a history, or what there is of it; yields after each of its rows.

    It is played by itself, for ticks may have been seen since it ended, and takes the place of what they played
    where that is less.

    Args:
        memory: of the model; changed.
        rows: in order of time, each moment once, NaN where unknown.
        offered_replicas: [row]: the load, NaN where unknown.
        service_s: how long a request takes; None: not known, and nothing is played.
        limits: what rules are held to.
    """
    if service_s is None or not len(rows):
        return
    steps = max(1, round(rows.span_s / TUNING.play_s))
    first = max(0, len(rows) - math.ceil(TUNING.played_half_life_s / rows.span_s))
    columns = (rows.at, rows.arrivals_per_s, offered_replicas, rows.replicas)
    past = CandidatesMemory()
    for at, rate, load, replicas in zip(
        *(column[first:].tolist() for column in columns), strict=True
    ):
        seen = None
        if not math.isnan(rate + load):
            seen = TickTraffic(
                arrivals_per_s=rate,
                load=load,
                ready=math.ceil(load) + 1 if math.isnan(replicas) else round(replicas),
                service_s=service_s,
                missed=0.0,
                judged=0.0,
            )
        for step in range(1 - steps, 1):
            play(past, at=at + step * rows.span_s / steps, seen=seen, limits=limits)
        yield
    if past.played_s > memory.played_s:
        memory.step = StepTotals()
        memory.peaks, memory.fleets, memory.choice = past.peaks, past.fleets, past.choice
        memory.played_s = past.played_s
