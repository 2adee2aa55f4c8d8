"""All scores of a model: what counts for which time, and misses in it by cause."""

from __future__ import annotations

from autoscaler.core.contract.scores import Scores
from autoscaler.core.scores.memory import Moment, ScoreMemory

GAP_S = 20.0


def moment(at: float, **what: float) -> Moment:
    calm = Moment(
        at=at,
        need=1.0,
        ready=3,
        asked=3,
        to_serve=3,
        waiting=0.0,
        interrupted=False,
        cold_start_s=180.0,
        kept_by=(),
        gpus_per_replica=1.0,
        usd_per_hour=1.0,
        lag_s=20.0,
    )
    return calm._replace(**what)


def told(memory: ScoreMemory) -> Scores:
    return memory.totals(priced=True, remarks=())


def test_misses_go_to_the_cause_of_their_time_and_none_is_counted_twice():
    memory = ScoreMemory()
    memory.observe(moment(0.0), gap_s_max=GAP_S)
    memory.observe(moment(5.0, missed=1.0), gap_s_max=GAP_S)
    memory.observe(moment(10.0, need=2.5, missed=2.0), gap_s_max=GAP_S)
    memory.observe(moment(15.0, need=4.0, asked=5, missed=4.0), gap_s_max=GAP_S)
    memory.observe(moment(20.0, missed=8.0), gap_s_max=GAP_S)
    memory.observe(moment(60.0), gap_s_max=60.0)
    memory.observe(moment(65.0, missed=16.0), gap_s_max=GAP_S)
    missed = told(memory).missed_requests
    assert (missed.not_attainable, missed.within_capacity, missed.no_capacity_yet) == (
        17.0,
        2.0,
        12.0,
    )
    assert sum(missed) == 31.0


def test_of_what_is_missed_while_nobody_sees_the_cause_is_unknown():
    memory = ScoreMemory()
    memory.observe(moment(0.0), gap_s_max=GAP_S)
    memory.skip(5.0, missed=3.0)
    memory.observe(moment(100.0, missed=4.0), gap_s_max=GAP_S)
    assert told(memory).missed_requests.unknown == 7.0
    assert sum(told(memory).missed_requests) == 7.0


def test_one_look_that_failed_leaves_the_cause_to_the_next():
    """A replica that has just become ready was not read yet: for one tick not all is known."""
    memory = ScoreMemory()
    memory.observe(moment(0.0), gap_s_max=GAP_S)
    memory.skip(5.0, missed=3.0)
    memory.observe(moment(10.0, need=4.0, asked=5), gap_s_max=GAP_S)
    assert told(memory).missed_requests.no_capacity_yet == 3.0
    assert sum(told(memory).missed_requests) == 3.0


def test_lost_requests_are_the_interruptions_or_cut_off():
    memory = ScoreMemory()
    memory.lose(2.0, interrupted=True)
    memory.lose(3.0, interrupted=False)
    missed = told(memory).missed_requests
    assert (missed.interruption, missed.cut_off) == (2.0, 3.0)


def test_what_changed_while_too_little_was_known_has_no_moment():
    memory = ScoreMemory()
    memory.observe(moment(0.0), gap_s_max=GAP_S)
    for at in (10.0, 20.0, 30.0):
        memory.skip(at)
    memory.observe(moment(35.0, to_serve=1), gap_s_max=GAP_S)
    memory.observe(moment(40.0, to_serve=3), gap_s_max=GAP_S)
    assert (told(memory).scale_downs, told(memory).regretted_replicas) == (0, 0)


def test_scored_and_unscored_time_together_are_all_of_it():
    memory = ScoreMemory()
    for at, seen in (
        (0.0, True),
        (5.0, True),
        (10.0, False),
        (15.0, True),
        (100.0, True),
        (105.0, False),
    ):
        if seen:
            memory.observe(moment(at), gap_s_max=GAP_S)
        else:
            memory.skip(at)
    assert (told(memory).scored_s, told(memory).unscored_s) == (10.0, 95.0)
