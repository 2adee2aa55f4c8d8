"""The program of one queue: against every schedule there is, and below every queue that really runs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.bounds import queue_bound
from simulations.bounds.pools import PoolTerms
from simulations.bounds.queue import (
    DROPPED_S,
    Prefills,
    QueueGrid,
    QueueProgram,
    QueueTerms,
    queue_grid,
)
from simulations.bounds.queue_bound import QueueBound, make_queue_bound
from tests.extent import examples

USD_PER_HOUR = 3600.0
"""A dollar a second: costs read as replica-seconds."""


def prefills(*rows: tuple[float, float, float]) -> Prefills:
    """Each (arrival, work, limit), seconds."""
    columns = np.array(sorted(rows), dtype=float).reshape(-1, 3).T
    return Prefills(arrival_s=columns[0], work_s=columns[1], limit_s=columns[2])


def bound(waiting: Prefills, **changes: Any) -> QueueBound:
    terms: dict[str, Any] = {
        "span_s": 600.0,
        "start_s": 100.0,
        "pools": [PoolTerms(usd_per_hour=USD_PER_HOUR, initial=99)],
        "replicas_min": 0,
        "replicas_max": 2,
    }
    made = make_queue_bound(waiting, **(terms | changes))
    assert made is not None
    return made


# The program, on its own grid


def brute_force(
    waiting: Prefills,
    *,
    steps: int,
    usd: float,
    start_usd: float,
    most: int,
    price: float,
    bin_s: float,
) -> float:
    """Every number of replicas in every step of a second, its queue played by hand."""
    least = np.inf
    for replicas in itertools.product(range(most + 1), repeat=steps):
        cost = usd * sum(replicas)
        cost += start_usd * sum(max(0, b - a) for a, b in itertools.pairwise(replicas))
        backlog = 0.0
        for step, n in enumerate(replicas):
            ahead = backlog
            for at, work, limit in zip(
                waiting.arrival_s, waiting.work_s, waiting.limit_s, strict=True
            ):
                if step <= at < step + 1:
                    ahead += work
                    # a bin may have been rounded away
                    cost += price if ahead > n * (at - step + limit) + bin_s + 1e-9 else 0.0
            backlog = min(max(0.0, ahead - n), DROPPED_S * n)
        least = min(least, cost)
    return least


@pytest.mark.slow
@settings(max_examples=examples(day=40, night=400), deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.25, 3.0, 3.75]),
            st.sampled_from([0.25, 0.5, 1.0, 2.5]),
            st.sampled_from([0.25, 0.5, 1.0, 2.0]),
        ),
        min_size=1,
        max_size=6,
    ),
    start_usd=st.sampled_from([0.0, 0.5, 2.0, 5.0]),
    price=st.sampled_from([0.1, 0.7, 1.5, 4.0]),
)
def test_it_finds_the_cheapest_of_all_schedules(
    rows: list[tuple[float, float, float]], start_usd: float, price: float
):
    waiting = prefills(*rows)
    steps, most = 5, 2
    program = QueueProgram(
        waiting,
        QueueTerms(
            usd_per_s=np.tile(np.arange(most + 1.0), (steps, 1)),
            raise_usd=np.full(steps, start_usd),
        ),
        QueueGrid(step_s=1.0, steps=steps, bin_s=0.25, bins=600),
    )
    least = brute_force(
        waiting, steps=steps, usd=1.0, start_usd=start_usd, most=most, price=price, bin_s=0.25
    )
    assert program.least_usd(price) == pytest.approx(least)
    # and the way that it names costs just that
    way = program.schedule(price)
    raises = np.maximum(0, np.diff(way.replicas)).sum()
    assert way.replicas.sum() + start_usd * raises + price * way.late == pytest.approx(least)


def test_a_long_trace_is_followed_in_parts_as_it_is_swept(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(4)
    arrivals = np.sort(rng.uniform(0, 200, 150))
    waiting = prefills(*((at, 0.8, 2.0) for at in arrivals))
    terms = QueueTerms(usd_per_s=np.tile(np.arange(4.0), (200, 1)), raise_usd=np.full(200, 9.0))
    program = QueueProgram(waiting, terms, queue_grid(200.0, replicas_max=3))
    whole = program.schedule(3.0)
    monkeypatch.setattr("simulations.bounds.queue.KEPT_BYTES", 1)
    parts = program.schedule(3.0)
    assert parts.late == whole.late
    assert (parts.replicas == whole.replicas).all()


@pytest.mark.parametrize(
    ("hours", "replicas_max"), [(0.1, 1), (1, 15), (24, 13), (24, 150), (72, 48)]
)
def test_a_grid_is_a_matter_of_a_second(hours: float, replicas_max: int):
    grid = queue_grid(hours * 3600, replicas_max=replicas_max)
    assert grid.steps * grid.bins * (replicas_max + 1) <= 1.6e9
    assert grid.bins * grid.bin_s >= 20 * replicas_max
    assert grid.step_s / grid.bin_s == pytest.approx(round(grid.step_s / grid.bin_s))


# The bound


def two_bursts() -> Prefills:
    return prefills(
        *((at, 1.0, 12.0) for burst in (10.0, 300.0) for at in burst + np.arange(10) / 10)
    )


def check_two_bursts(made: QueueBound) -> None:
    """Ten seconds of work twice, far apart: both are served, and one start is paid between them."""
    served, start = 20.0, 100.0
    # less what raising earlier by the longest limit may spare
    assert 0.7 * (served + start) <= made.at(0) <= served + start


def test_a_start_between_two_bursts_is_paid():
    check_two_bursts(bound(two_bursts()))


def test_a_short_gap_is_bridged():
    close = prefills(*((at, 1.0, 12.0) for at in (10.0, 40.0) for at in at + np.arange(10) / 10))
    assert bound(close).at(0) <= 40.0


def test_whatever_is_there_at_the_beginning_was_paid_for_before():
    first = prefills(*((at, 1.0, 12.0) for at in np.arange(10) / 10))
    assert bound(first).at(0) <= 10.0


def test_nothing_is_below_nothing_and_more_misses_are_not_dearer():
    made = bound(two_bursts())
    costs = [made.at(missed) for missed in range(25)]
    assert costs == sorted(costs, reverse=True)
    assert costs[20] == 0.0


def test_late_requests_are_served_before_those_that_could_be_in_time():
    """Twenty seconds of work at once every forty: half of it is late on one replica, and no choice of which."""
    waves = prefills(
        *((wave + at / 100, 1.0, 4.0) for wave in range(0, 560, 40) for at in range(20))
    )
    made = bound(waves, replicas_max=4, replicas_min=1)
    one = 600.0
    late_on_one = 14 * 16
    # one replica serves four in time of each wave; to leave out the other sixteen is not allowed
    assert made.at(late_on_one) <= one
    assert made.at(late_on_one - 14 * 4) > 1.05 * one


def test_starts_that_take_no_time_leave_nothing_to_say():
    terms = {"span_s": 60.0, "pools": [PoolTerms(usd_per_hour=1.0)], "replicas_min": 1}
    assert make_queue_bound(two_bursts(), start_s=3.0, replicas_max=2, **terms) is None
    assert make_queue_bound(prefills(), start_s=60.0, replicas_max=2, **terms) is None


def test_spot_is_cheaper_where_it_is_there():
    dear = PoolTerms(usd_per_hour=USD_PER_HOUR)
    spot = PoolTerms(
        usd_per_hour=USD_PER_HOUR * 0.3, available=(np.array([0.0, 200.0]), np.array([2.0, 0.0]))
    )
    without, with_spot = (bound(two_bursts(), pools=p).at(0) for p in ([dear], [dear, spot]))
    assert with_spot < without


def queue_played(waiting: Prefills, changes: list[tuple[float, int]]) -> int:
    """Late requests of one queue served at so many replica-seconds a second from each moment on."""
    moments = [at for at, _ in changes] + [np.inf]
    free_at, late = 0.0, 0
    for at, work, limit in zip(waiting.arrival_s, waiting.work_s, waiting.limit_s, strict=True):
        now, left = max(free_at, at), work
        while left > 0:
            place = int(np.searchsorted(moments, now, side="right")) - 1
            until, speed = moments[place + 1], changes[place][1]
            if speed * (until - now) >= left:
                now, left = now + left / speed, 0.0
            elif until == np.inf:
                return late + 10**6
            else:
                left -= speed * (until - now)
                now = until
        free_at = now
        late += now > at + limit
    return late


@st.composite
def runs(draw: st.DrawFn):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(5, 120))
    at = np.sort(
        rng.uniform(0, 280, count) if draw(st.booleans()) else rng.exponential(40, count) % 280
    )
    work = rng.uniform(0.05, draw(st.sampled_from([0.5, 2.0])), count)
    limit = draw(st.sampled_from([1.0, 3.0])) + 2 * work
    times = sorted(draw(st.lists(st.floats(31, 290), max_size=6)))
    sizes = draw(st.lists(st.integers(1, 3), min_size=len(times) + 1, max_size=len(times) + 1))
    return (
        Prefills(arrival_s=at, work_s=work, limit_s=limit),
        list(zip([0.0, *times], sizes, strict=True)),
    )


@pytest.mark.slow
@settings(max_examples=examples(day=40, night=400), deadline=None)
@given(run=runs())
def test_no_queue_that_is_played_is_cheaper(run: tuple[Prefills, list[tuple[float, int]]]):
    """Replicas that come and go at any moment, each raise paid for 30 s before."""
    waiting, changes = run
    span_s, start_s = 300.0, 30.0
    ends = [*(at for at, _ in changes[1:]), span_s]
    cost = sum(size * (end - at) for (at, size), end in zip(changes, ends, strict=True))
    cost += start_s * sum(max(0, b - a) for (_, a), (_, b) in itertools.pairwise(changes))
    late = queue_played(waiting, changes)
    made = bound(waiting, span_s=span_s, start_s=start_s, replicas_min=1, replicas_max=3)
    assert made.at(late) <= cost + 1e-9


# A bound that is wrong is noticed


def test_a_bound_that_pays_no_starts_is_noticed(monkeypatch: pytest.MonkeyPatch):
    kept = queue_bound.QueueTerms

    def free(**terms: Any) -> QueueTerms:
        return kept(usd_per_s=terms["usd_per_s"], raise_usd=0.0 * terms["raise_usd"])

    monkeypatch.setattr(queue_bound, "QueueTerms", free)
    with pytest.raises(AssertionError):
        check_two_bursts(bound(two_bursts()))
