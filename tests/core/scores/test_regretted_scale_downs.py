"""Scale-downs that are regretted: what was given up is asked for again within one cold start."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.scores.regretted_scale_downs import REMEMBERED_MAX, RegrettedScaleDowns

AT = 10 * 3600.0 + 4 * 60.0
START_S = 180.0


def told(*asked: tuple[float, int], start_s: float = START_S, gpus: float = 1.0):
    """What becomes of so many asked at so many seconds, and the last sentence."""
    regrets = RegrettedScaleDowns()
    said = None
    for after_s, replicas in asked:
        said = regrets.observe(
            AT + after_s, asked=replicas, cold_start_s=start_s, gpus_per_replica=gpus
        )
    return regrets, said


def test_replicas_that_come_back_within_a_cold_start():
    regrets, said = told((-5.0, 5), (0.0, 3), (5.0, 3), (140.0, 5), gpus=2.0)
    assert said == (
        "the scale-down of 10:04 UTC was regretted: 2 replicas were asked for again after 140 s, "
        "within a cold start of 180 s"
    )
    assert (regrets.scale_downs, regrets.regretted, regrets.replicas) == (1, 1, 2)
    assert regrets.gpu_s == 2 * 40.0 * 2.0, "two starts of 180 s for 140 s saved, two GPUs each"


def test_later_than_a_cold_start_it_was_right():
    regrets, said = told((-5.0, 5), (0.0, 3), (181.0, 5))
    assert said is None
    assert (regrets.scale_downs, regrets.regretted, regrets.replicas) == (1, 0, 0)


def test_a_raise_above_what_was_there_regrets_no_more_than_was_given_up():
    regrets, _ = told((-5.0, 5), (0.0, 4), (10.0, 9))
    assert regrets.replicas == 1
    regrets, _ = told((-5.0, 5), (0.0, 4), (10.0, 9), (20.0, 5), (30.0, 9))
    assert (regrets.scale_downs, regrets.regretted, regrets.replicas) == (2, 2, 5)


def test_a_scale_down_is_regretted_once_however_slowly_it_comes_back():
    regrets, said = told((-5.0, 6), (0.0, 3), (60.0, 4), (90.0, 5), (120.0, 6))
    assert (regrets.scale_downs, regrets.regretted, regrets.replicas) == (1, 1, 3)
    assert said is not None
    assert "1 replica was asked for again after 120 s" in said


def test_of_two_the_later_one_is_taken_back_first():
    regrets, said = told((-5.0, 6), (0.0, 4), (100.0, 3), (200.0, 5))
    assert said is not None
    assert "10:05 UTC" in said, "the first is longer ago than a cold start"
    assert (regrets.scale_downs, regrets.regretted, regrets.replicas) == (2, 1, 1)


def test_what_changed_while_nobody_looked_has_no_moment():
    regrets, _ = told((0.0, 5), (5.0, 3))
    regrets.forget()
    regrets.observe(AT + 60.0, asked=5, cold_start_s=START_S, gpus_per_replica=1.0)
    assert (regrets.scale_downs, regrets.replicas) == (1, 0)


@given(asked=st.lists(st.integers(0, 30), min_size=2, max_size=60))
def test_no_more_is_regretted_than_was_given_up_and_asked_again(asked):
    regrets, _ = told(*[(5.0 * tick, replicas) for tick, replicas in enumerate(asked)])
    falls = sum(max(0, a - b) for a, b in pairwise(asked))
    rises = sum(max(0, b - a) for a, b in pairwise(asked))
    assert 0 <= regrets.replicas <= min(falls, rises)
    assert regrets.regretted <= regrets.scale_downs
    assert len(regrets.given_up) <= REMEMBERED_MAX
    assert regrets.gpu_s >= 0.0
