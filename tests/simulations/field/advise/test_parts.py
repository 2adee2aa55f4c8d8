"""Which stretches of a capture are replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.field.advise.parts import choose_parts, part_trace, replica_counts
from simulations.serving.columns import RequestColumns
from tests.simulations.field.advise.captures import captured

DAY = 1440  # steps of a minute


def spans(found):
    return [(part.first, part.last, part.weight) for part in found.parts]


def test_all_of_it_where_there_is_time():
    found = choose_parts(captured(arrivals=np.ones(7 * DAY)), budget_s=1e9, runs=2, jobs=1)
    assert spans(found) == [(0, 7 * DAY, 1.0)]
    assert found.explanation == ""


def test_holes_cut_but_short_ones_do_not():
    known = np.ones(300, dtype=bool)
    known[100:105] = False  # five minutes: a restart
    known[200:206] = False
    known[290:] = False
    found = choose_parts(captured(arrivals=np.ones(300), known=known), budget_s=1e9, runs=2, jobs=1)
    assert spans(found) == [(0, 200, 1.0), (206, 290, 1.0)]


def test_a_scrap_between_holes_is_left_out():
    known = np.ones(300, dtype=bool)
    known[100:110] = known[115:130] = False
    found = choose_parts(captured(arrivals=np.ones(300), known=known), budget_s=1e9, runs=2, jobs=1)
    assert spans(found) == [(0, 100, 1.0), (130, 300, 1.0)]


def test_nothing_long_enough_says_so():
    known = np.zeros(300, dtype=bool)
    known[10:20] = True
    with pytest.raises(SettingsError, match=r"no stretch of 15 min without a hole.*--since"):
        choose_parts(captured(arrivals=np.ones(300), known=known), budget_s=1e9, runs=2, jobs=1)


def test_without_time_the_peak_and_the_median_day_stand_for_all():
    """Day 2 is the busiest; of the others' 1, 2, 3, 4 and the peak's 9 a minute, 3 is the median."""
    rates = [2, 1, 9, 3, 4]
    arrivals = np.concatenate([np.full(DAY, rate) for rate in rates])
    found = choose_parts(captured(arrivals=arrivals), budget_s=0.0, runs=2, jobs=1)
    assert spans(found) == [(2 * DAY, 3 * DAY, 1.0), (3 * DAY, 4 * DAY, 4.0)] or spans(found) == [
        (3 * DAY, 4 * DAY, 4.0),
        (2 * DAY, 3 * DAY, 1.0),
    ]
    assert "48 h of 120 h are replayed" in found.explanation
    assert "--full" in found.explanation


def test_two_days_are_never_extrapolated():
    found = choose_parts(captured(arrivals=np.ones(2 * DAY)), budget_s=0.0, runs=2, jobs=1)
    assert found.explanation == ""


@pytest.mark.parametrize(
    ("rule", "seen", "counts"),
    [
        ("as they are", [1, 2, 3, 3, 1], [1, 2, 3, 3, 1]),
        ("a lost scrape is no replica lost", [3, 2, 3, 3, 1, 1, 3], [3, 3, 3, 3, 3, 3, 3]),
        ("what is away for longer was away", [3, 1, 1, 1, 3], [3, 1, 1, 1, 3]),
        ("what is unknown stays as it was", [2, 0, 0, 0, 0, 3], [2, 2, 2, 2, 2, 3]),
        ("before the first, as the first", [0, 0, 0, 0, 2], [2, 2, 2, 2, 2]),
        ("a peak stays", [1, 1, 4, 1, 1], [1, 1, 4, 1, 1]),
        ("nothing at all", [0, 0], [1, 1]),
    ],
)
def test_recorded_replicas_as_a_policy_can_follow_them(rule, seen, counts):
    found = replica_counts(captured(arrivals=np.ones(len(seen)), replicas=seen))
    assert found.tolist() == counts, rule


def test_a_part_begins_at_its_own_zero_and_ends_with_its_last_step():
    requests = RequestColumns(
        arrival_ns=np.array([0, 61, 119, 121, 300]) * 10**9,
        prompt_tokens=np.arange(5),
        output_tokens=np.arange(5),
    )
    whole = captured(arrivals=np.ones(10))
    (part,) = choose_parts(captured(arrivals=np.ones(20)), budget_s=1e9, runs=2, jobs=1).parts
    trace = part_trace(whole, requests, replace(part, first=1, last=4))
    assert (trace.requests.arrival_ns // 10**9).tolist() == [1, 59, 61]
    assert trace.requests.prompt_tokens.tolist() == [1, 2, 3]
    assert trace.end_ns == 180 * 10**9
