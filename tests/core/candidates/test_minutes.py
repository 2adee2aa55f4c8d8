"""Minutes of a history that are played: as if they had been seen, whenever they come."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.core.candidates import CandidatesMemory, play, play_minutes
from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.tuning import TUNING
from tests.core.candidates.test_play import LIMITS, SERVICE_S, traffic

HOURS = 3
LOAD = 3.0


def history(*, until: float) -> HistoryColumns:
    count = 60 * HOURS
    full = np.full(count, LOAD)
    return HistoryColumns(
        at=until - 60.0 * np.arange(count - 1, -1, -1, dtype=np.float64),
        span_s=60.0,
        arrivals_per_s=full * LIMITS.target / SERVICE_S,
        completed_per_s=full * LIMITS.target / SERVICE_S,
        running_requests=full * LIMITS.target,
        waiting_requests=np.zeros(count),
        kv_usage_replicas=np.zeros(count),
        replicas=np.full(count, 6.0),
    )


def taken(memory: CandidatesMemory, *, until: float) -> None:
    rows = history(until=until)
    loads = np.full(len(rows), LOAD)
    for _ in play_minutes(
        memory, rows=rows, offered_replicas=loads, service_s=SERVICE_S, limits=LIMITS
    ):
        pass


def test_a_history_that_comes_before_the_first_tick_is_played():
    memory = CandidatesMemory()
    taken(memory, until=1e6)
    assert memory.played_s > 0.9 * HOURS * 3600.0
    assert memory.peaks.asked.tolist() == [LOAD] * len(memory.peaks.asked)


def test_a_history_that_comes_while_ticks_are_seen_is_played_and_takes_no_tick_for_a_day():
    """It ends at the first tick, half a minute ago: what was in it is not what came since."""
    memory = CandidatesMemory()
    for tick in range(7):
        play(memory, at=1e6 + 5.0 * tick, seen=traffic(LOAD), limits=LIMITS)
    taken(memory, until=1e6)
    for tick in range(7, 20):
        played = play(memory, at=1e6 + 5.0 * tick, seen=traffic(LOAD), limits=LIMITS)
    assert memory.played_s > 0.9 * HOURS * 3600.0
    assert max(memory.peaks.asked) < 1.01 * LOAD
    assert played is not None
    assert played.replicas <= 5


@pytest.mark.slow
def test_a_history_that_comes_late_does_not_take_the_place_of_what_was_seen():
    memory = CandidatesMemory()
    ticks = round((HOURS + 1) * 720)
    for tick in range(ticks):
        play(memory, at=1e6 + 5.0 * tick, seen=traffic(1.0), limits=LIMITS)
    taken(memory, until=1e6)
    assert max(memory.peaks.asked) < LOAD
    after = 1e6 + 5.0 * ticks
    assert play(memory, at=after, seen=traffic(1.0), limits=LIMITS) is not None
    assert memory.step.arrivals <= 1.0 * LIMITS.target / SERVICE_S * TUNING.play_s
