"""Offered load and service time from minute means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.contract.spec import Targets
from autoscaler.core.demand.demand import DemandMemory
from autoscaler.core.demand.minutes import measure_minutes
from autoscaler.core.demand.service_time import measure_service_time

NAN = math.nan
TARGETS = Targets(in_flight_requests=10.0)


def rows(count: int, **what: float | list[float]) -> HistoryColumns:
    """Minutes of 2 requests per second of 5 s each on two replicas, but for what is said."""
    plain = {
        "arrivals_per_s": 2.0,
        "completed_per_s": 2.0,
        "running_requests": 10.0,
        "waiting_requests": 0.0,
        "kv_usage_replicas": NAN,
        "replicas": 2.0,
        **what,
    }
    columns = {
        name: np.broadcast_to(np.array(value), count).astype(float) for name, value in plain.items()
    }
    return HistoryColumns(at=60.0 * np.arange(1.0, count + 1), span_s=60.0, **columns)


def measured(given: HistoryColumns, memory: DemandMemory | None = None) -> np.ndarray:
    steps = measure_minutes(memory or DemandMemory(), rows=given, targets=TARGETS)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_steady_load_is_arrivals_times_service_time():
    memory = DemandMemory()
    offered = measured(rows(30), memory)
    assert offered.tolist() == pytest.approx([1.0] * 30)
    assert memory.service_time.measured_s == pytest.approx(5.0)
    assert memory.service_time.calm_s == pytest.approx(5.0)


def test_before_the_service_time_is_known_it_is_what_is_in_flight():
    offered = measured(rows(5, completed_per_s=NAN, waiting_requests=4.0))
    assert offered.tolist() == pytest.approx([1.4] * 5)


def test_a_queue_is_no_offered_load():
    waits = [0.0] * 20 + [300.0] * 5
    assert measured(rows(25, waiting_requests=waits))[20:].tolist() == pytest.approx([1.0] * 5)


def test_a_crowd_does_not_make_requests_longer():
    """Two and a half times as many, on replicas that hold eight times as much: the work is theirs alone."""
    running, rates = [10.0] * 20 + [80.0] * 10, [2.0] * 20 + [5.0] * 10
    offered = measured(
        rows(30, arrivals_per_s=rates, completed_per_s=rates, running_requests=running)
    )
    assert offered[21:].tolist() == pytest.approx([2.5] * 9, rel=0.01)


def test_of_an_unknown_number_of_replicas_nothing_is_calm():
    memory = DemandMemory()
    measured(rows(30, replicas=NAN), memory)
    assert memory.service_time.measured_s == pytest.approx(5.0)
    assert memory.service_time.calm_s is None


def test_what_is_unknown_stays_unknown_and_the_load_begins_anew_after_it():
    arrivals = [2.0] * 20 + [NAN] * 5 + [4.0] * 5
    running = [10.0] * 20 + [NAN] * 5 + [20.0] * 5
    offered = measured(
        rows(30, arrivals_per_s=arrivals, completed_per_s=arrivals, running_requests=running)
    )
    assert np.isnan(offered[20:25]).all()
    assert offered[25:].tolist() == pytest.approx([2.0] * 5)


def test_the_mean_of_a_row_follows_the_load_as_requests_stay():
    """Out of nothing to a rate at which 120 s long requests fill up slowly: u(t) = r S (1 - exp(-t/S))."""
    service_s, rate = 120.0, 2.0
    calm = [rate * service_s] * 30
    arrivals = [rate] * 30 + [0.0] * 4
    offered = measured(
        rows(34, arrivals_per_s=arrivals, completed_per_s=rate, running_requests=calm + calm[:4])
    )
    begun = rate * service_s / TARGETS.in_flight_requests
    for minute in range(4):
        ends = [math.exp(-60.0 * (minute + k) / service_s) for k in (0, 1)]
        mean = begun * service_s / 60.0 * (ends[0] - ends[1])
        assert offered[30 + minute] == pytest.approx(mean, rel=0.03)


def test_full_caches_are_load():
    offered = measured(rows(20, kv_usage_replicas=1.6))
    assert offered.tolist() == pytest.approx([1.6 / TARGETS.kv_usage_ratio] * 20)


def test_what_ticks_measured_since_comes_after_what_is_read():
    memory = DemandMemory()
    for tick in range(12):
        measure_service_time(
            memory.service_time,
            at=3600.0 + 5.0 * tick,
            busy_s=100.0,
            completed=10.0,
            crowded=False,
        )
    measured(rows(60), memory)
    ticks, minutes = 12 * 100.0, 14 * 600.0
    mean = (ticks + minutes) / (12 * 10.0 + 14 * 120.0)
    assert memory.service_time.measured_s == pytest.approx(10.0), "as the ticks have it"
    assert memory.service_time.calm_s == pytest.approx(mean, rel=0.02)
    assert memory.service_time.window.numerator == pytest.approx(ticks + minutes, rel=0.1)
