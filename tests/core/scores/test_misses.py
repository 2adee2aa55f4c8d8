"""Why requests are missed: what was short when, and for how long its queue says so."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.scores import MissedRequests
from autoscaler.core.scores.misses import Misses

START_S, LAG_S = 180.0, 20.0


def blamed(misses: Misses, at: float, *, need: float = 1.0, ready: int = 3) -> str:
    return MissedRequests._fields[misses.blame(at, need=need, ready=ready, lag_s=LAG_S)]


def seen(
    misses: Misses,
    at: float,
    *,
    need: float = 1.0,
    ready: int = 3,
    asked: int = 3,
    waiting: float = 0.0,
    interrupted: bool = False,
) -> str:
    misses.observe(
        at,
        need=need,
        ready=ready,
        asked=asked,
        waiting=waiting,
        interrupted=interrupted,
        cold_start_s=START_S,
    )
    return blamed(misses, at, need=need, ready=ready)


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ({"need": 4.0, "asked": 5}, "no_capacity_yet"),
        ({"need": 4.0, "asked": 3}, "undersized"),
        ({"need": 4.0, "asked": 5, "interrupted": True}, "interruption"),
        ({"need": 2.0, "interrupted": True}, "within_capacity"),
        ({"need": 2.0}, "within_capacity"),
        ({"need": 1.5}, "not_attainable"),
    ],
)
def test_the_cause_of_a_moment(what, cause):
    assert seen(Misses(), 100.0, **what) == cause


def test_an_interruption_is_to_blame_for_one_cold_start():
    misses = Misses()
    seen(misses, 0.0, interrupted=True)
    assert seen(misses, START_S, need=4.0, asked=5) == "interruption"
    assert seen(misses, START_S + 5.0, need=4.0, asked=5) == "no_capacity_yet"


def test_a_shortage_is_to_blame_until_its_queue_is_gone_and_read():
    misses = Misses()
    seen(misses, 0.0, need=4.0, asked=5)
    assert seen(misses, 60.0, ready=5, waiting=7.0) == "no_capacity_yet", "the queue it left behind"
    assert seen(misses, 65.0, ready=5) == "no_capacity_yet", "its last first tokens"
    assert blamed(misses, 60.0 + LAG_S) == "no_capacity_yet"
    assert blamed(misses, 61.0 + LAG_S) == "not_attainable"
