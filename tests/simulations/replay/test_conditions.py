"""What a comparison is made under: checked, load-tested on the trace's own requests, with room."""

from typing import Any

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.replay.conditions import (
    LEADS_S,
    Conditions,
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
    with_score_from,
)
from simulations.serving.offered_demand import first_replicas, peak_replicas
from simulations.serving.replica_capacity import replica_capacity, written_target
from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace
from tests.simulations.world.world_builder import PROFILE, requests


def asked(**changes: Any) -> Conditions:
    defaults = {"profile": PROFILE.name, "spot_lead": "aws", "routing": "prefix"}
    return conditions_of(ConditionsRequest(**(defaults | changes)))


def test_what_was_asked_for():
    conditions = asked(spot_lead="gcp", scale=2.5)
    assert conditions.spot_lead_s == LEADS_S["gcp"] == 30.0
    assert (conditions.scale, conditions.routing) == (2.5, "prefix")
    assert asked(spot_lead="7.5").spot_lead_s == 7.5
    assert asked(spot_lead=0).spot_lead_s == 0.0


def test_room_is_made_where_no_maximum_is_given():
    burst = Trace(name="t", requests=requests(np.linspace(0, 10, 4000).tolist()))
    peak = peak_replicas(burst.requests, PROFILE)
    assert with_maximum(asked(), burst).replicas_max == peak + peak // 2 > 10
    assert with_maximum(asked(max_replicas=3), burst).replicas_max == 3
    assert with_maximum(asked(), Trace(name="t", requests=requests([0.0]))).replicas_max == 10


def test_the_first_minutes_need_what_they_need():
    assert first_replicas(requests([]), PROFILE) == 1
    assert first_replicas(requests(np.linspace(301, 600, 9000).tolist()), PROFILE) == 1
    load = requests(np.linspace(0, 299, 9000).tolist(), output_tokens=300)
    assert first_replicas(load, PROFILE) == pytest.approx(peak_replicas(load, PROFILE), abs=1)


@pytest.mark.slow
@pytest.mark.parametrize(("input_tokens", "output_tokens"), [(300, 50), (1000, 600), (3000, 400)])
def test_the_target_asks_for_the_right_number_of_replicas_below_the_limit(
    input_tokens: int, output_tokens: int
):
    recipe = Recipe(
        shape="flat",
        hours=0.5,
        rate_per_s=1,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )
    columns = generate(recipe)
    found = replica_capacity(
        PROFILE, columns, ttft_s=4.0, tpot_s=0.1, attainment_ratio=0.99, replicas=2
    )
    # at a quarter of the limit requests take little longer than alone: a quarter of the target
    quarter = found.requests_per_s / 4 * found.alone_s
    assert quarter / found.linear_target == pytest.approx(0.25)
    # the figure at the limit would ask for fewer there: requests stay longer where more run
    assert found.in_flight_requests > 1.15 * found.linear_target
    tested = load_tested(Conditions(profile=PROFILE), Trace(name="t", requests=columns))
    assert 0.1 <= tested.profile.in_flight_target < 2 * found.in_flight_requests


@pytest.mark.parametrize(
    ("carried", "written"), [(31.4, 31.0), (10.0, 10.0), (9.96, 10.0), (1.64, 1.6), (0.04, 0.1)]
)
def test_a_target_is_written_as_exactly_as_it_matters(carried: float, written: float):
    assert written_target(carried) == written


def test_a_fleet_carries_more_a_replica_than_one_alone():
    columns = generate(Recipe(shape="flat", hours=0.3, rate_per_s=1, input_tokens=2000))
    limits = {"ttft_s": 2.0, "tpot_s": 0.1, "attainment_ratio": 0.99}
    one = replica_capacity(PROFILE, columns, **limits)
    four = replica_capacity(PROFILE, columns, **limits, replicas=4)
    assert four.requests_per_s > one.requests_per_s
    assert four.alone_s == pytest.approx(one.alone_s, rel=0.05)


def test_an_empty_trace_leaves_the_profiles_target():
    assert (
        load_tested(Conditions(profile=PROFILE), Trace(name="t", requests=requests([]))).profile
        is PROFILE
    )


@pytest.mark.parametrize(
    ("text", "from_s"),
    [("0", 0.0), ("90", 90.0), ("1.5m", 90.0), ("24h", 86_400.0), ("1d", 86_400.0)],
)
def test_where_the_score_begins(text: str, from_s: float):
    trace = Trace(name="t", requests=requests([0.0, 90_000.0]))
    conditions = with_score_from(asked(score_from=text), trace)
    assert conditions.score_from_s == from_s
    assert conditions.score_from_ns == round(from_s * 1e9)


def test_a_repeated_recording_is_scored_from_where_it_begins_anew():
    trace = Trace(name="t", requests=requests([0.0, 10.0, 20.0, 30.0]), repeat_s=20.0)
    assert with_score_from(asked(score_from="repeat"), trace).score_from_s == 20.0


@pytest.mark.parametrize(
    ("rule", "text", "found"),
    [
        ("no duration", "soon", "--score-from 'soon': write seconds, or 90m, 24h, 1d, or repeat"),
        ("below zero", "-1", "--score-from '-1'"),
        (
            "nothing is left",
            "24h",
            "86400 s of t are not scored, and its last request arrives at 10 s",
        ),
        ("the last request alone is no trace", "10", "10 s of t are not scored"),
        ("nothing is repeated", "repeat", "t is not repeated; name it with repeat="),
    ],
)
def test_a_score_that_cannot_begin_there_is_refused(rule: str, text: str, found: str):
    trace = Trace(name="t", requests=requests([0.0, 10.0]))
    with pytest.raises(SettingsError) as caught:
        with_score_from(asked(score_from=text), trace)
    assert found in str(caught.value), rule
