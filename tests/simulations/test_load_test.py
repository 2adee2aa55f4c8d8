"""The load test: what a replica carries depends on the traffic, and the figure is the traffic's."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.core.spec import Objective
from simulations.load_test import measured
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles import PROFILES

PROFILE = PROFILES["llama-3.1-8b/1xL40S"]


def requests(*, prompt, output, rows=200):
    return RequestColumns(
        arrival_ns=np.arange(rows, dtype=np.int64) * 10**9,
        prompt_tokens=np.full(rows, prompt),
        output_tokens=np.full(rows, output),
    )


@pytest.mark.slow
def test_long_prompts_fill_a_replica_with_few_requests_and_short_chats_with_many():
    code = measured(PROFILE, requests(prompt=3000, output=20), Objective())
    chat = measured(PROFILE, requests(prompt=50, output=300), Objective())
    assert 1 <= code.in_flight_target <= 8
    assert chat.in_flight_target >= 5 * code.in_flight_target


@pytest.mark.slow
def test_a_stricter_objective_carries_no_more():
    trace = requests(prompt=1500, output=100)
    loose = measured(PROFILE, trace, Objective(ttft_s=4.0, attainment_ratio=0.9))
    strict = measured(PROFILE, trace, Objective(ttft_s=1.0, attainment_ratio=0.99))
    assert strict.in_flight_target <= loose.in_flight_target


def test_an_objective_that_no_rate_meets_gives_one():
    hopeless = Objective(ttft_s=0.001)
    assert (
        measured(PROFILE, requests(prompt=3000, output=20, rows=20), hopeless).in_flight_target == 1
    )


def test_an_empty_trace_keeps_the_profiles_own_figure():
    assert measured(PROFILE, requests(prompt=1, output=1, rows=0), Objective()) is PROFILE
