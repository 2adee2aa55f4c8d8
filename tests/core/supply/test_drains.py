"""How long replicas took to drain, and how long another one is taken to."""

from __future__ import annotations

import math

import pytest

from autoscaler.core.contract.decision import Departure, DepartureCause, Drained
from autoscaler.core.supply.drains import DrainMemory, FinishedDrain, drain_s, learn_drains
from autoscaler.core.tuning import TUNING


def gone(
    *,
    held: float | None,
    took_s: float | None,
    cause: DepartureCause = DepartureCause.SCALE_DOWN,
) -> Departure:
    return Departure(
        pod="x",
        pool="p",
        cause=cause,
        drained=Drained.IDLE,
        leaving_s=took_s,
        in_flight_requests=held,
        finished_requests=held,
        aborted_requests=0.0,
        lost_requests=0.0,
        unknown_requests=0.0,
    )


@pytest.mark.parametrize("cause", [cause for cause in DepartureCause if cause != "NodeLost"])
def test_whoever_went_for_whatever_reason_is_learnt_from(cause):
    memory = DrainMemory()
    learn_drains(memory, [gone(held=9.0, took_s=7.0, cause=cause)])
    known = [] if cause is DepartureCause.NODE_LOST else [FinishedDrain(9.0, 7.0)]
    assert memory.measured == known


@pytest.mark.parametrize(
    "departure",
    [
        pytest.param(gone(held=0.0, took_s=5.0), id="it held nothing"),
        pytest.param(gone(held=None, took_s=5.0), id="what it held is unknown"),
        pytest.param(gone(held=3.0, took_s=None), id="since when is unknown"),
        pytest.param(
            gone(held=3.0, took_s=5.0, cause=DepartureCause.NODE_LOST), id="lost with its node"
        ),
    ],
)
def test_what_says_nothing_is_not_learnt(departure):
    memory = DrainMemory()
    learn_drains(memory, [departure])
    assert not memory.measured


def test_the_longest_of_those_that_held_about_as_many_is_taken():
    memory = DrainMemory()
    for held, took_s in [(2.0, 6.0), (3.0, 4.0), (20.0, 30.0), (10.0, 35.0)]:
        learn_drains(memory, [gone(held=held, took_s=took_s)])
    assert drain_s(memory, 2.0) == 6.0
    assert drain_s(memory, 7.0) == 35.0
    assert drain_s(memory, 1.0) == 35.0  # nobody held so few: all of them
    assert drain_s(memory, math.nan) == 35.0
    assert drain_s(memory, 40.0) == 70.0  # twice as many as anybody held: crowded
    assert drain_s(DrainMemory(), 5.0) is None


def test_only_the_last_ones_are_remembered():
    memory = DrainMemory()
    learn_drains(
        memory,
        [gone(held=1.0, took_s=1.0 + number) for number in range(TUNING.drains_measured_max + 5)],
    )
    assert len(memory.measured) == TUNING.drains_measured_max
    assert memory.measured[0].took_s == 6.0
